"""The closed form of rollouts: which prompts, seeds and orders each of them has.

All of it is a function of (seed, number of the rollout, round of its sampling). So the
position of a run is the number of its step; nothing of a rollout is in a checkpoint.
"""

import hashlib

import numpy as np
import tensorflow as tf

from zoo.data import shuffling

_ORDERS = 2**32  # seeds of a Run are below: the orders of rows and of prompts differ


def prompts(seed: int, rollout: int, count: int, total: int) -> np.ndarray:
    """Which prompts a rollout asks.

    Args:
      seed: of the Run.
      rollout: its number.
      count: how many prompts a rollout asks.
      total: how many prompts the data have.

    Returns:
      int64 [count]. Each pass over the data asks every prompt once, in another order.
    """
    place_P = rollout * count + np.arange(count, dtype=np.int64)
    epoch_P, place_P = np.divmod(place_P, total)
    return _permuted(seed, epoch_P, place_P, total)


def more_prompts(
    seed: int, rollout: int, round: int, rounds: int, count: int, total: int
) -> np.ndarray:
    """Which prompts a later round of a rollout asks.

    They are those of an order of their own, in which each round has its place, asked or
    not. So no rollout depends on what others asked. A prompt may be one that the first
    round asked too.

    Args:
      round: from 1 to `rounds` - 1.
      rounds: the most rounds of a rollout.
      seed, rollout, count, total: as in `prompts`.
    """
    place = rollout * (rounds - 1) + round - 1
    return prompts(seed + 2 * _ORDERS, place, count, total)


def order(seed: int, rollout: int, epoch: int, epochs: int, rows: int) -> np.ndarray:
    """The order in which an epoch learns the rows of a rollout, int64 [rows]."""
    place_N = np.arange(rows, dtype=np.int64)
    epoch_N = np.full(rows, rollout * epochs + epoch, np.int64)
    return _permuted(seed + _ORDERS, epoch_N, place_N, rows)


def seeds(seed: int, rollout: int, rows: int, round: int = 0) -> np.ndarray:
    """The seed of each answer of a round, int64 [rows]: hashes of all that it is of."""
    digests = (
        hashlib.blake2b(f"{seed} {rollout} {row}".encode(), digest_size=8).digest()
        for row in range(round * rows, (round + 1) * rows)
    )
    return np.array([int.from_bytes(d, "big", signed=True) for d in digests], np.int64)


def _permuted(seed, epoch_N, place_N, count) -> np.ndarray:
    """The permutation of `count` places of each epoch, at some places."""
    with tf.device("CPU:0"):
        return shuffling.permuted(
            seed, tf.constant(epoch_N), tf.constant(place_N), count
        ).numpy()
