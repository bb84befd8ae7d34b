"""A language model or a text encoder with a head that answers with labels.

    classify    one class for each text
    regress     one number for each text
    tag         one class for each token
    fill_mask   the token that a mask hides

Sources: Devlin et al. 2018 (BERT's heads, arXiv:1810.04805); Radford et al. 2018 (the
last token of a language model).
"""

import dataclasses
from typing import Any, ClassVar

import keras
import tensorflow as tf

from zoo import registry, shapes
from zoo.fields import check_fraction, one_of
from zoo.layers import pooling
from zoo.layers.dropout import Dropout
from zoo.layers.linear import Linear, read
from zoo.layers.mlp import activate
from zoo.layers.norm import Norm
from zoo.models import answers, text_encoder

TASKS = ("classify", "regress", "tag", "fill_mask")
POOLINGS = ("", "first", "last", "mean")


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
    """The fields of the model.

    Attributes:
      body: the Config of a language model or a text encoder, which makes the features;
        in a Run, None is the model of `init_from`.
      task: "classify", "regress", "tag" or "fill_mask".
      classes: C, of classify and tag: at least 2; in a Run, 0 is the number of labels
        in the training data. Other tasks have 0.
      labels: the names of the classes; empty means those of the training data.
      pooling: the features of a text: those of its "first" or "last" token, or their
        "mean"; "" is "last" for a language model, and an encoder's own pooling.
      hidden: whether a layer of the body's width stands before the last one. It ends
        with tanh, and for fill_mask with the body's activation and a norm.
      bias: whether the last layer has a bias; that of fill_mask always has one.
      dropout: the rate before each of the head's layers; in [0, 1).
    """

    reads: ClassVar[str] = "text"

    body: registry.Nested = dataclasses.field(default_factory=text_encoder.Config)
    task: str = "classify"
    classes: int = 2
    labels: tuple[str, ...] = ()
    pooling: str = ""
    hidden: bool = False
    bias: bool = True
    dropout: float = 0.0

    def __post_init__(self):
        one_of("headed.pooling", self.pooling, POOLINGS)
        check_fraction("headed.dropout", self.dropout)
        self.classes = answers.checked_classes(
            "headed", self.task, self.classes, self.labels, TASKS
        )
        if self.body is None:
            return
        name = registry.name_of(self.body)
        if self.body.reads != "text" or self.body.task not in ("embed", "generate"):
            raise ValueError(
                f"headed.body: {name}, a language model or a text encoder allowed."
            )
        if not registry.entry(name).own_layers:
            raise ValueError(
                f"headed.body: {name} has layers of another library, which "
                "take no head of ours; a model of our own layers allowed."
            )
        if self.task == "fill_mask" and self.body.task != "embed":
            raise ValueError(
                f"headed.task: fill_mask needs tokens from both sides, and {name} sees "
                "earlier ones only; a text_encoder allowed."
            )

    @property
    def vocab_size(self) -> int:
        """V, the number of token ids."""
        return self.body.vocab_size

    @property
    def context(self) -> int:
        """The longest text of training, in tokens."""
        return self.body.context


