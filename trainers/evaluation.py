"""Evaluation: the weighted means of an objective over a finite dataset."""

import math

import tensorflow as tf


def make_evaluate(objective):
    """Compiles `evaluate(roles, dataset, size=0) -> metrics`.

    Args:
      objective: its `loss` is summed, with training=False.

    Returns:
      The function. Its metrics are floats: `loss`, the weighted mean; the objective's
      own; and for text (where `size`, its bytes, is above 0) `perplexity` a token and
      `bits_per_byte`.
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def sums_of(roles, batch):
        loss = objective.loss(roles, batch, training=False)
        return {"loss": (loss.sum, loss.weight), **loss.metrics}

    def evaluate(roles, dataset, size: int = 0) -> dict[str, float]:
        totals: dict[str, list[float]] = {}
        for batch in dataset:
            for name, (total, weight) in sums_of(roles, batch).items():
                sums = totals.setdefault(name, [0.0, 0.0])
                sums[0] += float(total)
                sums[1] += float(weight)
        metrics = {name: total / weight for name, (total, weight) in totals.items()}
        if size:
            metrics["perplexity"] = math.exp(min(metrics["loss"], 700.0))
            metrics["bits_per_byte"] = totals["loss"][0] / math.log(2) / size
        return metrics

    return evaluate
