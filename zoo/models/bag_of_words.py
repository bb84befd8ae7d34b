"""A dense network over the weighted counts of a text's tokens and n-grams.

Every token id is a feature. Longer n-grams of ids are hashed into buckets, which are
features too (Weinberger et al. 2009, arXiv:0902.2206). Their weights are those of
TF-IDF (Salton and Buckley 1988) as scikit-learn defines it, L2-normalised. The first
layer adds up the rows of its table that belong to a text's features, so no vector of
all features is ever made.

An example with V = 10, without n-grams: the text "5 3 5" has the features 3 and 5 with
the counts 1 and 2. With `sublinear` their weights are 1 and 1 + ln 2, times the idf of
each, divided by the length of this vector.
"""

import dataclasses
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from zoo import registry
from zoo.fields import at_least, check_fraction, one_of
from zoo.layers import batch_invariant
from zoo.layers.dropout import Dropout
from zoo.layers.linear import read
from zoo.models import answers
from zoo.models.dense_net import ACTIVATIONS

WEIGHTINGS = ("tfidf", "counts", "binary")
# A polynomial of the ids modulo a prime: no product exceeds int64.
_PRIME, _BASE, _SPREAD = 2**31 - 1, 1_000_003_127, 1_640_531_527
_STDDEV = 0.02  # of the table: features that were never seen add little noise
_LEAST_SQUARE = 1e-24  # the smallest squared length: a text without features stays 0
_ADAPTED = 2**18  # tokens that `adapt` counts at a time


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
    """The fields of the network.

    Attributes:
      vocab_size: V, the number of token ids.
      context: the longest text of training, in tokens; the model itself has no limit.
      ngrams: the longest n-gram, in tokens; 1 is single tokens only.
      buckets: the number of hashed features for n-grams of 2 or more tokens.
      weighting: of features, "tfidf", "counts" or "binary" (1 if it is in the text).
      sublinear: whether a count c becomes 1 + ln c; not used by "binary".
      task: "classify" or "regress".
      classes: C, of classify: at least 2; in a Run, 0 is the number of labels in the
        training data. Regress has 0.
      labels: the names of the classes; empty means those of the training data.
      widths: the widths of the hidden layers; () is logistic (or linear) regression.
      activation: after each hidden layer, one of `dense_net.ACTIVATIONS`.
      dropout: the rate after each hidden layer; in [0, 1).
      l1, l2: the penalties on the weights (not the biases) of all layers.
    """

    reads: ClassVar[str] = "text"

    vocab_size: int = 8192
    context: int = 256
    ngrams: int = 2
    buckets: int = 2**16
    weighting: str = "tfidf"
    sublinear: bool = True
    task: str = "classify"
    classes: int = 2
    labels: tuple[str, ...] = ()
    widths: tuple[int, ...] = (32,)
    activation: str = "relu"
    dropout: float = 0.0
    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self):
        for field in ("vocab_size", "context", "ngrams"):
            at_least(f"bag_of_words.{field}", getattr(self, field), 1)
        at_least("bag_of_words.buckets", self.buckets, int(self.ngrams > 1))
        one_of("bag_of_words.weighting", self.weighting, WEIGHTINGS)
        self.classes = answers.checked_classes(
            "bag_of_words", self.task, self.classes, self.labels
        )
        for i, width in enumerate(self.widths):
            at_least(f"bag_of_words.widths[{i}]", width, 1)
        one_of("bag_of_words.activation", self.activation, ACTIVATIONS)
        check_fraction("bag_of_words.dropout", self.dropout)
        at_least("bag_of_words.l1", self.l1, 0)
        at_least("bag_of_words.l2", self.l2, 0)

    @property
    def features(self) -> int:
        """F, the number of features: token ids, then buckets."""
        return self.vocab_size + (self.buckets if self.ngrams > 1 else 0)


