"""The knobs of a request inside the graph: specs, defaults, and checks that name a row.

A check that fails answers INVALID_ARGUMENT with the input, the row, the value and what
is allowed. The checks are Assert operations, which XLA drops: they stay outside of
compiled parts.
"""

import dataclasses

import tensorflow as tf

from zoo.decode.sampling import Knobs
from zoo.text.in_graph import tokenizer as graph_tokenizer

_MOST_STOPS, _MOST_BYTES = 8, 256  # stop strings of a row, bytes of one
KINDS = {
    "max_new_tokens": tf.int32,
    "temperature": tf.float32,
    "top_k": tf.int32,
    "top_p": tf.float32,
    "min_p": tf.float32,
    "repetition_penalty": tf.float32,
    "seed": tf.int64,
}
SPECS = {name: tf.TensorSpec([None], kind) for name, kind in KINDS.items()}
SPECS["stop"] = tf.TensorSpec([None, None], tf.string)


def defaults(generation) -> dict[str, tf.Tensor]:
    """A `GenerationConfig` as one-row tensors, which gRPC callers may leave out."""
    values = dataclasses.asdict(generation)
    tensors = {name: tf.constant([values[name]], kind) for name, kind in KINDS.items()}
    return {**tensors, "stop": tf.constant([list(values["stop"]) or [""]])}


def checked(given: dict[str, tf.Tensor], rows, vocab_size: int, most: int) -> Knobs:
    """The knobs, one value a row, each in its range.

    Args:
      given: by name, [B], or [1] for all rows alike; `stop` is not read.
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
        value_B = _broadcast(name, given[name], rows)
        if name in ranges:
            inside, allowed = ranges[name]
            value_B = require(inside(value_B), name, value_B, allowed)
        values[name] = value_B
    return Knobs(**values)


def stops(stop, rows) -> tf.Tensor:
    """The stop strings of each row, checked and filled up with "": string [B, 8]."""
    stop = _shaped(stop)
    count = tf.shape(stop)[1]
    few = tf.debugging.Assert(
        count <= _MOST_STOPS,
        [
            tf.strings.format(
                f"stop: {{}} strings, at most {_MOST_STOPS} allowed", count
            )
        ],
    )
    with tf.control_dependencies([few]):
        stop_BS = _broadcast("stop", stop, rows)
        filling = tf.fill([rows, tf.maximum(_MOST_STOPS - count, 0)], "")
    stop_BS = tf.ensure_shape(tf.concat([stop_BS, filling], 1), [None, _MOST_STOPS])
    size_B = tf.reduce_max(tf.strings.length(stop_BS), 1)
    allowed = f"bytes, at most {_MOST_BYTES} allowed"
    stop_BS = require(size_B <= _MOST_BYTES, "stop", size_B, allowed, stop_BS)
    odd_BS = ~graph_tokenizer.valid_utf8(stop_BS)
    first_B = tf.gather(stop_BS, tf.argmax(tf.cast(odd_BS, tf.int32), 1), batch_dims=1)
    good_B = ~tf.reduce_any(odd_BS, 1)
    return require(good_B, "stop", first_B, "valid UTF-8 allowed", stop_BS)


def _broadcast(name, value, rows):
    """The value itself, or its one row for all."""
    value = _shaped(value)
    size = tf.shape(value)[0]
    fits = tf.debugging.Assert(
        (size == rows) | (size == 1),
        [tf.strings.format(f"{name}: {{}} rows, but {{}} prompts", (size, rows))],
    )
    with tf.control_dependencies([fits]):
        return tf.broadcast_to(value, tf.concat([[rows], tf.shape(value)[1:]], 0))


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
    value = _shaped(value)
    message = f"{name}: a batch of 0 rows, at least 1 allowed"
    some = tf.debugging.Assert(tf.shape(value)[0] > 0, [message])
    with tf.control_dependencies([some]):
        return tf.identity(value)


def _shaped(value):
    """The input itself, if its shape is that of the signature.

    Servers check types but not shapes, and operations that broadcast take many.
    """
    return tf.ensure_shape(value, value.shape)
