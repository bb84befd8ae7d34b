"""The knobs of a request inside the graph: specs, defaults, and checks that name a row.

A check that fails answers INVALID_ARGUMENT with the input, the row, the value and what
is allowed. The checks are Assert operations, which XLA drops: they stay outside of
compiled parts.
"""

import dataclasses

import tensorflow as tf

from zoo.decode.samplers import Knobs

KINDS = {
    "max_new_tokens": tf.int32,
    "temperature": tf.float32,
    "top_k": tf.int32,
    "top_p": tf.float32,
    "min_p": tf.float32,
    "repetition_penalty": tf.float32,
    "seed": tf.int64,
}


def defaults(generation) -> dict[str, tf.Tensor]:
    """The `Generation` as tensors of shape [1], which gRPC callers may leave out."""
    values = dataclasses.asdict(generation)
    return {name: tf.constant([values[name]], kind) for name, kind in KINDS.items()}


def checked(given: dict[str, tf.Tensor], rows, vocab_size: int, most: int) -> Knobs:
    """The knobs, one value a row, each in its range.

    Args:
      given: by name, [B], or [1] for all rows alike.
      rows: B.
      vocab_size: V, the most that top_k may be.
      most: that max_new_tokens may be.
    """
    ranges = {
        "max_new_tokens": (lambda x: (x >= 1) & (x <= most), f"1 to {most} allowed"),
        "temperature": (_finite(lambda x: x >= 0), "at least 0 allowed"),
        "top_k": (lambda x: (x >= 0) & (x <= vocab_size), f"0 to {vocab_size} allowed"),
        "top_p": (lambda x: (x > 0) & (x <= 1), "above 0 and at most 1 allowed"),
        "min_p": (lambda x: (x >= 0) & (x <= 1), "0 to 1 allowed"),
        "repetition_penalty": (_finite(lambda x: x > 0), "above 0 allowed"),
    }
    values = {}
    for name in KINDS:
        value = given[name]
        size = tf.shape(value)[0]
        fits = tf.debugging.Assert(
            (size == rows) | (size == 1),
            [tf.strings.format(f"{name}: {{}} rows, but {{}} prompts", (size, rows))],
        )
        with tf.control_dependencies([fits]):
            value_B = tf.broadcast_to(value, [rows])
        if name in ranges:
            inside, allowed = ranges[name]
            value_B = require(inside(value_B), name, value_B, allowed)
        values[name] = value_B
    return Knobs(**values)


def _finite(inside):
    return lambda x: tf.math.is_finite(x) & inside(x)


def require(holds_B, name: str, value_B, allowed: str, result=None):
    """Returns the values, or `result`, if the check holds for every row."""

    def first():
        row = tf.argmin(tf.cast(holds_B, tf.int32), output_type=tf.int32)
        return tf.strings.format(
            f"{name}: row {{}} has {{}}, {allowed}", (row, value_B[row])
        )

    passed = tf.reduce_all(holds_B)
    shown = tf.cond(passed, lambda: tf.constant(""), first)
    with tf.control_dependencies([tf.debugging.Assert(passed, [shown])]):
        return tf.identity(value_B if result is None else result)


def rows_of(name: str, value):
    """The input itself, if it has at least one row."""
    message = f"{name}: a batch of 0 rows, at least 1 allowed"
    some = tf.debugging.Assert(tf.shape(value)[0] > 0, [message])
    with tf.control_dependencies([some]):
        return tf.identity(value)
