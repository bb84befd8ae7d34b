"""Calls the blocks of a stack so that TensorFlow traces one block for all equal ones.

A trace in Python takes about a thousand times as long as a call of what was traced.
Blocks of one structure differ in the values of their variables only. So the first one
is traced, with the values as inputs, and serves the others. Training traces each block:
there the gain is small, and gradients would be added in another order.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import keras
import tensorflow as tf

from zoo.layers.low_rank import LowRank


def through(
    blocks: Sequence[Any],
    call: Callable[..., tuple[Any, Sequence[Any]]],
    x: Any,
    own: Sequence[Sequence[Any]] = (),
    kinds: Sequence[Hashable] = (),
    training: bool = False,
) -> tuple[Any, list]:
    """Calls blocks, one after another.

    Args:
      blocks: built Keras layers.
      call: `call(i, block, x, *own) -> (x, tensors)` of block i. Tensors that all
        blocks share may come from its closure.
      x: the input of the first block.
      own: the tensors of each block that belong to it, such as its caches. Blocks with
        such tensors run as one graph, since a call would cost 3 % of a decoding step.
        Without them the runtime prepares one graph for equal blocks, so that the first
        answer comes sooner.
      kinds: what `call` makes of i, for each block: blocks of other kinds or structures
        have traces of their own.
      training: whether the caller will compute gradients.

    Returns:
      The output of the last block, and the tensors that all calls gave, in their order.
    """
    traces, given = {}, []
    for i, block in enumerate(blocks):
        tensors = tuple(own[i]) if own else ()
        if training or tf.executing_eagerly():
            x, more = call(i, block, x, *tensors)
        else:
            key = kinds[i] if kinds else None, _structure(block)
            if key not in traces:
                traces[key] = _Trace(call, i, block, inline=bool(own))
            x, more = traces[key](block, x, tensors)
        given.extend(more)
    return x, given


class _Trace:
    """The call of a block as a function of the values of its variables."""

    def __init__(self, call, i, block, inline):
        weights = block.weights  # without the states of random generators

        def run(x, own, values):
            pairs = list(zip(weights, values, strict=True))
            with keras.StatelessScope(pairs, initialize_variables=False):
                x, given = call(i, block, x, *own)
            return x, list(given)

        attributes = {} if inline else {"_noinline": True}
        self._function = tf.function(
            run, autograph=False, experimental_attributes=attributes
        )

    def __call__(self, block, x, own):
        values = [tf.convert_to_tensor(v.value) for v in block.weights]
        return self._function(x, own, values)


def _structure(block) -> Hashable:
    """What blocks with one trace have in common, beside the code of their class."""
    weights = [(v.name, tuple(v.shape), v.dtype) for v in block.weights]
    adapters = [
        (layer.scale, layer.enabled, layer.parts)
        for layer in block._flatten_layers()
        if isinstance(layer, LowRank)
    ]
    return type(block), tuple(weights), tuple(adapters)