@keras.saving.register_keras_serializable(package="zoo")
class BagOfWords(registry.ConfigSerializable, keras.Model):
    """Maps texts of tokens to logits [B, C], or to values [B] for regression."""

    def __init__(self, config: Config, **kwargs):
        # Keras numbers models, and the table's path has the name of its model
        super().__init__(**{"name": "bag_of_words", **kwargs})
        c = self.config = config
        outputs = answers.outputs("bag_of_words", c.task, c.classes)
        penalty = keras.regularizers.L1L2(c.l1, c.l2) if c.l1 or c.l2 else None
        sizes = [*c.widths, outputs]
        self.idf = None
        if c.weighting == "tfidf":
            self.idf = self.add_weight(
                shape=(c.features,),
                initializer="ones",
                trainable=False,
                name="idf",
                autocast=False,
            )
        self.table = self.add_weight(
            shape=(c.features, sizes[0]),
            initializer=keras.initializers.RandomNormal(stddev=_STDDEV),
            regularizer=penalty,
            name="table",
            autocast=False,
        )
        self.bias = self.add_weight(
            shape=(sizes[0],), initializer="zeros", name="bias", autocast=False
        )
        self.layers_behind = []
        for i, (inputs, units) in enumerate(zip(sizes, sizes[1:], strict=False)):
            layer = keras.layers.Dense(
                units,
                kernel_initializer="he_normal",
                kernel_regularizer=penalty,
                name=f"dense_{i}",
            )
            layer.build((None, inputs))
            self.layers_behind.append(layer)
        self.activation = keras.activations.get(c.activation)
        self.dropout = Dropout(c.dropout)
        self.built = True

    @property
    def limit(self) -> int:
        """0: the model can read any number of tokens."""
        return 0

    def adapt(self, tokens_N, starts_R) -> None:
        """Computes the idf of each feature from training texts (numpy).

        As in scikit-learn: ln((1 + R) / (1 + the texts with the feature)) + 1. Other
        weightings than "tfidf" have no idf, and nothing changes.

        Args:
          tokens_N: int32, the ids of all texts, one behind the other.
          starts_R: the place of the first id of each text, ascending.
        """
        if self.idf is None:
            return
        tokens_N, starts_R = np.asarray(tokens_N), np.asarray(starts_R, np.int64)
        lengths_R = np.diff(np.append(starts_R, len(tokens_N)))
        texts_F = np.zeros(self.config.features, np.int64)
        order_R = np.argsort(lengths_R, kind="stable")  # little padding
        rest = order_R
        while len(rest):
            # the rows of a part are as long as its last one
            sizes = lengths_R[rest] * np.arange(1, len(rest) + 1)
            part = rest[: max(int(np.searchsorted(sizes, _ADAPTED, "right")), 1)]
            rest = rest[len(part) :]
            at_BT = starts_R[part][:, None] + np.arange(int(lengths_R[part[-1]]))
            tokens_BT = tokens_N[np.minimum(at_BT, len(tokens_N) - 1)]
            ids_BM, counts_BM = self.counts(
                tf.constant(tokens_BT, tf.int32), tf.constant(lengths_R[part], tf.int32)
            )
            ids = tf.boolean_mask(ids_BM, counts_BM > 0).numpy()
            texts_F += np.bincount(ids, minlength=len(texts_F))
        self.idf.assign(np.log((1 + len(starts_R)) / (1 + texts_F)) + 1)

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
        ids_BM, weights_BM = self.weights_of(tokens_BT, lengths_B)
        rows_BMW = tf.gather(tf.convert_to_tensor(self.table.value), ids_BM)
        x = tf.linalg.matvec(rows_BMW, weights_BM, transpose_a=True)
        x = x + read(self.bias, tf.float32)
        for layer in self.layers_behind:
            x = layer(self.dropout(self.activation(x), training=training))
        y = tf.cast(x, tf.float32)
        return y if self.config.task == "classify" else y[:, 0]

    def weights_of(self, tokens_BT, lengths_B):
        """The features of each text, and their weights of length 1.

        Returns:
          int32 [B, M] and float32 [B, M]; a place without a feature has weight 0.
        """
        c = self.config
        ids_BM, counts_BM = self.counts(tokens_BT, lengths_B)
        here_BM = counts_BM > 0
        weights_BM = tf.cast(here_BM, tf.float32)
        if c.weighting != "binary":
            # M is a multiple of the lanes, so a row's logarithms stay its own
            count_BM = tf.cast(tf.maximum(counts_BM, 1), tf.float32)
            weight_BM = 1.0 + tf.math.log(count_BM) if c.sublinear else count_BM
            weights_BM = tf.where(here_BM, weight_BM, 0.0)
        if self.idf is not None:
            weights_BM *= tf.gather(read(self.idf, tf.float32), ids_BM)
        square_B1 = tf.reduce_sum(tf.square(weights_BM), 1, keepdims=True)
        square_B1 = tf.maximum(square_B1, _LEAST_SQUARE)
        return ids_BM, weights_BM * batch_invariant.apply(tf.math.rsqrt, square_B1)

    def counts(self, tokens_BT, lengths_B):
        """The features of each text, each once, and how often each occurs.

        Returns:
          int32 [B, M] and int32 [B, M]; a place without a feature has the count 0. M is
          a multiple of 16.
        """
        none = self.config.features
        found = []
        for n, ids_BT in self._ngrams(tokens_BT):
            whole_BT = tf.sequence_mask(lengths_B - n + 1, tf.shape(ids_BT)[1])
            found.append(tf.where(whole_BT, ids_BT, none))
        B, T = tf.unstack(tf.shape(tokens_BT))
        more = tf.math.floormod(-T * len(found), batch_invariant.LANES)
        ids_BM = tf.sort(tf.concat([*found, tf.fill([B, more], none)], 1))
        first_BM = tf.searchsorted(ids_BM, ids_BM)
        count_BM = tf.searchsorted(ids_BM, ids_BM, side="right") - first_BM
        # equal ids are neighbours; the first of them counts for all
        counted_BM = (first_BM == tf.range(tf.shape(ids_BM)[1])) & (ids_BM < none)
        return tf.where(counted_BM, ids_BM, 0), tf.where(counted_BM, count_BM, 0)

    def _ngrams(self, tokens_BT):
        """Yields n and the features of the n-grams that start at each place, [B, T]."""
        c = self.config
        yield 1, tokens_BT
        ids_BT = tf.cast(tokens_BT, tf.int64) + 1
        hash_BT = ids_BT
        for n in range(2, c.ngrams + 1):
            next_BT = tf.pad(ids_BT[:, n - 1 :], [[0, 0], [0, n - 1]])
            next_BT = next_BT[:, : tf.shape(ids_BT)[1]]  # for a row shorter than n
            hash_BT = (hash_BT * _BASE + next_BT) % _PRIME
            bucket_BT = (hash_BT + n) * _SPREAD % _PRIME % c.buckets
            yield n, tf.cast(bucket_BT, tf.int32) + c.vocab_size


registry.register(
    "bag_of_words",
    Config,
    BagOfWords,
    "dense network over TF-IDF of tokens and n-grams: text to a class or a number",
)
