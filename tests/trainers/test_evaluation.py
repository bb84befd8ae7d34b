"""Evaluation: weighted means over batches of any filling."""

import math
from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf

from trainers.evaluation import make_evaluate
from trainers.objectives.loss import Loss


class Given:
    """A loss that the batch holds."""

    trains: ClassVar[tuple[str, ...]] = ()

    def loss(self, roles, batch, training):
        assert training is False
        weight = tf.reduce_sum(batch["weights"])
        total = tf.reduce_sum(batch["loss"] * batch["weights"])
        return Loss(total, weight, {"double": (2 * total, weight)})


def test_is_the_mean_of_all_rows():
    rng = np.random.default_rng(0)
    losses = rng.random(50).astype(np.float32)
    weights = rng.random(50).astype(np.float32)
    weights[40:] = 0  # a filled-up last batch
    rows = tf.data.Dataset.from_tensor_slices({"loss": losses, "weights": weights})
    wanted = np.average(losses, weights=weights)
    for size in (10, 50, 7):
        found = make_evaluate(Given())({}, rows.batch(size))
        assert found == pytest.approx({"loss": wanted, "double": 2 * wanted}, rel=1e-5)


def test_a_metric_without_weight_is_left_out():
    rows = tf.data.Dataset.from_tensors({"loss": [1.0], "weights": [2.0]})

    class Half(Given):
        def loss(self, roles, batch, training):
            loss = super().loss(roles, batch, training)
            return loss._replace(metrics={"none": (tf.zeros(()), tf.zeros(()))})

    assert make_evaluate(Half())({}, rows) == {"loss": 1.0}
    empty = tf.data.Dataset.from_tensors({"loss": [1.0], "weights": [0.0]})
    with pytest.raises(ValueError, match="no example has a weight above 0"):
        make_evaluate(Given())({}, empty)


def test_another_shape_is_another_trace():
    shapes = []

    class Seen(Given):
        def loss(self, roles, batch, training):
            shapes.append(batch["loss"].shape.as_list())
            return super().loss(roles, batch, training)

    evaluate = make_evaluate(Seen())
    for count in (2, 3):
        rows = {"loss": [1.0] * count, "weights": [1.0] * count}
        evaluate({}, tf.data.Dataset.from_tensors(rows))
    assert shapes == [[2], [3]]


def test_numbers_of_text():
    rows = tf.data.Dataset.from_tensors({"loss": [1.0, 2.0], "weights": [1.0, 3.0]})
    found = make_evaluate(Given())({}, rows, size=5)
    assert found["loss"] == pytest.approx(7 / 4)
    assert found["perplexity"] == pytest.approx(math.exp(7 / 4))
    assert found["bits_per_byte"] == pytest.approx(7 / math.log(2) / 5)


def test_a_hopeless_model_has_a_perplexity():
    rows = tf.data.Dataset.from_tensors({"loss": [1e9], "weights": [1.0]})
    assert math.isfinite(make_evaluate(Given())({}, rows, size=5)["perplexity"])
