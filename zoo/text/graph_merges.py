"""The merges of a vocabulary, prepared for `graph_bpe`.

A token can be made in one way only: whatever stands around it, its symbols merge as they
do when the token stands alone, because until it is complete nothing merges across its
edges. So each token is encoded by itself, and the last merge is the only one of its
merges that is ever used. (Vocabularies made from a list of tokens, such as Llama's, hold
one merge for each way of cutting a token in two.)
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from zoo.text import graph_bpe

_NONE = graph_bpe.NONE
_MOST = 2**20 - 3


@dataclasses.dataclass
class Merges:
    """What `graph_bpe` needs to know of a vocabulary.

    Attributes:
      ids: the id that each merge makes, by rank; the first rank is 1.
      threats: for a pair of ids its rank; the lowest rank of a merge of the right id
        with a longer token that ends with the left id; the lowest rank of a merge of
        the left id with a longer token that starts with the right id.
      reach: the most symbols that a token is made of.
      whole: the ids of tokens that are one token when they are encoded.
    """

    ids: list[int]
    threats: dict[tuple[int, int], tuple[int, int, int]]
    reach: int
    whole: set[int]


def prepare(
    symbols: Mapping[int, Sequence[int]], merges: Iterable[tuple[int, int, int]]
) -> Merges:
    """Finds the merges that are used, and what can pre-empt them.

    Args:
      symbols: for each token the ids of the symbols that it is made of.
      merges: left id, right id and the id they make, the first to be merged first.

    Raises:
      ValueError: there are too many, or one comes before a merge that makes its parts.
    """
    ranks, made = {}, []
    for left, right, new in merges:
        ranks[left, right] = len(made)
        made.append(new)
    if len(made) > _MOST:
        raise ValueError(f"model.merges: {len(made)} merges, at most {_MOST}")
    whole, last = set(), {}
    for token, parts in symbols.items():
        result, pair = _merge(list(parts), ranks, made)
        if result == [token]:
            whole.add(token)
            if pair is not None:
                last[token] = pair
    order = sorted(last, key=lambda token: ranks[last[token]])
    rank_of = {token: rank for rank, token in enumerate(order, start=1)}
    threats = {}
    for token in order:
        left, right = last[token]
        rank = rank_of[token]
        if max(rank_of.get(left, 0), rank_of.get(right, 0)) > rank:
            raise ValueError(f"model.merges: {left, right} comes before its parts")
        _note(threats, (left, right), 0, rank)
        end = left
        while end in last:
            end = last[end][1]
            _note(threats, (end, right), 1, rank)
        start = right
        while start in last:
            start = last[start][0]
            _note(threats, (left, start), 2, rank)
    return Merges(
        ids=order,
        threats={pair: tuple(ranks) for pair, ranks in threats.items()},
        reach=max((len(symbols[token]) for token in order), default=1),
        whole=whole,
    )


def _merge(parts, ranks, made):
    """What a word becomes, and the last pair that was merged."""
    pair = None
    found = [ranks.get(two, _NONE) for two in zip(parts, parts[1:], strict=False)]
    while found:
        rank = min(found)
        if rank == _NONE:
            break
        at = found.index(rank)
        pair = parts[at], parts[at + 1]
        parts[at : at + 2] = [made[rank]]
        del found[at]
        if at:
            found[at - 1] = ranks.get((parts[at - 1], parts[at]), _NONE)
        if at < len(found):
            found[at] = ranks.get((parts[at], parts[at + 1]), _NONE)
    return parts, pair


def _note(threats, pair, what, rank):
    ranks = threats.setdefault(pair, [_NONE, _NONE, _NONE])
    ranks[what] = min(ranks[what], rank)
