"""Which documents are duplicates of earlier ones: exactly, nearly, or line by line.

Documents have numbers in their order. Each function reads the arrays of one unit at a
time, and numbers are compared in parts of the range of a hash, so that memory is about
8 bytes a document, and `_AT_ONCE` hashes.
"""

from collections.abc import Callable, Iterator

import numpy as np

from zoo.data.preparation import minhash

_AT_ONCE = 1 << 24  # hashes compared at a time
_EDGES = 1 << 14  # pairs whose signatures are compared at a time


def exact(
    keys: Callable[[int], np.ndarray],
    offsets_U: np.ndarray,
    at_once: int = _AT_ONCE,
) -> np.ndarray:
    """Finds documents with the key of an earlier one.

    Args:
      keys: the keys of the documents of unit u, uint64 [D, 2].
      offsets_U: int64 [U + 1], the number of the first document of each unit, and the
        number of all documents.
      at_once: hashes compared at a time.

    Returns:
      int64 [D]: the first document with the same key, or -1 where that is itself.
    """
    original_D = np.full(offsets_U[-1], -1, np.int64)
    for part in _parts(offsets_U[-1], at_once):
        found, numbers = [], []
        for unit in range(len(offsets_U) - 1):
            keys_D2 = keys(unit)
            mine = np.flatnonzero(part(keys_D2[:, 0]))
            found.append(keys_D2[mine])
            numbers.append(mine + offsets_U[unit])
        keys_N2, number_N = np.concatenate(found), np.concatenate(numbers)
        order = np.lexsort((number_N, keys_N2[:, 1], keys_N2[:, 0]))
        keys_N2, number_N = keys_N2[order], number_N[order]
        new_N = np.ones(len(order), bool)
        new_N[1:] = (keys_N2[1:] != keys_N2[:-1]).any(axis=1)
        first_N = number_N[_group_starts(new_N)]
        original_D[number_N[~new_N]] = first_N[~new_N]
    return original_D


def near(
    bands: Callable[[int, int], np.ndarray],
    signatures: Callable[[int], np.ndarray],
    offsets_U: np.ndarray,
    alive_D: np.ndarray,
    threshold: float,
    at_once: int = _AT_ONCE,
) -> np.ndarray:
    """Finds documents that are like an earlier one, by MinHash-LSH.

    Documents with an equal band are candidates. Each is compared with the earliest
    document that has the band, and with the one before it. Pairs whose estimated
    similarity reaches the threshold are edges; of all documents that edges join, the
    earliest stays.

    Args:
      bands: `bands(b, u)` gives band b of the documents of unit u, uint64 [D].
      signatures: the signatures of the documents of unit u, uint32 [D, 112].
      offsets_U: as in `exact`.
      alive_D: bool [D], which documents are compared.
      threshold: the least estimated Jaccard similarity.
      at_once: hashes compared at a time.

    Returns:
      int64 [D]: the earliest document of its cluster, or -1 where that is itself.
    """
    # not at import: worker processes do not need it
    from scipy import sparse
    from scipy.sparse import csgraph

    pairs_E2 = np.zeros((0, 2), np.int64)
    for band in range(minhash.BANDS):
        edges = _candidates(bands, band, offsets_U, alive_D, at_once)
        pairs_E2 = np.unique(np.concatenate([pairs_E2, *edges]), axis=0)
    pairs_E2 = _like(signatures, offsets_U, pairs_E2, threshold)
    original_D = np.full(offsets_U[-1], -1, np.int64)
    if len(pairs_E2):
        numbers_N, flat = np.unique(pairs_E2, return_inverse=True)
        one, other = flat.reshape(-1, 2).T
        size = len(numbers_N)
        graph = sparse.coo_array((np.ones(len(one), bool), (one, other)), (size,) * 2)
        _, label_N = csgraph.connected_components(graph, directed=False)
        _, first = np.unique(label_N, return_index=True)  # numbers rise: the earliest
        earliest_N = numbers_N[first[label_N]]
        later = earliest_N != numbers_N
        original_D[numbers_N[later]] = earliest_N[later]
    return original_D


