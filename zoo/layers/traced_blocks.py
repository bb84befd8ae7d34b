"""Calls the blocks of a stack so that TensorFlow traces one block for all equal ones.

A trace in Python takes about a thousand times as long as a call of what was traced.
Blocks of one structure differ in the values of their variables only. So the first one
is traced, with the values as inputs, and serves the others. Graphs inline such calls
before they run: the operations are those of a trace of each block.
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
    inline: bool = True,
) -> tuple[Any, list]:
    """Calls blocks, one after another.

    Args:
      blocks: built Keras layers.
      call: `call(i, block, x, *own) -> (x, tensors)` of block i. Tensors that all
        blocks share may come from its closure.
      x: the input of the first block.
      own: the tensors of each block that belong to it, such as its caches.
      kinds: what `call` makes of i, for each block: blocks of other kinds or structures
        have traces of their own.
      inline: whether the runtime makes one graph of all blocks. Otherwise it prepares
        one graph for equal blocks, so that a first call comes sooner. Each call of a
        block then costs about 20 microseconds.

    Returns:
      The output of the last block, and the tensors that all calls gave, in their order.
    """
    traces, given = {}, []
    for i, block in enumerate(blocks):
        tensors = tuple(own[i]) if own else ()
        if tf.executing_eagerly():
            x, more = call(i, block, x, *tensors)
        else:
            key = kinds[i] if kinds else None, _structure(block)
            if key not in traces:
                traces[key] = _Trace(call, i, block, inline)
            x, more = traces[key](block, x, tensors)
        given.extend(more)
    return x, given


class _Trace:
    """The call of a block as a function of the values of its variables."""

    def __init__(self, call, i, block, inline):
        variables, self._changed = block.variables, []

        def run(x, own, values):
            pairs = list(zip(variables, values, strict=True))
            with keras.StatelessScope(pairs, initialize_variables=False) as scope:
                before = [scope.get_current_value(v) for v in variables]
                x, given = call(i, block, x, *own)
            after = [scope.get_current_value(v) for v in variables]
            changed = [n for n, v in enumerate(after) if v is not before[n]]
            self._changed = changed  # the states of random generators
            return x, list(given), [after[n] for n in changed]

        attributes = {} if inline else {"_noinline": True}
        self._function = tf.function(
            run, autograph=False, experimental_attributes=attributes
        )

    def __call__(self, block, x, own):
        variables = block.variables
        values = [tf.convert_to_tensor(v.value) for v in variables]
        x, given, states = self._function(x, own, values)
        for n, state in zip(self._changed, states, strict=True):
            variables[n].assign(state)
        return x, given


def _structure(block) -> Hashable:
    """What blocks with one trace have in common, beside the code of their class."""
    variables = [(v.name, tuple(v.shape), v.dtype) for v in block.variables]
    adapters = [
        (layer.scale, layer.enabled, layer.parts)
        for layer in block._flatten_layers()
        if isinstance(layer, LowRank)
    ]
    return type(block), tuple(variables), tuple(adapters)
