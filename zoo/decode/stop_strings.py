"""Stop strings: a row ends as soon as its text contains one of them.

The graph compares bytes, because each request has its own strings. After each token
only the end of a row's text is searched: the earlier bytes were searched before.
"""

import tensorflow as tf

_SLACK = 8  # tokens without text, such as special ones, inside of a stop string


class Stops:
    """The stop strings of a batch.

    Args:
      stop_BS: string, up to S for each row; "" is none.
      pieces: `pieces(tokens) -> string`, the bytes of each token.
    """

    def __init__(self, stop_BS: tf.Tensor, pieces):
        self._stop_BS, self._pieces = stop_BS, pieces
        self._length_BS = tf.strings.length(stop_BS)
        self._longest = tf.reduce_max(self._length_BS)
        self._stop_BSL = _bytes(stop_BS, self._longest)

    def __call__(self, tokens_BN: tf.Tensor, count_B: tf.Tensor) -> tf.Tensor:
        """Whether the last of the first `count_B` tokens completes a stop string.

        Args:
          tokens_BN: int32.
          count_B: int32.

        Returns:
          bool [B].
        """

        def search():
            tail_B = self._tail(tokens_BN, count_B)
            return self._find(tail_B) < tf.strings.length(tail_B)

        return tf.cond(
            self._longest > 0, search, lambda: tf.zeros_like(count_B, tf.bool)
        )

    def repeated(self, times) -> "Stops":
        """The stop strings of a batch that has each row so many times."""
        return Stops(tf.repeat(self._stop_BS, times, 0), self._pieces)

    def cut(self, text_B, tokens_BN: tf.Tensor, count_B: tf.Tensor) -> tf.Tensor:
        """The texts of the tokens up to the first stop string."""

        def search():
            end_B = self._tail(tokens_BN, count_B)
            # A U+FFFD in the text may replace broken bytes, which match no stop string.
            stopped_B = self._find(end_B) < tf.strings.length(end_B)
            # The text leaves out up to 4 bytes of a character that is cut at its end.
            size_B = tf.strings.length(end_B) + 4
            start_B = tf.maximum(tf.strings.length(text_B) - size_B, 0)
            tail_B = tf.strings.substr(text_B, start_B, size_B)
            place_B = start_B + self._find(tail_B)
            place_B = tf.where(stopped_B, place_B, tf.strings.length(text_B))
            return tf.strings.substr(text_B, tf.zeros_like(start_B), place_B)

        return tf.cond(self._longest > 0, search, lambda: text_B)

    def _tail(self, tokens_BN, count_B):
        """The bytes of the last tokens: twice the longest stop string, and `_SLACK`."""
        width = 2 * self._longest + _SLACK
        at_BW = count_B[:, None] - width + tf.range(width)[None]
        piece_BW = self._pieces(
            tf.gather(tokens_BN, tf.maximum(at_BW, 0), batch_dims=1)
        )
        return tf.strings.reduce_join(tf.where(at_BW < 0, "", piece_BW), 1)

    def _find(self, text_B):
        """The place of the first stop string, or the text's length; int32 [B]."""
        length_B = tf.strings.length(text_B)
        size = tf.reduce_max(length_B)
        text_BM = _bytes(text_B, size + self._longest)
        at_ML = tf.range(size)[:, None] + tf.range(self._longest)[None]
        window_BML = tf.gather(text_BM, at_ML, axis=1)
        same = window_BML[:, :, None] == self._stop_BSL[:, None]
        length_BS = self._length_BS
        same |= tf.range(self._longest) >= length_BS[:, None, :, None]
        end_BMS = tf.range(size)[None, :, None] + length_BS[:, None]
        inside_BMS = (end_BMS <= length_B[:, None, None]) & (length_BS[:, None] > 0)
        hit_BM = tf.reduce_any(tf.reduce_all(same, -1) & inside_BMS, -1)
        place_BM = tf.where(hit_BM, tf.range(size)[None], length_B[:, None])
        return tf.reduce_min(place_BM, 1)


def _bytes(text, size):
    """The bytes of texts as uint8 [..., size], 0 behind the end."""
    return tf.io.decode_raw(text, tf.uint8, fixed_length=tf.maximum(size, 1))
