"""The merges of a vocabulary, prepared for `graph_bpe`.

A token can be made in one way only: whatever stands around it, its symbols merge as
they do when the token stands alone, because until it is complete nothing merges across
its edges. So each token is encoded by itself, and the last merge is the only one of its
merges that is ever used. (Vocabularies made from a list of tokens, such as Llama's,
hold one merge for each way of cutting a token in two.)

Of some tokens the last merge ranks before one that makes their parts. It then follows
at once on the latter, and gets a place right behind it.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

NONE = 2**30  # behind all ranks


@dataclasses.dataclass
class Merges:
    """What `graph_bpe` needs to know of a vocabulary.

    Attributes:
      ids: the id that each merge makes, by rank, from 0.
      sizes: of how many symbols.
      threats: for a pair of ids its rank; the lowest rank of a merge of the right id
        with a longer token that ends with the left id; the lowest rank of a merge of
        the left id with a longer token that starts with the right id.
      reach: the most symbols that a token is made of.
      whole: the ids of tokens that are one token when they are encoded.
    """

    ids: list[int]
    sizes: list[int]
    threats: dict[tuple[int, int], list[int]]
    reach: int
    whole: set[int]


def read(model: Mapping) -> list[tuple[int, int, int]]:
    """The merges of a tokenizer.json: left id, right id, the id they make."""
    ids = model["vocab"]
    pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    return [(ids[left], ids[right], ids[left + right]) for left, right in pairs]


def prepare(
    symbols: Mapping[int, Sequence[int]], merges: Iterable[tuple[int, int, int]]
) -> Merges:
    """Finds the merges that are used, and what can pre-empt them.

    Args:
      symbols: for each token the ids of the symbols that it is made of.
      merges: left id, right id and the id they make, the first to be merged first.

    Raises:
      ValueError: their order depends on the text.
    """
    ranks, made = {}, []
    for left, right, new in merges:
        ranks[left, right] = len(made)
        made.append(new)
    whole, last = set(), {}
    for token, parts in symbols.items():
        result, pair = _merge(list(parts), ranks, made)
        if result == [token]:
            whole.add(token)
            if pair is not None:
                last[token] = pair
    ids = _in_order(sorted(last, key=lambda token: len(symbols[token])), last, ranks)
    threats = {}
    for rank, token in enumerate(ids):
        left, right = last[token]
        _note(threats, (left, right), 0, rank)
        end, start = left, right
        while end in last:
            end = last[end][1]
            _note(threats, (end, right), 1, rank)
        while start in last:
            start = last[start][0]
            _note(threats, (left, start), 2, rank)
    sizes = [len(symbols[token]) for token in ids]
    return Merges(ids, sizes, threats, max(sizes, default=1), whole)


def _merge(parts, ranks, made):
    """What a word becomes, and the last pair that was merged."""
    pair = None
    found = [ranks.get(two, NONE) for two in zip(parts, parts[1:], strict=False)]
    while found:
        rank = min(found)
        if rank == NONE:
            break
        at = found.index(rank)
        pair = parts[at], parts[at + 1]
        parts[at : at + 2] = [made[rank]]
        del found[at]
        if at:
            found[at - 1] = ranks.get((parts[at - 1], parts[at]), NONE)
        if at < len(found):
            found[at] = ranks.get((parts[at], parts[at + 1]), NONE)
    return parts, pair


def _in_order(tokens, last, ranks):
    """Sorts tokens by the time when they are made, given the short ones first.

    A token's phase is the highest rank that is needed for it. In one phase, the merge
    of that rank is made at all its places from left to right, and each time those that
    follow on it at once. Where these cannot get in each other's way, they may as well
    follow when all places are done: that is the order returned.
    """
    phase, step, first = {}, {}, {}
    to_left, to_right = set(), set()
    for token in tokens:
        left, right = last[token]
        rank = ranks[left, right]
        now = phase[token] = max(rank, phase.get(left, -1), phase.get(right, -1))
        step[token] = 0
        if now == rank:
            first[now] = left
            continue
        both = phase.get(left, -1) == phase.get(right, -1)
        grown, taken, side = right, left, to_left
        if phase.get(left, -1) == now:
            grown, taken, side = left, right, to_right
        step[token] = step[grown] + 1
        side.add((now, taken))
        if both:
            raise ValueError(f"model.merges: {left, right} follows on itself")
    for now, taken in to_right:
        if taken == first[now] or (now, taken) in to_left:
            raise ValueError(f"model.merges: two merges of rank {now} want {taken}")
    return sorted(tokens, key=lambda t: (phase[t], step[t], ranks[last[t]]))


def _note(threats, pair, what, rank):
    ranks = threats.setdefault(pair, [NONE, NONE, NONE])
    ranks[what] = min(ranks[what], rank)
