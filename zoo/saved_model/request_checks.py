"""Checks the inputs of a request inside the graph, and names the row that is wrong.

A check that fails answers INVALID_ARGUMENT with the input, the row, the value and what
is allowed. Checks are Assert operations. XLA drops those: no check may stand in a part
that XLA compiles.
"""

from typing import Any

import tensorflow as tf

from zoo.decode.sampling import Knobs
from zoo.decode.search import Search
from zoo.generation_config import NUMBERS, GenerationConfig
from zoo.knobs import Knob
from zoo.text.in_graph import tokenizer as graph_tokenizer

MOST_STOPS, _MOST_STOP_BYTES = 8, 256  # stop strings of a row, bytes of one
_MOST_SHOWN = 200  # bytes of a text in a message
MOST_BYTES = 2**20  # of one text: a longer one is an error, not a long wait
# of a text, or of a prompt and its answer, where the model sets no limit
MOST_TOKENS = 2**16


def spec(knob: Knob) -> tf.TensorSpec:
    """The spec of a knob as an input."""
    return tf.TensorSpec([None] if knob.range else [None, None], knob.dtype)


def default(knob: Knob, generation: GenerationConfig) -> tf.Tensor:
    """A knob's value for all rows, which gRPC callers may leave out."""
    value = getattr(generation, knob.name)
    if not knob.range:  # strings, of which there may be none
        value = list(value) or [""]
    return tf.constant([value], knob.dtype)


def checked(given: dict[str, Any], rows, vocab_size: int, most: int) -> Knobs:
    """The knobs, one value a row, each in its range.

    Args:
      given: by name, [B], or [1] for all rows alike; `stop` is not read.
      rows: B.
      vocab_size: the largest top_k.
      most: the largest max_new_tokens.
    """
    high = {"max_new_tokens": most, "top_k": vocab_size}
    return Knobs(**_checked(NUMBERS, given, rows, high))


def searched(table, given: dict[str, Any], rows, temperature_B) -> Search:
    """The knobs of beam search, one value a row, each in its range.

    Args:
      table: of `generation_config.searching`.
      given: as for `checked`.
      rows: B.
      temperature_B: of `checked`; a row with several beams has 0.
    """
    values = _checked(table, given, rows, {})
    count_B, beams_B = values["num_return_sequences"], values["beams"]
    values["num_return_sequences"] = require(
        count_B <= beams_B, "num_return_sequences", count_B, "at most beams allowed"
    )
    values["beams"] = require(
        (beams_B == 1) | (temperature_B == 0),
        "temperature",
        temperature_B,
        "0 with several beams allowed",
        beams_B,
    )
    return Search(**values)


def _checked(table, given, rows, high) -> dict[str, tf.Tensor]:
    """The knobs of a table by name, one value a row; `high` replaces some limits."""
    values = {}
    for knob in table:
        value_B = broadcast(knob.name, given[knob.name], rows)
        range_ = knob.range._replace(high=high.get(knob.name, knob.range.high))
        holds_B = range_.holds(value_B)
        values[knob.name] = require(holds_B, knob.name, value_B, f"{range_} allowed")
    return values


def stops(stop, rows) -> tf.Tensor:
    """The stop strings of each row, checked, with "" up to the largest number.

    Args:
      stop: string [B, S], or [1, S] for all rows alike.
      rows: B.

    Returns:
      string [B, 8].
    """
    stop = _shaped("stop", stop)
    count = tf.shape(stop)[1]
    few = tf.debugging.Assert(
        count <= MOST_STOPS,
        [tf.strings.format(f"stop: {{}} strings, at most {MOST_STOPS} allowed", count)],
    )
    with tf.control_dependencies([few]):
        stop_BS = broadcast("stop", stop, rows)
        filling = tf.fill([rows, tf.maximum(MOST_STOPS - count, 0)], "")
    stop_BS = tf.ensure_shape(tf.concat([stop_BS, filling], 1), [None, MOST_STOPS])
    size_B = tf.reduce_max(tf.strings.length(stop_BS), 1)
    allowed = f"bytes, at most {_MOST_STOP_BYTES} allowed"
    stop_BS = require(size_B <= _MOST_STOP_BYTES, "stop", size_B, allowed, stop_BS)
    odd_BS = tf.logical_not(graph_tokenizer.valid_utf8(stop_BS))
    first_B = tf.gather(stop_BS, tf.argmax(tf.cast(odd_BS, tf.int32), 1), batch_dims=1)
    good_B = ~tf.reduce_any(odd_BS, 1)
    return require(good_B, "stop", first_B, "valid UTF-8 allowed", stop_BS)


