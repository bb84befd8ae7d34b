"""A table from characters to numbers that a graph reads with two gathers."""

import tensorflow as tf

_PAGE = 256
_POINTS = 0x110000


class Points(tf.Module):
    """Numbers of characters; equal pages of 256 characters are stored once."""

    def __init__(self, numbers: dict[int, int], default: int = 0):
        """Builds the table.

        Args:
          numbers: by code point.
          default: the number of all other characters.
        """
        super().__init__()
        pages = {}
        for point, number in numbers.items():
            page = pages.setdefault(point // _PAGE, [default] * _PAGE)
            page[point % _PAGE] = number
        places = {(default,) * _PAGE: 0}
        start = [0] * (_POINTS // _PAGE)
        for page, values in pages.items():
            start[page] = places.setdefault(tuple(values), len(places) * _PAGE)
        self._start = tf.constant(start)
        self._values = tf.constant([value for page in places for value in page])

    def __call__(self, point_N: tf.Tensor) -> tf.Tensor:
        """The number of each character, int32 [N]."""
        start_N = tf.gather(self._start, point_N // _PAGE)
        return tf.gather(self._values, start_N + tf.math.floormod(point_N, _PAGE))
