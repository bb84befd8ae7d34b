"""The merges of a vocabulary, prepared for `bpe`.

BPE makes a token in one way only, whatever text stands around it: until the token is
complete, no merge crosses its edges. So its symbols merge as they do in a text that is
the token alone. `prepare` encodes each token alone and keeps its last merge. No other
merge of that token is ever used. (Vocabularies made from a list of tokens, such as
Llama's, hold one merge for each way to cut a token in two.)

The last merge of some tokens ranks before a merge that makes its parts. It then follows
that merge at once, and `prepare` ranks it right behind.

Example: the merges `c d`, `ab c`, `a b` (ranks 0, 1, 2) encode "abc" as `a b c`, then
`ab c`, then `abc`: the merge of rank 1 follows the merge of rank 2. The new order is
`c d`, `a b`, `ab c`. The text "abcd" keeps its result `ab cd` in both orders.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

NONE = 2**30  # behind all ranks


@dataclasses.dataclass
class Merges:
    """The part of a vocabulary that `bpe.Pairs` needs.

    Attributes:
      ids: the id that each merge makes, by rank, from 0.
      sizes: the number of symbols in each of these tokens, where a token of `runs`
        counts as one symbol.
      preempting_ranks: three ranks for a pair of ids. The first is its own rank. The
        second is the lowest rank of a merge of the right id with a longer token that
        ends with the left id. The third is the lowest rank of a merge of the left id
        with a longer token that starts with the right id.
      max_symbols: the number of symbols in the longest token.
      ordered: the ranks of merges that BPE makes one by one from left to right, each
        with the merges that follow. No order of ranks says that.
      runs: for a symbol the ids of 1, 2, 3... of this symbol. BPE cuts a run of the
        symbol into the longest token and a rest, before all its other merges.
      single_token_words: the ids of tokens whose text BPE encodes as that one token.
    """

    ids: list[int]
    sizes: list[int]
    preempting_ranks: dict[tuple[int, int], list[int]]
    max_symbols: int
    ordered: set[int]
    runs: dict[int, list[int]]
    single_token_words: set[int]


def read(model: Mapping) -> list[tuple[int, int, int]]:
    """The merges of a tokenizer.json: left id, right id, the id they make."""
    ids = model["vocab"]
    pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    return [(ids[left], ids[right], ids[left + right]) for left, right in pairs]


def prepare(
    symbols: Mapping[int, Sequence[int]], merges: Iterable[tuple[int, int, int]]
) -> Merges:
    """Finds the merges that BPE uses, and the merges that pre-empt them.

    Args:
      symbols: the ids of each token's symbols, by the token's id.
      merges: left id, right id and the id that they make, by rank.
    """
    ranks, made = {}, []
    for left, right, new in merges:
        ranks[left, right] = len(made)
        made.append(new)
    single, last = set(), {}
    for token, parts in symbols.items():
        result, pair = _merge(list(parts), ranks, made)
        if result == [token]:
            single.add(token)
            if pair is not None:
                last[token] = pair
    tokens = sorted(last, key=lambda token: len(symbols[token]))
    ids, phase, ordered = _in_order(tokens, last, ranks)
    runs = _runs(ordered, phase, symbols, lambda word: _merge(word, ranks, made)[0])
    ordered -= {phase[tokens[1]] for tokens in runs.values()}
    preempting = {}
    for rank, token in enumerate(ids):
        left, right = last[token]
        _lower(preempting, (left, right), 0, rank)
        end, start = left, right
        while end in last:
            end = last[end][1]
            _lower(preempting, (end, right), 1, rank)
        while start in last:
            start = last[start][0]
            _lower(preempting, (left, start), 2, rank)
    size = {token: 1 for run in runs.values() for token in run}
    for token in tokens:
        parts = (size.get(part, 1) for part in last[token])
        size.setdefault(token, sum(parts))
    return Merges(
        ids,
        [size[token] for token in ids],
        preempting,
        max(size.values(), default=1),
        {
            rank
            for rank, token in enumerate(ids)
            if phase[token] in ordered and phase[token] == ranks[last[token]]
        },
        runs,
        single,
    )


def _merge(parts, ranks, made):
    """Applies the rule of BPE to symbols: the result, and the pair merged last."""
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
    """Sorts tokens, given the short ones first, in the order in which BPE makes them.

    The phase of a token is the highest rank that its making needs. In one phase, BPE
    makes the merge of that rank at each place from left to right. At each place it at
    once makes the merges that follow. The order returned makes them when all places
    are done. That is the same if no two of them need the same symbol. Otherwise the
    merges that follow rank before the merge of the phase, which must then be made place
    by place.

    Returns:
      The tokens in order, the phase of each, and the phases to make place by place.
    """
    phase, step, first = {}, {}, {}
    to_left, to_right, ordered = set(), set(), set()
    for token in tokens:
        left, right = last[token]
        rank = ranks[left, right]
        now = phase[token] = max(rank, phase.get(left, -1), phase.get(right, -1))
        step[token] = 0
        if now == rank:
            first[now] = left
            continue
        if phase.get(left, -1) == phase.get(right, -1):
            ordered.add(now)
        grown, taken, side = right, left, to_left
        if phase.get(left, -1) == now:
            grown, taken, side = left, right, to_right
        step[token] = step[grown] + 1
        side.add((now, taken))
    for now, taken in to_right:
        if taken == first[now] or (now, taken) in to_left:
            ordered.add(now)
    place = {
        token: (now, now == ranks[last[token]], ranks[last[token]])
        if now in ordered
        else (now, step[token], ranks[last[token]])
        for token, now in phase.items()
    }
    return sorted(tokens, key=place.__getitem__), phase, ordered


def _runs(ordered, phase, symbols, merge) -> dict[int, list[int]]:
    """The symbols whose runs become the longest token again and again; see `Merges`.

    Gemma is the case: it has tokens of 1 to 31 spaces, and merges the long ones first.
    """
    if not ordered:
        return {}
    made, mixed = {}, {}
    for token, now in phase.items():
        made.setdefault(now, []).append(token)
        kinds = {*symbols[token]}
        for symbol in kinds if len(kinds) > 1 else ():
            mixed[symbol] = min(now, mixed.get(symbol, NONE))
    runs = {}
    for now in ordered:
        symbol = symbols[made[now][0]][0]
        sizes = {len(symbols[token]): token for token in made[now]} | {1: symbol}
        run = [sizes.get(size) for size in range(1, max(sizes) + 1)]

        def greedy(count, run=run):
            times, rest = divmod(count, len(run))
            return [run[-1]] * times + run[rest - 1 : rest]

        counts = range(1, 4 * len(run))
        if (
            None not in run
            and mixed.get(symbol, NONE) > now
            and all(merge([symbol] * count) == greedy(count) for count in counts)
        ):
            runs[symbol] = run
    return runs


def _lower(preempting, pair, which, rank):
    """Lowers one of the three ranks of a pair to `rank` if it is above."""
    ranks = preempting.setdefault(pair, [NONE, NONE, NONE])
    ranks[which] = min(ranks[which], rank)