def texts(name: str, text_B) -> tf.Tensor:
    """The texts, checked for their size and for UTF-8."""
    text_B = rows_of(name, text_B)
    text_B = small(name, tf.strings.length(text_B), "bytes", text_B)
    valid_B = graph_tokenizer.valid_utf8(text_B)
    return require(valid_B, name, text_B, "valid UTF-8 allowed")


def small(name: str, size_B, what: str, result):
    """Returns `result` if no row has more than `MOST_BYTES` bytes."""
    allowed = f"{what}, at most {MOST_BYTES} allowed"
    return require(size_B <= MOST_BYTES, name, size_B, allowed, result)


def at_most(name: str, count_B, most: int, what: str, result):
    """Returns tensors only after the check that no row counts more than `most`.

    Args:
      name: of the input.
      count_B: int32.
      most: the largest count allowed.
      what: is counted, for the message.
      result: a tensor, or several.
    """
    passed = require(count_B <= most, name, count_B, f"{what}, at most {most} allowed")
    with tf.control_dependencies([passed]):
        return tf.nest.map_structure(tf.identity, result)


def at_least_one(name: str, count_B, what: str, result):
    """Returns tensors only after the check that no row counts 0."""
    passed = require(count_B > 0, name, count_B, f"{what}, at least 1 allowed")
    with tf.control_dependencies([passed]):
        return tf.nest.map_structure(tf.identity, result)


def below(name: str, value_B, size: int, result=None):
    """Returns the integers, or `result`, if all of them are from 0 to `size` - 1."""
    inside_B = (value_B >= 0) & (value_B < size)
    return require(inside_B, name, value_B, f"0 to {size - 1} allowed", result)


def require(holds_B, name: str, value_B, allowed: str, result=None):
    """Returns the values, or `result`, if the check passes for every row.

    Args:
      holds_B: bool, the check.
      name: of the input.
      value_B: the values for the message.
      allowed: the end of the message.
      result: a tensor to return in place of the values.
    """
    # The message is made even if it is not needed: a conditional of each check would
    # take longer in the first answer of a server than all messages ever do.
    row = tf.argmin(tf.concat([tf.cast(holds_B, tf.int32), [1]], 0))
    listed = tf.strings.format("{}", _shown(value_B[row : row + 1]))  # none of no rows
    value = tf.strings.substr(listed, 1, tf.strings.length(listed) - 2)
    message = tf.strings.join(
        [f"{name}: row ", tf.strings.as_string(row), " has ", value, f", {allowed}"]
    )
    passed = tf.debugging.Assert(tf.reduce_all(holds_B), [message])
    with tf.control_dependencies([passed]):
        return tf.identity(value_B if result is None else result)


def _shown(value):
    """A value for a message: of a text its beginning, in valid UTF-8."""
    if value.dtype != tf.string:
        return value
    start = tf.strings.substr(value, 0, _MOST_SHOWN)
    return tf.strings.unicode_transcode(start, "UTF-8", "UTF-8")


def rows_of(name: str, value):
    """The input itself, if it has at least one row."""
    value = _shaped(name, value)
    message = f"{name}: a batch of 0 rows, at least 1 allowed"
    some = tf.debugging.Assert(tf.shape(value)[0] > 0, [message])
    with tf.control_dependencies([some]):
        return tf.identity(value)


def broadcast(name, value, rows):
    """The value itself, or its one row for all."""
    value = _shaped(name, value)
    size = tf.shape(value)[0]
    fits = tf.debugging.Assert(
        (size == rows) | (size == 1),
        [tf.strings.format(f"{name}: {{}} rows, but {{}} prompts", (size, rows))],
    )
    with tf.control_dependencies([fits]):
        return tf.broadcast_to(value, tf.concat([[rows], tf.shape(value)[1:]], 0))


def _shaped(name, value):
    """The input itself, if its shape is that of the signature.

    Servers check types but not shapes, and many operations broadcast other shapes. The
    message names the operation before the check; no optimizer removes this one.
    """
    named = tf.compat.v1.placeholder_with_default(value, None, f"input_{name}_")
    return tf.ensure_shape(named, value.shape)
