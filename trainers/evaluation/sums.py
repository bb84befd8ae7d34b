"""Evaluation: the weighted means of an objective over a finite dataset."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from trainers.objectives.features import features
from trainers.run import Run
from trainers.strategy import replica_count
from zoo.layers.cross_entropy import linear_cross_entropy
from zoo.layers.divergence import Head, linear_distillation


def rows_at_once(run: Run) -> int:
    """The rows of an evaluation batch: as many as one device trains on at once.

    Raises:
      ValueError: this machine has fewer devices than the Run asks for.
    """
    return max(run.data.batch // (replica_count(run) * run.accumulate), 1)


def make_evaluate(objective):
    """Compiles `evaluate(roles, dataset, size=0) -> metrics`.

    Args:
      objective: its `loss` is summed, with training=False.

    Returns:
      The function. Its metrics are floats: `loss`, the weighted mean; the objective's
      own, but for those of weight 0; and for text (where `size`, its bytes, is above 0)
      `perplexity` a token and `bits_per_byte`. It raises ValueError where no example
      has a weight.
    """

    @tf.function(autograph=False)
    def traced(roles, batch):
        loss = objective.loss(roles, batch, training=False)
        return {"loss": (loss.sum, loss.weight), **loss.metrics}

    def evaluate(roles, dataset, size: int = 0) -> dict[str, float]:
        totals: dict[str, list[float]] = {}
        # one trace for batches of all lengths
        sums_of = traced.get_concrete_function(roles, dataset.element_spec)
        for batch in dataset:
            for name, (total, weight) in sums_of(roles, batch).items():
                sums = totals.setdefault(name, [0.0, 0.0])
                sums[0] += float(total)
                sums[1] += float(weight)
        metrics = {name: total / w for name, (total, w) in totals.items() if w}
        if "loss" not in metrics:
            raise ValueError("evaluation: no example has a weight above 0.")
        if size:
            metrics["perplexity"] = math.exp(min(metrics["loss"], 700.0))
            metrics["bits_per_byte"] = totals["loss"][0] / math.log(2) / size
        return metrics

    return evaluate


def row_sums(model: Any, dataset: tf.data.Dataset) -> np.ndarray:
    """The loss of each row of a dataset for a language model.

    Args:
      model: a language model or an encoder-decoder, without dropout and penalties.
      dataset: batches of `tokens`, `targets`, `weights` [B, T], and of an
        encoder-decoder `source` and `source_lengths`.

    Returns:
      float64 [R, 2]: the negative log-likelihood of a row's targets in nats, each times
      its weight, and the sum of the weights; the sum of the first column by that of the
      second is the `loss` of `make_evaluate`.
    """
    softcap = getattr(model.config, "logit_softcap", 0.0)

    @tf.function(autograph=False, input_signature=[dataset.element_spec])
    def sums_of(batch):
        x_ND = features(model, batch, False)
        rows, length = tf.unstack(tf.shape(batch["tokens"]))
        x_BTD = tf.reshape(x_ND, (rows, length, x_ND.shape[-1]))
        weight_VD, bias_V = model.head()

        def row(part):
            x_TD, targets_T, weights_T = part
            return linear_cross_entropy(
                x_TD, weight_VD, bias_V, targets_T, weights_T, softcap
            )

        weights_BT = batch["weights"]
        total_B = tf.map_fn(
            row,
            (x_BTD, batch["targets"], weights_BT),
            fn_output_signature=tf.float32,
            parallel_iterations=1,  # the logits of one row at a time
        )
        return tf.stack([total_B, tf.reduce_sum(weights_BT, 1)], 1)

    parts = [sums_of(batch).numpy() for batch in dataset]
    return np.concatenate(parts).astype(np.float64)


def row_divergences(first: Any, second: Any, dataset: tf.data.Dataset) -> np.ndarray:
    """The KL divergence of two language models along each row of a dataset.

    Args:
      first: a language model, without dropout.
      second: one of the same vocabulary.
      dataset: batches of `tokens`, `targets`, `weights` [B, T].

    Returns:
      float64 [R]: KL(first || second) of the next token in nats, at temperature 1,
      summed over the targets with their weights.
    """
    models = first, second

    @tf.function(autograph=False, input_signature=[dataset.element_spec])
    def sums_of(batch):
        x_BTD, y_BTD = (m.features(batch["tokens"], training=False) for m in models)
        student, teacher = map(_head, models)

        def row(part):
            x_TD, y_TD, targets_T, weights_T = part
            _, kl, _ = linear_distillation(
                student._replace(x_ND=x_TD),
                teacher._replace(x_ND=y_TD),
                targets_T,
                weights_T,
                "reverse_kl",
            )
            return kl

        return tf.map_fn(
            row,
            (x_BTD, y_BTD, batch["targets"], batch["weights"]),
            fn_output_signature=tf.float32,
            parallel_iterations=1,  # the logits of one row at a time
        )

    parts = [sums_of(batch).numpy() for batch in dataset]
    return np.concatenate(parts).astype(np.float64)


def _head(model) -> Head:
    """The head of a language model, without the features of a row."""
    weight_VD, bias_V = model.head()
    return Head(None, weight_VD, bias_V, getattr(model.config, "logit_softcap", 0.0))


def guess_sums(model: Any, dataset: tf.data.Dataset) -> np.ndarray:
    """How well each row's hidden tokens are guessed.

    Args:
      model: a fill_mask model.
      dataset: batches of `zoo.data.batches.eval_masked`.

    Returns:
      float64 [R, 3]: the negative log-likelihood of a row's hidden tokens in nats; how
      many of them are the model's likeliest token; and how many there are.
    """

    @tf.function(autograph=False, input_signature=[dataset.element_spec])
    def sums_of(batch):
        rows, length = tf.unstack(tf.shape(batch["weights"], tf.int64))
        # few tokens are hidden, so only these meet the head
        at_M = tf.where(tf.reshape(batch["weights"], [-1]) > 0)[:, 0]
        x_MD = tf.gather(features(model, batch, False), at_M)
        targets_M = tf.gather(tf.reshape(batch["targets"], [-1]), at_M)
        logits_MV = model.logits(x_MD)
        losses_M = tf.nn.sparse_softmax_cross_entropy_with_logits(targets_M, logits_MV)
        hits_M = tf.argmax(logits_MV, -1, tf.int32) == targets_M
        sums_M3 = tf.stack(
            [losses_M, tf.cast(hits_M, tf.float32), tf.ones_like(losses_M)], 1
        )
        return tf.math.unsorted_segment_sum(sums_M3, at_M // length, rows)

    parts = [sums_of(batch).numpy() for batch in dataset]
    return np.concatenate(parts).astype(np.float64)
