"""Low-rank adapters beside frozen weights (LoRA).

Source: Hu et al. 2021 (arXiv:2106.09685). One weight may compute several maps, such as
queries, keys and values. Each of these parts has an A and a B of its own.

An example of a weight [6, 4] with the parts q (rows 0 to 3) and v (rows 4 and 5), of
rank 1: A_q and A_v are [1, 4]; B_q is [4, 1] and B_v is [2, 1]. The product for both is

    x [A_q; A_v]^T [[B_q, 0], [0, B_v]]^T
"""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from zoo.layers.dropout import Dropout
from zoo.layers.linear import Linear, read
from zoo.layers.recurrent import Recurrent


class Part(NamedTuple):
    """One map of a weight that gets an adapter.

    Attributes:
      name: of the map; unique in the weight.
      start: its first row along the outputs of the weight.
      size: the number of its outputs.
    """

    name: str
    start: int
    size: int


class LowRank(keras.layers.Layer):
    """The adapters of one weight. B starts at zero, so that they change nothing.

    Args:
      inputs, outputs: of the weight.
      parts: the maps that get an adapter, in the order of their rows.
      rank: of each part.
      scale: the factor of the product of A and B.
      dropout: the rate at the input, in training; all parts share the mask.
      seed: of the initial A, which are uniform in +-1/sqrt(inputs) as in PEFT, and of
        the masks.
      transposed: whether the weight is [inputs, outputs].
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        parts: list[Part],
        rank: int,
        scale: float,
        dropout: float,
        seed: int,
        transposed: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.outputs, self.parts, self.scale = outputs, tuple(parts), scale
        self.transposed, self.enabled = transposed, True
        random, limit = np.random.default_rng(seed), inputs**-0.5
        self.downs, self.ups = [], []
        for part in parts:
            start = random.uniform(-limit, limit, (rank, inputs)).astype(np.float32)
            shape = (rank, inputs)
            self.downs.append(self._weight(f"{part.name}.lora_A", shape, start))
            shape = (part.size, rank)
            self.ups.append(self._weight(f"{part.name}.lora_B", shape, np.zeros(shape)))
        masks = int(random.integers(2**31))
        self.dropout = Dropout(dropout, seed=masks) if dropout else None
        self.built = True

    def _weight(self, name, shape, value):
        """A weight of the layer with an initial value."""

        def initial(shape, dtype=None):
            del shape
            return tf.constant(value, dtype)

        return self.add_weight(
            shape=shape, initializer=initial, name=name, autocast=False
        )

    def call(self, x, y, training=False):
        """Returns y [..., outputs] plus the product for x [..., inputs]."""
        if not self.enabled:
            return y
        if self.dropout is not None:
            x = self.dropout(x, training=training)
        down = tf.concat([read(a, x.dtype) for a in self.downs], 0)
        x = tf.matmul(x, down, transpose_b=True)
        return y + tf.matmul(x, self._up(x.dtype), transpose_b=True)

    def added(self, weight):
        """Returns a value of the frozen weight plus the product of A and B."""
        weight = tf.stop_gradient(weight)
        if not self.enabled:
            return weight
        down = tf.concat([read(a, weight.dtype) for a in self.downs], 0)
        delta = tf.matmul(self._up(weight.dtype), down)
        return weight + (tf.transpose(delta) if self.transposed else delta)

    def _up(self, dtype):
        """All B, each in its rows and columns, times scale: [outputs, sum of ranks]."""
        columns, before = sum(b.shape[1] for b in self.ups), 0
        rows, end = [], 0
        for part, b in zip(self.parts, self.ups, strict=True):
            rank = b.shape[1]
            sides = (before, columns - before - rank)
            rows.append(
                tf.pad(self.scale * read(b, dtype), ((part.start - end, 0), sides))
            )
            before, end = before + rank, part.start + part.size
        if end < self.outputs:
            rows.append(tf.zeros((self.outputs - end, columns), dtype))
        return tf.concat(rows, 0)


class Place(NamedTuple):
    """A weight that may get adapters.

    Attributes:
      variable: the weight.
      layer, field: the layer and its attribute for a `LowRank`.
      transposed: whether the weight is [inputs, outputs].
    """

    variable: Any
    layer: Any
    field: str
    transposed: bool

    @property
    def adapter(self) -> LowRank | None:
        """The adapters of the weight."""
        return getattr(self.layer, self.field)


def places(model) -> list[Place]:
    """Returns the weights of a model that may get adapters, heads among them."""
    found = []
    for layer in model._flatten_layers():
        if isinstance(layer, Linear):
            found.append(Place(layer.weight, layer, "adapter", False))
        elif isinstance(layer, Recurrent):
            kernel, recurrent = layer.kernel, layer.recurrent_kernel
            found.append(Place(kernel, layer, "adapter", True))
            found.append(Place(recurrent, layer, "recurrent_adapter", True))
    return found


def adapters(model) -> dict[int, LowRank]:
    """Returns the adapters of a model by the id of the weight variable."""
    return {id(p.variable): p.adapter for p in places(model) if p.adapter is not None}
