"""MinHash signatures of texts, and their bands (locality-sensitive hashing).

Two texts are alike by the Jaccard similarity of their sets of word 5-grams. A signature
has 112 numbers; the share of equal numbers of two signatures estimates the similarity
(Broder 1997). The numbers form 14 bands of 8. Texts that have one equal band are
candidates: half of the pairs of similarity 0.68 are, and 92 % of those of 0.8. These
are the sizes of datatrove, so that results can be compared.
"""

import numpy as np

from zoo.data.preparation import words

WORDS = 5
BANDS = 14
ROWS = 8
HASHES = BANDS * ROWS
_PIECE = 32  # n-grams of one text in one column; the last column is filled up
_COLUMNS = 2048  # computed at a time: 256 KiB, which the cache of a core holds
_NOTHING = np.uint32(0xFFFFFFFF)


def signatures(found: words.Words) -> np.ndarray:
    """The signatures of texts, uint32 [D, 112].

    The number h of the signature is the smallest value of the function h over the
    n-grams. The functions are a * x + b modulo 2^32 of the mixed n-gram x, with an odd
    a. A text without a word has the highest number everywhere.
    """
    grams_G, starts_D = words.ngrams(found, WORDS)
    counts_D = np.diff(starts_D)
    pieces_D = -(-counts_D // _PIECE)
    first_D = np.concatenate([[0], np.cumsum(pieces_D)])
    result = np.full((len(counts_D), HASHES), _NOTHING)
    if not first_D[-1]:
        return result
    # Column p of the table has _PIECE n-grams of one text, the last one repeated.
    text_P = np.repeat(np.arange(len(counts_D)), pieces_D)
    start_P = starts_D[text_P] + (np.arange(first_D[-1]) - first_D[text_P]) * _PIECE
    last_P = starts_D[text_P + 1] - 1
    place_KP = start_P + np.arange(_PIECE)[:, None]
    np.minimum(place_KP, last_P, out=place_KP)
    least_HP = np.empty((HASHES, len(text_P)), np.uint32)
    grams_G = (grams_G >> np.uint64(32)).astype(np.uint32)
    factors, shifts = _functions()
    for begin in range(0, len(text_P), _COLUMNS):
        part = slice(begin, begin + _COLUMNS)
        grams_KP = grams_G[place_KP[:, part]]
        values_KP = np.empty_like(grams_KP)
        for number in range(HASHES):
            np.multiply(grams_KP, factors[number], out=values_KP)
            values_KP += shifts[number]
            np.minimum.reduce(values_KP, axis=0, out=least_HP[number, part])
    filled = np.flatnonzero(counts_D)
    result[filled] = np.minimum.reduceat(least_HP, first_D[filled], axis=1).T
    return result


def bands(signatures_DH: np.ndarray) -> np.ndarray:
    """The bands of signatures as one number each, uint64 [14, D].

    A text without a word has 0 in each band; such texts are no candidates.
    """
    parts = signatures_DH.reshape(-1, BANDS, ROWS).astype(np.uint64)
    total_DB = np.zeros(parts.shape[:2], np.uint64)
    for row in range(ROWS):
        total_DB = words.mix(total_DB + parts[:, :, row] + np.uint64(1))
    total_DB = np.maximum(total_DB, np.uint64(1))
    total_DB[(signatures_DH == _NOTHING).all(axis=1)] = 0
    return np.ascontiguousarray(total_DB.T)


def similarity(one_EH: np.ndarray, other_EH: np.ndarray) -> np.ndarray:
    """The estimated Jaccard similarity of pairs of signatures, float64 [E]."""
    return (one_EH == other_EH).mean(axis=1)


def _functions():
    """The odd factors and the shifts of the hash functions, uint32 [112] each."""
    numbers = words.mix(np.arange(1, 2 * HASHES + 1, dtype=np.uint64))
    numbers = (numbers >> np.uint64(32)).astype(np.uint32)
    return numbers[:HASHES] | np.uint32(1), numbers[HASHES:]
