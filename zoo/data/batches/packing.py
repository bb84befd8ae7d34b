"""Packing: rows of many lengths share windows of one length, and never see each other.

best_fit   a row goes whole into the window that has the least room for it, the longest
           rows first (best-fit decreasing; Ding et al. 2024, arXiv:2404.10830)
concat     rows follow each other, and are cut where a window ends

A table of pieces is made once from the lengths. A piece is a row, or a part of a row,
at a place of a window. An epoch permutes the windows, so that the position of a run
stays one integer. An example of windows of 4 inputs and rows of 3, 2, 1 and 2 inputs:

    best_fit   a a a c | b b d d
    concat     a a a b | b c d d    here b is two segments
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from zoo.data.batches.pipeline import Batch, endless_mixture, firsts, one_pass
from zoo.fields import at_least, one_of

PACKINGS = ("best_fit", "concat")


class Packed(NamedTuple):
    """The table of pieces, sorted by their places.

    Attributes:
      length: T, inputs of a window.
      windows: how many each source has; those of a source follow each other.
      slots: int64 [P]: window * T + the place in the window where the piece starts.
      first: int64 [P], the place of the piece's first input among all tokens.
      sizes: int64 [P], inputs of the piece.
    """

    length: int
    windows: tuple[int, ...]
    slots: np.ndarray
    first: np.ndarray
    sizes: np.ndarray

    @property
    def efficiency(self) -> float:
        """The share of all places in windows that hold an input."""
        return float(self.sizes.sum()) / (sum(self.windows) * self.length)

    def about(self, name: str) -> str:
        """One line for people; `name` is that of the packing."""
        return (
            f"packing {name}: {sum(self.windows)} windows of {self.length}, "
            f"{100 * self.efficiency:.2f} % of their places used"
        )


def pack(
    starts: np.ndarray, length: int, how: str, counts: Sequence[int] = ()
) -> Packed:
    """Makes the table of pieces.

    Args:
      starts: int64 [R + 1]: row i is `tokens[starts[i] : starts[i + 1]]`, and has one
        input less than tokens.
      length: T, inputs of a window.
      how: "best_fit" or "concat".
      counts: rows of each source; no window holds rows of two. Empty is one source.

    Raises:
      ValueError: an unknown packing, or a row that no window has room for.
    """
    one_of("packing", how, PACKINGS)
    at_least("length", length, 1)
    place = _best_fit if how == "best_fit" else _concat
    tables, windows, row = [], [], 0
    for count in counts or (len(starts) - 1,):
        slots, first, sizes = place(starts[row : row + count + 1], length)
        order = np.argsort(slots)
        tables.append(
            (slots[order] + sum(windows) * length, first[order], sizes[order])
        )
        windows.append(int(slots.max()) // length + 1)
        row += count
    slots, first, sizes = (np.concatenate(x) for x in zip(*tables, strict=True))
    return Packed(length, tuple(windows), slots, first, sizes)


def packed_batches(
    tokens: np.ndarray,
    weights: np.ndarray,
    packed: Packed,
    batch: int,
    seed: int,
    start: int = 0,
    shares: Sequence[int] = (1,),
) -> tf.data.Dataset:
    """Endless batches for a language model out of packed rows.

    Args:
      tokens: int32 [N], the tokens of all rows.
      weights: float32 [N], the loss weight of each token as a target.
      packed: the result of `pack` for these rows.
      batch: B, windows of a batch.
      seed: decides the order of the windows.
      start: the number of the first batch.
      shares: of a mixture, as in `pipeline.endless_mixture`, counted in windows.

    Returns:
      Batches of tokens, targets [B,T] int32, weights [B,T] float32, segments and
      positions [B,T] int32. Segments count from 1; positions are those of a token in
      its piece. Padding at the end of a window is 0 in all of them.

    Raises:
      ValueError: an argument is out of its range.
    """
    at_least("batch", batch, 1)
    make = _windows(tokens, weights, packed)
    first_S = firsts(packed.windows)

    def rows(source_B, epoch_B, place_B) -> Batch:
        del epoch_B
        return make(tf.gather(first_S, source_B) + place_B)

    return endless_mixture(rows, packed.windows, shares, batch, seed, start)


def packed_eval(
    tokens: np.ndarray, weights: np.ndarray, packed: Packed, batch: int
) -> tf.data.Dataset:
    """One pass over packed rows; arguments and batches are those of `packed_batches`.

    Windows of weight 0 fill the last batch.
    """
    make, count = _windows(tokens, weights, packed), sum(packed.windows)

    def rows(window_B) -> Batch:
        made = make(tf.minimum(window_B, count - 1))
        filled_B = tf.cast(window_B < count, tf.float32)
        return {**made, "weights": made["weights"] * filled_B[:, None]}

    dataset, _ = one_pass(rows, count, batch)
    return dataset


def _windows(tokens, weights, packed):
    """The function from the numbers of windows, int64 [B], to their batch."""
    with tf.device("CPU:0"):  # where tf.data reads them
        tokens_N, weights_N = tf.constant(tokens), tf.constant(weights)
        slots_P, first_P, sizes_P = (tf.constant(x, tf.int64) for x in packed[2:])
    length = packed.length

    def make(window_B) -> Batch:
        slot_BT = window_B[:, None] * length + tf.range(length, dtype=tf.int64)
        piece_N = tf.searchsorted(slots_P, tf.reshape(slot_BT, [-1]), "right", tf.int64)
        piece_BT = tf.reshape(piece_N - 1, tf.shape(slot_BT))
        position_BT = slot_BT - tf.gather(slots_P, piece_BT)
        there_BT = position_BT < tf.gather(sizes_P, piece_BT)
        at_BT = tf.where(there_BT, tf.gather(first_P, piece_BT) + position_BT, 0)

        def filled(x_BT, dtype=tf.int32):
            x_BT = tf.ensure_shape(tf.cast(x_BT, dtype), (None, length))
            return tf.where(there_BT, x_BT, tf.zeros_like(x_BT))

        return {
            "tokens": filled(tf.gather(tokens_N, at_BT)),
            "targets": filled(tf.gather(tokens_N, at_BT + 1)),
            "weights": filled(tf.gather(weights_N, at_BT + 1), tf.float32),
            # each window starts with a piece
            "segments": filled(piece_BT - piece_BT[:, :1] + 1),
            "positions": filled(position_BT),
        }

    return make


Table = tuple[np.ndarray, np.ndarray, np.ndarray]  # slots, first, sizes


def _best_fit(starts: np.ndarray, length: int) -> Table:
    """Whole rows; bit n of `rooms` says that some window has room for n inputs."""
    sizes = np.diff(starts) - 1
    if sizes.max() > length:
        raise ValueError(
            f"packing: a row has {sizes.max()} inputs, at most {length} of a window "
            "allowed."
        )
    slots = np.zeros(len(sizes), np.int64)
    free: list[list[int]] = [[] for _ in range(length + 1)]
    rooms, windows = 0, 0
    for row in _longest_first(sizes):
        size = int(sizes[row])
        enough = rooms >> size
        if enough:
            room = size + (enough & -enough).bit_length() - 1
            window = free[room].pop()
            rooms ^= 0 if free[room] else 1 << room
        else:
            room, window, windows = length, windows, windows + 1
        slots[row] = window * length + length - room
        if room > size:
            free[room - size].append(window)
            rooms |= 1 << room - size
    return slots, starts[:-1], sizes


def _longest_first(sizes: np.ndarray) -> Iterable[int]:
    """The rows by size, those of one size in their order."""
    return np.argsort(-sizes, kind="stable").tolist()


def _concat(starts: np.ndarray, length: int) -> Table:
    """Rows one after the other; a piece ends with its row or with its window."""
    begins = np.concatenate([[0], np.cumsum(np.diff(starts) - 1)])
    total = int(begins[-1])
    slots = np.unique(np.concatenate([begins[:-1], np.arange(0, total, length)]))
    row = np.searchsorted(begins, slots, "right") - 1
    first = starts[row] + slots - begins[row]
    return slots, first, np.diff(np.append(slots, total))
