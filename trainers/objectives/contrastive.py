"""Sentence embeddings from pairs: the other texts of the batch are the negatives.

Sources: van den Oord et al. 2018 (InfoNCE, arXiv:1807.03748); Karpukhin et al. 2020
(in-batch and hard negatives, arXiv:2004.04906); Radford et al. 2021 (the symmetric
loss, arXiv:2103.00020); Reimers and Gurevych 2019 (arXiv:1908.10084).
"""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from trainers.objectives import replicas
from trainers.objectives.loss import Loss
from zoo.layers import pooling

_NEVER = -1e9  # the logit of what is no negative


@dataclasses.dataclass(kw_only=True, slots=True)
class Contrastive:
    """Picks the positive of each anchor among all positives and negatives of a batch.

    An embedding is that of an encoder, or the mean of a language model's features. The
    logits are cosines divided by the temperature.

    Attributes:
      temperature: above 0; a lower one weighs the nearest negatives more.
      symmetric: whether each positive also picks its anchor; the loss is the mean of
        both directions.
    """

    name: ClassVar[str] = "contrastive"
    needs: ClassVar[dict[str, str]] = {"policy": "model"}
    trains: ClassVar[tuple[str, ...]] = ("policy",)
    feed: ClassVar[str] = "pairs"
    # a part of a batch has fewer negatives, so accumulation would change the loss
    whole_batch: ClassVar[bool] = True

    temperature: float = 0.05
    symmetric: bool = False

    def __post_init__(self):
        if not self.temperature > 0:
            raise ValueError(
                f"objective.temperature: {self.temperature}, above 0 allowed."
            )

    def loss(self, roles, batch, training) -> Loss:
        """The cross-entropy in nats and the accuracy of the choice in the batch.

        Args:
          roles: "policy", an encoder or a language model.
          batch: `tokens` [B, G, T] and `lengths` [B, G]: anchor, positive, negatives.
            A text of length 0 is absent. Replicas take the texts of all replicas as
            candidates.
          training: whether the caller computes gradients.
        """
        tokens_BGT, lengths_BG = batch["tokens"], batch["lengths"]
        x_BGD = embed_groups(roles["policy"], tokens_BGT, lengths_BG, training)
        all_MGD, first = replicas.of_all(x_BGD)
        all_MGT, _ = replicas.of_all(tokens_BGT)
        lengths_MG, _ = replicas.of_all(lengths_BG)
        size = tf.shape(all_MGD)[0]
        own_B = first + tf.range(tf.shape(x_BGD)[0])
        own_BM = own_B[:, None] == tf.range(size)[None]
        weights_B = tf.cast(lengths_BG[:, 0] > 0, tf.float32)

        # all positives come first, then all first negatives, and so on
        candidates_ND = tf.concat(tf.unstack(all_MGD[:, 1:], axis=1), 0)
        absent_BN = self._absent(tokens_BGT, all_MGT, lengths_MG)
        others_BN = tf.zeros_like(absent_BN[:, size:])
        absent_BN &= tf.logical_not(tf.concat([own_BM, others_BN], 1))
        logits_BN = self._logits(x_BGD[:, 0], candidates_ND, absent_BN)
        losses_B = tf.nn.sparse_softmax_cross_entropy_with_logits(own_B, logits_BN)
        if self.symmetric:
            absent_BM = absent_BN[:, :size]  # equal texts are so both ways
            logits_BM = self._logits(x_BGD[:, 1], all_MGD[:, 0], absent_BM)
            back_B = tf.nn.sparse_softmax_cross_entropy_with_logits(own_B, logits_BM)
            losses_B = (losses_B + back_B) / 2
        hits_B = tf.cast(tf.argmax(logits_BN, -1, tf.int32) == own_B, tf.float32)
        weight = tf.reduce_sum(weights_B)
        return Loss(
            tf.reduce_sum(losses_B * weights_B),
            weight,
            {"accuracy": (tf.reduce_sum(hits_B * weights_B), weight)},
        )

    def _absent(self, tokens_BGT, all_MGT, lengths_MG):
        """Which candidates are no negatives of an anchor, bool [B, M * (G - 1)].

        They are absent texts, texts that equal the anchor's positive, and the
        positives of equal anchors.
        """
        parts = []
        for i in range(1, all_MGT.shape[1]):
            equal_BM = _same(tokens_BGT[:, 1], all_MGT[:, i])
            parts.append(equal_BM | (lengths_MG[:, i] == 0))
        parts[0] |= _same(tokens_BGT[:, 0], all_MGT[:, 0])
        return tf.concat(parts, 1)

    def _logits(self, x_BD, candidates_ND, absent_BN):
        """The cosines over the temperature; those of absent candidates never count."""
        logits_BN = tf.matmul(x_BD, candidates_ND, transpose_b=True) / self.temperature
        return tf.where(absent_BN, _NEVER, logits_BN)


def embed_groups(model, tokens_BGT, lengths_BG, training=False):
    """The vectors of the texts of groups, at length 1: float32 [B, G, D]."""
    _, groups, length = tokens_BGT.shape
    length = tf.shape(tokens_BGT)[2] if length is None else length
    tokens_NT = tf.reshape(tokens_BGT, (-1, length))
    x_ND = model.embed(tokens_NT, tf.reshape(lengths_BG, [-1]), training=training)
    x_ND = pooling.unit(x_ND)
    return tf.reshape(x_ND, (-1, groups, x_ND.shape[-1]))


def _same(left_BT, right_MT):
    """Whether rows of tokens are equal, bool [B, M]; padding is part of a row."""
    return tf.reduce_all(left_BT[:, None] == right_MT[None], -1)
