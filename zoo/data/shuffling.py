"""Random numbers and permutations by index, without any state."""

import hashlib

import tensorflow as tf

# SplitMix64 (Steele, Lea and Flood 2014): step, then shifts and factors of the mix.
_STEP = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))


def permuted(seed: int, epoch_B, place_B, count):
    """Where the epoch's permutation of `count` places sends each place.

    Args:
      seed: any integer.
      epoch_B: int64, one permutation each.
      place_B: int64, 0 to `count` - 1.
      count: how many places, one number or int64 [B].

    Returns:
      int64 [B], 0 to `count` - 1; a bijection for each epoch.
    """
    # The op uses only the low bits of its keys: 8 bits of each for small counts.
    # Plain counters would repeat after 256 epochs, so the keys are hashes. The public
    # function tf.random.experimental.index_shuffle fails on a vector of seeds.
    draws = [_draw(seed, f"key{i}", epoch_B) for i in range(3)]
    keys = [tf.cast(draw % 2**32, tf.uint32) for draw in draws]
    return tf.raw_ops.RandomIndexShuffle(
        index=place_B,
        seed=tf.stack(keys, -1),
        max_index=tf.broadcast_to(tf.cast(count, tf.int64) - 1, tf.shape(place_B)),
        rounds=4,
    )


def number(seed: int, purpose: str, epoch_B, below):
    """A random int64 from 0 to `below` - 1 for each epoch; `below` may be [B] too."""
    draw_B = _draw(seed, purpose, epoch_B) % tf.cast(below, tf.uint64)
    return tf.cast(draw_B, tf.int64)


def uniform(seed: int, purpose: str, index):
    """A random float64 in [0, 1) for each integer of a tensor, in its shape."""
    high = tf.bitwise.right_shift(
        _draw(seed, purpose, index), tf.constant(11, tf.uint64)
    )
    return tf.cast(tf.cast(high, tf.int64), tf.float64) / 2.0**53


def _draw(seed: int, purpose: str, epoch_B):
    """A random uint64 for each epoch."""
    digest = hashlib.blake2b(f"{seed} {purpose}".encode(), digest_size=8).digest()
    base = tf.constant(int.from_bytes(digest, "big"), tf.uint64)
    x_B = base + tf.cast(epoch_B, tf.uint64) * tf.constant(_STEP, tf.uint64)
    for shift, factor in _MIX:
        right_B = tf.bitwise.right_shift(x_B, tf.constant(shift, tf.uint64))
        x_B = tf.bitwise.bitwise_xor(x_B, right_B) * tf.constant(factor, tf.uint64)
    return x_B
