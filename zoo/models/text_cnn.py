"""A convolutional network that maps a text to a class or to a number.

Filters of several widths slide over the embeddings of the tokens. Each filter keeps its
largest value over the text. A dense layer maps these values to the answer.

Source: Kim 2014 (arXiv:1408.5882).
"""

import dataclasses
from typing import ClassVar

import keras
import tensorflow as tf

from zoo import registry
from zoo.fields import at_least, check_fraction
from zoo.layers.dropout import Dropout
from zoo.layers.embedding import Embedding
from zoo.layers.linear import read
from zoo.models import answers

_STDDEV = 0.15  # of initial embeddings; near that of the paper's U(-0.25, 0.25)


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
    """The fields of the model.

    Attributes:
      vocab_size: V, the number of token ids.
      context: the longest text of training, in tokens; the model itself has no limit.
      width: D, the width of the embedding.
      filters: F, the number of filters of each size.
      sizes: the widths of the filters, in tokens.
      task: "classify" or "regress".
      classes: C, of classify: at least 2; in a Run, 0 is the number of labels in the
        training data. Regress has 0.
      labels: the names of the classes; empty means those of the training data.
      dropout: the rate before the dense layer; in [0, 1).
      l2: the penalty on the weights of the filters and of the dense layer.
    """

    reads: ClassVar[str] = "text"

    vocab_size: int = 8192
    context: int = 256
    width: int = 128
    filters: int = 100
    sizes: tuple[int, ...] = (3, 4, 5)
    task: str = "classify"
    classes: int = 2
    labels: tuple[str, ...] = ()
    dropout: float = 0.5
    l2: float = 0.0

    def __post_init__(self):
        for field in ("vocab_size", "context", "width", "filters"):
            at_least(f"text_cnn.{field}", getattr(self, field), 1)
        if not self.sizes:
            raise ValueError("text_cnn.sizes: (), at least one size allowed.")
        for i, size in enumerate(self.sizes):
            at_least(f"text_cnn.sizes[{i}]", size, 1)
        self.classes = answers.checked_classes(
            "text_cnn", self.task, self.classes, self.labels
        )
        check_fraction("text_cnn.dropout", self.dropout)
        at_least("text_cnn.l2", self.l2, 0)


@keras.saving.register_keras_serializable(package="zoo")
class TextCNN(registry.ConfigSerializable, keras.Model):
    """Maps texts of tokens to logits [B, C], or to values [B] for regression."""

    def __init__(self, config: Config, **kwargs):
        super().__init__(**kwargs)
        c = self.config = config
        outputs = answers.outputs("text_cnn", c.task, c.classes)
        penalty = keras.regularizers.L2(c.l2) if c.l2 else None
        self.embedding = Embedding(c.vocab_size, c.width, _STDDEV, name="embedding")
        self.convolutions = []
        for i, size in enumerate(c.sizes):
            layer = keras.layers.Conv1D(
                c.filters, size, kernel_regularizer=penalty, name=f"convolution_{i}"
            )
            layer.build((None, None, c.width))
            self.convolutions.append(layer)
        self.dropout = Dropout(c.dropout)
        self.head = keras.layers.Dense(outputs, kernel_regularizer=penalty, name="head")
        self.head.build((None, c.filters * len(c.sizes)))
        self.built = True

    @property
    def limit(self) -> int:
        """0: the model can read any number of tokens."""
        return 0

    def call(self, tokens_BT, lengths_B=None, training=False):
        """Float32 logits [B, C], or values [B] for regression.

        The answer for a text does not depend on its padding.

        Args:
          tokens_BT: int32, right-padded with any id.
          lengths_B: int32, the tokens of each text; None: every row is full.
          training: whether there is dropout.

        Raises:
          ValueError: another rank.
        """
        tokens_BT, lengths_B = answers.rows(tokens_BT, lengths_B)
        x_BTD = self.embedding(tokens_BT)
        zero = tf.zeros((), x_BTD.dtype)
        x_BTD = tf.where(
            tf.sequence_mask(lengths_B, tf.shape(tokens_BT)[1])[..., None], x_BTD, zero
        )
        pooled = [self._largest(layer, x_BTD, lengths_B) for layer in self.convolutions]
        x_BP = self.dropout(tf.concat(pooled, -1), training=training)
        y = tf.cast(self.head(x_BP), tf.float32)
        return y if self.config.task == "classify" else y[:, 0]

    def _largest(self, layer, x_BTD, lengths_B):
        """The largest value of each filter over a text, at least 0: [B, F].

        A filter of `size` tokens also sees the text's first and last tokens alone. So
        the text gets size - 1 zeros at both ends, and every text has a window.
        """
        more = layer.kernel_size[0] - 1
        x_BSD = tf.pad(x_BTD, [[0, 0], [more, more], [0, 0]])
        kernel, bias = (read(v, x_BSD.dtype) for v in (layer.kernel, layer.bias))
        y_BSF = tf.nn.conv1d(x_BSD, kernel, 1, "VALID")
        windows_BS = tf.sequence_mask(lengths_B + more, tf.shape(y_BSF)[1])
        # 0 is neutral: no value is below 0 after relu
        y_BSF = tf.nn.relu(tf.nn.bias_add(y_BSF, bias))
        zero = tf.zeros((), y_BSF.dtype)
        return tf.reduce_max(tf.where(windows_BS[..., None], y_BSF, zero), 1)


registry.register(
    "text_cnn", Config, TextCNN, "convolutional network: text to a class or a number"
)
