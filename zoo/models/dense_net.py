"""A dense network that maps features to a class or to a number.

The model standardises its features. `adapt` computes their means and standard
deviations from the training rows. So an exported model reads raw features.
"""

import dataclasses
from typing import ClassVar

import keras
import tensorflow as tf

from zoo import registry, shapes
from zoo.fields import at_least, check_fraction, one_of
from zoo.layers.dropout import Dropout
from zoo.layers.linear import read

ACTIVATIONS = ("elu", "gelu", "relu", "selu", "silu", "tanh")


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
    """The fields of the network.

    Attributes:
      features: F, the number of input features.
      classes: C, the number of classes, at least 2; 0 means regression.
      labels: the names of the classes in exported answers; empty means "0", "1", ...
      widths: the widths of the hidden layers.
      activation: after each hidden layer, one of `ACTIVATIONS`.
      dropout: the rate after each hidden layer; in [0, 1).
      l1, l2: the penalties on the weights (not the biases) of all layers.
    """

    reads: ClassVar[str] = "features"

    features: int = 30
    classes: int = 2
    labels: tuple[str, ...] = ()
    widths: tuple[int, ...] = (32,)
    activation: str = "relu"
    dropout: float = 0.0
    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self):
        at_least("dense_net.features", self.features, 1)
        if self.classes == 1:
            raise ValueError("dense_net.classes: 1; 0 (regression) or at least 2.")
        at_least("dense_net.classes", self.classes, 0)
        for i, width in enumerate(self.widths):
            at_least(f"dense_net.widths[{i}]", width, 1)
        at_least("dense_net.l1", self.l1, 0)
        at_least("dense_net.l2", self.l2, 0)
        one_of("dense_net.activation", self.activation, ACTIVATIONS)
        check_fraction("dense_net.dropout", self.dropout)
        if self.labels and len(self.labels) != self.classes:
            raise ValueError(
                f"dense_net.labels: {len(self.labels)} names, classes {self.classes}."
            )

    @property
    def task(self) -> str:
        """The task: "classify", or "regress" if `classes` is 0."""
        return "classify" if self.classes else "regress"


@keras.saving.register_keras_serializable(package="zoo")
class DenseNet(registry.ConfigSerializable, keras.Model):
    """Maps features [B, F] to logits [B, C], or to values [B] for regression."""

    def __init__(self, config: Config, **kwargs):
        super().__init__(**kwargs)
        c = self.config = config
        self.mean = self._statistic("mean", "zeros")
        self.deviation = self._statistic("deviation", "ones")
        penalty = keras.regularizers.L1L2(c.l1, c.l2) if c.l1 or c.l2 else None
        outputs = max(c.classes, 1)

        def dense(inputs, units, name, activation=None):
            layer = keras.layers.Dense(
                units,
                activation,
                kernel_initializer="he_normal" if activation else "glorot_uniform",
                kernel_regularizer=penalty,
                name=name,
            )
            layer.build((None, inputs))
            return layer

        sizes = [c.features, *c.widths]
        self.hidden = [
            dense(a, b, f"hidden_{i}", c.activation)
            for i, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False))
        ]
        self.head = dense(sizes[-1], outputs, "head")
        self.dropout = Dropout(c.dropout)
        self.built = True

    def _statistic(self, name, initializer):
        """A float32 variable [F] that is not trained."""
        return self.add_weight(
            shape=(self.config.features,),
            initializer=initializer,
            trainable=False,
            name=name,
            autocast=False,
        )

    def adapt(self, features_NF) -> None:
        """Computes means and standard deviations of training rows (numpy, [N, F]).

        A feature that is constant gets the deviation 1.
        """
        shapes.check("features", features_NF, "NF", F=self.config.features)
        deviation = features_NF.std(0)
        self.mean.assign(features_NF.mean(0))
        self.deviation.assign([d if d > 0 else 1.0 for d in deviation.tolist()])

    def call(self, features_BF, training=False):
        """Float32 logits [B, C], or values [B] for regression."""
        x = tf.cast(features_BF, tf.float32) - read(self.mean, tf.float32)
        x = x / read(self.deviation, tf.float32)
        for layer in self.hidden:
            x = self.dropout(layer(x), training=training)
        y = tf.cast(self.head(x), tf.float32)
        return y if self.config.classes else y[:, 0]


registry.register(
    "dense_net", Config, DenseNet, "dense network: features to a class or to a number"
)
