"""Evaluation: the sums of an objective over a finite dataset."""

import math

import tensorflow as tf


def make_evaluate(cast, objective):
    """Compiles `evaluate(dataset, size=0) -> metrics`.

    The metrics are floats: `loss`, the weighted mean; the objective's own; for text
    (where `size`, its bytes, is above 0) also `perplexity` a token and
    `bits_per_byte`.
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def sums_of(batch):
        loss = objective.loss(cast, batch, training=False)
        return {"loss": (loss.sum, loss.weight), **loss.metrics}

    def evaluate(dataset, size: int = 0) -> dict[str, float]:
        totals: dict[str, list[float]] = {}
        for batch in dataset:
            for name, (total, weight) in sums_of(batch).items():
                sums = totals.setdefault(name, [0.0, 0.0])
                sums[0] += float(total)
                sums[1] += float(weight)
        metrics = {name: total / weight for name, (total, weight) in totals.items()}
        if size:
            metrics["perplexity"] = math.exp(min(metrics["loss"], 700.0))
            metrics["bits_per_byte"] = totals["loss"][0] / math.log(2) / size
        return metrics

    return evaluate