def lines(
    line_hashes: Callable[[int], tuple[np.ndarray, np.ndarray]],
    offsets_U: np.ndarray,
    alive_D: np.ndarray,
    documents: int,
    at_once: int = _AT_ONCE,
) -> list[np.ndarray]:
    """Finds lines that earlier documents have, as C4 (Raffel et al. 2020) and CCNet do.

    Args:
      line_hashes: of unit u: the hashes of all lines, uint64 [L], and the lines of each
        document, int64 [D]. A line with the hash 0 has no word and stays.
      offsets_U: as in `exact`.
      alive_D: bool [D], which documents count.
      documents: a line goes where at least so many earlier documents have it.
      at_once: hashes compared at a time.

    Returns:
      For each unit bool [L]: whether the line goes.
    """
    units = range(len(offsets_U) - 1)
    sizes = [len(line_hashes(unit)[0]) for unit in units]
    gone = [np.zeros(size, bool) for size in sizes]
    for part in _parts(sum(sizes), at_once):
        hashes, document, places = [], [], []
        for unit in units:
            lines_L, counts_D = line_hashes(unit)
            number_L = np.repeat(np.arange(len(counts_D)), counts_D) + offsets_U[unit]
            mine = np.flatnonzero(part(lines_L) & (lines_L != 0) & alive_D[number_L])
            hashes.append(lines_L[mine])
            document.append(number_L[mine])
            places.append(mine)
        hash_N, number_N = np.concatenate(hashes), np.concatenate(document)
        order = np.argsort(hash_N, kind="stable")  # documents rise in each group
        hash_N, number_N = hash_N[order], number_N[order]
        new_N = np.ones(len(order), bool)
        new_N[1:] = hash_N[1:] != hash_N[:-1]
        other_N = new_N.copy()
        other_N[1:] |= number_N[1:] != number_N[:-1]
        rank_N = np.cumsum(other_N)
        rank_N -= rank_N[_group_starts(new_N)]
        often = np.zeros(len(order), bool)
        often[order] = rank_N >= documents
        ends = np.cumsum([len(place) for place in places])[:-1]
        for unit, found in enumerate(np.split(often, ends)):
            gone[unit][places[unit][found]] = True
    return gone


def _parts(size, at_once) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
    """Functions that say which hashes are in a part of the range."""
    count = int(-(-size // at_once)) or 1

    def inside(number, values):
        if count == 1:
            return np.ones(len(values), bool)
        return values % np.uint64(count) == np.uint64(number)

    for number in range(count):
        yield lambda values, number=number: inside(number, values)


def _group_starts(new_N):
    """The place where the group of each entry begins; new_N marks first entries."""
    return np.maximum.accumulate(np.where(new_N, np.arange(len(new_N)), 0))


def _candidates(bands, band, offsets_U, alive_D, at_once) -> list[np.ndarray]:
    """Pairs of documents with an equal band, int64 [E, 2] each; the earlier first."""
    edges = []
    for part in _parts(offsets_U[-1], at_once):
        hashes, numbers = [], []
        for unit in range(len(offsets_U) - 1):
            value_D = bands(band, unit)
            alive = alive_D[offsets_U[unit] : offsets_U[unit + 1]]
            mine = np.flatnonzero(alive & (value_D != 0) & part(value_D))
            hashes.append(value_D[mine])
            numbers.append(mine + offsets_U[unit])
        hash_N, number_N = np.concatenate(hashes), np.concatenate(numbers)
        order = np.argsort(hash_N, kind="stable")
        hash_N, number_N = hash_N[order], number_N[order]
        new_N = np.ones(len(order), bool)
        new_N[1:] = hash_N[1:] != hash_N[:-1]
        later = np.flatnonzero(~new_N)
        first = number_N[_group_starts(new_N)][later]
        edges.append(np.stack([first, number_N[later]], 1))
        edges.append(np.stack([number_N[later - 1], number_N[later]], 1))
    return edges


def _like(signatures, offsets_U, pairs_E2, threshold):
    """The pairs whose signatures are equal in a share of at least the threshold."""
    kept = []
    for begin in range(0, len(pairs_E2), _EDGES):
        pairs = pairs_E2[begin : begin + _EDGES]
        flat = pairs.reshape(-1)
        found = np.empty((len(flat), minhash.HASHES), np.uint32)
        unit_N = np.searchsorted(offsets_U, flat, side="right") - 1
        for unit in np.unique(unit_N):
            mine = unit_N == unit
            found[mine] = signatures(unit)[flat[mine] - offsets_U[unit]]
        alike = minhash.similarity(found[::2], found[1::2]) >= threshold
        kept.append(pairs[alike])
    return np.concatenate([np.zeros((0, 2), np.int64), *kept])


def largest(original_D: np.ndarray) -> int:
    """The documents of the largest cluster, the one that stays included; at least 1."""
    _, sizes = np.unique(original_D[original_D >= 0], return_counts=True)
    return int(sizes.max(initial=0)) + 1
