"""The seeds of the rows of a batch."""

_LARGEST = 2**63 - 1


def row_seed(seed: int, row: int) -> int:
    """The seed of a row of a batch for which one seed is given.

    Row 0 has the seed itself, and other rows a hash of the seed and the row: SplitMix64
    (Steele et al. 2014). With seed + row, batches of near seeds would share answers.

    Returns:
      An integer of 64 bits, with a sign.
    """
    if row == 0:
        return seed
    mask = 2**64 - 1
    x = (_mixed(seed & mask) + row * 0x9E3779B97F4A7C15) & mask
    x = _mixed(x)
    return x - 2**64 if x > _LARGEST else x


def _mixed(x: int) -> int:
    """SplitMix64's permutation of the integers of 64 bits."""
    mask = 2**64 - 1
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ x >> 27) * 0x94D049BB133111EB & mask
    return x ^ x >> 31