@keras.saving.register_keras_serializable(package="zoo")
class Headed(registry.ConfigSerializable, keras.Model):
    """Maps texts to logits [B, C], values [B], or logits of each token.

    The answer to a text does not depend on its padding.
    """

    def __init__(self, config: Config, **kwargs):
        # a name without a number, since checkpoints hold the path of mask_bias
        super().__init__(**{"name": "headed", **kwargs})
        self.supports_jit = False  # the body's training path has small XLA clusters
        c = self.config = config
        if c.body is None:
            raise ValueError("headed.body: None, which only a Run with init_from has.")
        outputs = answers.outputs("headed", c.task, c.classes)
        width = c.body.feature_width
        encoder = c.body.task == "embed"
        self.transform = self.transform_norm = self.classifier = None
        self.mask_bias = None
        with keras.name_scope("body"):
            build: Any = registry.entry(registry.name_of(c.body)).build
            self.body = build(c.body) if encoder else build(c.body, with_head=False)
        self.dropout = Dropout(c.dropout)
        if c.hidden:
            self.transform = Linear(width, width, name="transform")
        if c.task == "fill_mask":
            if c.hidden:
                norm = ("layernorm", c.body.norm_epsilon)
                self.transform_norm = Norm(width, *norm, name="transform_norm")
            self.mask_bias = self.add_weight(
                shape=(c.body.vocab_size,),
                initializer="zeros",
                name="mask_bias",
                autocast=False,
            )
        else:
            classes = outputs
            self.classifier = Linear(width, classes, c.bias, name="classifier")
        self.built = True

    @property
    def limit(self) -> int:
        """The largest number of positions that the model can read; 0 is any number."""
        return self.body.limit

    def call(self, tokens_BT, lengths_B=None, training=False):
        """The answers to texts, in float32.

        Args:
          tokens_BT: int32, right-padded with any id.
          lengths_B: int32, the tokens of each text; None: an encoder's texts end before
            their padding, and a language model's fill their rows.
          training: whether the caller will compute gradients.

        Returns:
          Logits [B, C] of classify, values [B] of regress, logits [B, T, C] of tag, and
          logits [B, T, V] of fill_mask. Those of padding mean nothing.
        """
        tokens_BT = tf.cast(tokens_BT, tf.int32)
        y = self.logits(self.features(tokens_BT, lengths_B, training))
        return y[:, 0] if self.config.task == "regress" else y

    def features(self, tokens_BT, lengths_B=None, training=False):
        """The input of the last layer: [B, T, D] of tag and fill_mask, else [B, D]."""
        shapes.check("tokens", tokens_BT, "BT")
        c = self.config
        if lengths_B is None:
            lengths_B = self._lengths(tokens_BT)
        if c.body.task == "embed":
            x = self.body.features(tokens_BT, lengths_B, training=training)
        else:
            x = self.body.features(tokens_BT, training=training)
        if c.task in ("classify", "regress"):
            x = self._pool(x, lengths_B)
        if self.transform is not None:
            x = self.transform.call(self.dropout(x, training=training))
            if self.transform_norm is None:
                x = tf.tanh(x)
            else:
                y_ND = tf.reshape(x, (-1, c.body.feature_width))
                y_ND = activate(y_ND, c.body.activation)
                y_ND = self.transform_norm.call(y_ND, training)
                x = tf.reshape(y_ND, tf.shape(x))
        return self.dropout(x, training=training)

    def logits(self, x):
        """Float32 logits [..., C] or [..., V] of the features [..., D]."""
        weight, bias = self.head()
        flat = tf.reshape(x, (-1, weight.shape[1]))
        y = tf.matmul(flat, tf.cast(weight, x.dtype), transpose_b=True)
        y = tf.cast(y, tf.float32)
        if bias is not None:
            y = tf.nn.bias_add(y, bias)
        if len(x.shape) == 2:
            return y
        shape: list[Any] = [tf.shape(x)[:-1], [weight.shape[0]]]
        return tf.reshape(y, tf.concat(shape, 0))

    def head(self):
        """The last layer's float32 weight [C, D] or [V, D], and its bias or None."""
        if self.classifier is None:
            return self.body.embedding.table(), read(self.mask_bias, tf.float32)
        weight, bias = self.classifier.weight, self.classifier.bias
        bias = None if bias is None else read(bias, tf.float32)
        return read(weight, tf.float32), bias

    def _lengths(self, tokens_BT):
        """The tokens of each row, int32 [B]."""
        if self.config.body.task == "embed":
            return self.body.lengths(tokens_BT)
        B, T = tf.unstack(tf.shape(tokens_BT))
        return tf.fill([B], T)

    def _pool(self, x_BTD, lengths_B):
        """The features [B, D] of whole texts, in the compute dtype."""
        c = self.config
        kind = c.pooling
        if not kind and c.body.task == "embed":
            kind = "first" if c.body.pooling == "cls" else "mean"
        if kind == "first":
            return x_BTD[:, 0]
        if kind != "mean":
            last_B = tf.maximum(lengths_B, 1) - 1
            return tf.gather(x_BTD, last_B, batch_dims=1)
        return tf.cast(pooling.mean(x_BTD, lengths_B), x_BTD.dtype)


def put_on(pretrained, **fields) -> Headed:
    """Puts a new head on a copy of a pretrained body.

    Args:
      pretrained: a language model, a text encoder, or a model with another head.
      **fields: of `Config`, all but `body`.

    Raises:
      ValueError: the body takes no head, or a field is wrong.
    """
    old = pretrained.body if isinstance(pretrained, Headed) else pretrained
    config = registry.config("headed", body=old.config, **fields)
    model = registry.build_config(config)
    _copy_weights(old, model.body)
    return model


def take_off(model: Headed, config: Any = None) -> Any:
    """A copy of the encoder of a model, without the head.

    Args:
      model: whose body is a text encoder.
      config: of the encoder, which may differ in dropout; None is the body's own.
    """
    encoder = registry.build_config(model.body.config if config is None else config)
    _copy_weights(model.body, encoder)
    return encoder


def _copy_weights(old, new):
    """Gives a body the weights of another one, which may stand alone or have a head."""
    values = {v.path.removeprefix("body/"): v for v in old.weights}
    for variable in new.weights:
        variable.assign(values[variable.path.removeprefix("body/")])


registry.register(
    "headed",
    Config,
    Headed,
    "a head on a text model: classify, regress, tag or fill_mask",
)
