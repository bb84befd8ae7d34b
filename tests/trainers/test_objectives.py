"""Objectives against the losses of Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers import feeds, objectives
from trainers.objectives import Classify, LanguageModel
from zoo import models, registry

RNG = np.random.default_rng(0)


def mean(loss):
    return float(loss.sum) / float(loss.weight)


@pytest.fixture(scope="module", params=["gpt2", "softcap", "lstm"])
def lm(request):
    sizes = {"vocab_size": 30, "context": 8, "width": 16, "layers": 1}
    if request.param == "lstm":  # has a bias in its head
        return models.build("lstm_lm", **sizes, units=12)
    cap = 2.0 if request.param == "softcap" else 0.0
    return models.build("transformer_lm", **sizes, heads=2, logit_softcap=cap)


def lm_batch():
    ids = RNG.integers(0, 30, (3, 9)).astype(np.int32)
    return {
        "tokens": tf.constant(ids[:, :-1]),
        "targets": tf.constant(ids[:, 1:]),
        "weights": tf.constant(RNG.random((3, 8)).astype(np.float32)),
    }


@pytest.mark.parametrize("training", [False, True])
def test_language_model_is_the_loss_of_its_logits(lm, training):
    batch = lm_batch()
    loss = LanguageModel().loss({"policy": lm}, batch, training)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        batch["targets"], lm(batch["tokens"])
    )
    wanted = tf.reduce_sum(losses * batch["weights"])
    assert float(loss.sum) == pytest.approx(float(wanted), rel=1e-5)
    assert float(loss.weight) == pytest.approx(float(np.sum(batch["weights"])))


def test_smoothing_is_for_training_only(lm):
    batch, roles = lm_batch(), {"policy": lm}
    smooth = LanguageModel(label_smoothing=0.3)
    plain = LanguageModel().loss(roles, batch, True)
    assert float(smooth.loss(roles, batch, False).sum) == pytest.approx(
        float(plain.sum)
    )
    target = tf.one_hot(batch["targets"], 30) * 0.7 + 0.3 / 30
    losses = tf.nn.softmax_cross_entropy_with_logits(target, lm(batch["tokens"]))
    wanted = tf.reduce_sum(losses * batch["weights"])
    assert float(smooth.loss(roles, batch, True).sum) == pytest.approx(
        float(wanted), rel=1e-5
    )


def test_classify():
    model = models.build("dense_net", features=5, classes=3)
    batch = {
        "features": tf.constant(RNG.normal(0, 1, (6, 5)), tf.float32),
        "label": tf.constant([0, 1, 2, 2, 1, 0]),
        "weights": tf.constant([1.0, 1.0, 0.5, 2.0, 0.0, 1.0]),
    }
    loss = Classify().loss({"policy": model}, batch, False)
    logits = model(batch["features"])
    losses = keras.losses.sparse_categorical_crossentropy(batch["label"], logits, True)
    wanted = np.average(losses, weights=batch["weights"])
    assert mean(loss) == pytest.approx(wanted, rel=1e-5)
    right, weight = loss.metrics["accuracy"]
    hits = np.argmax(logits, -1) == batch["label"]
    assert float(right / weight) == pytest.approx(
        np.average(hits, weights=batch["weights"])
    )
    smooth = Classify(label_smoothing=0.2).loss({"policy": model}, batch, True)
    target = tf.one_hot(batch["label"], 3)
    losses = keras.losses.categorical_crossentropy(target, logits, True, 0.2)
    wanted = np.average(losses, weights=batch["weights"])
    assert mean(smooth) == pytest.approx(wanted, rel=1e-5)


def test_regress():
    model = models.build("dense_net", features=5, classes=0)
    batch = {
        "features": tf.constant(RNG.normal(0, 1, (4, 5)), tf.float32),
        "label": tf.constant([0.5, 1.0, -2.0, 2.0]),
        "weights": tf.constant([1.0, 1.0, 0.5, 0.0]),
    }
    loss = Classify().loss({"policy": model}, batch, True)
    errors = (model(batch["features"]) - batch["label"]) ** 2
    wanted = np.average(errors, weights=batch["weights"])
    assert mean(loss) == pytest.approx(wanted, rel=1e-5)
    assert not loss.metrics


@pytest.mark.parametrize("task", ["classify", "tag", "regress"])
def test_labels_of_texts(task):
    body = registry.config("text_encoder", vocab_size=30, width=16, layers=1, heads=2)
    classes = 0 if task == "regress" else 3
    model = models.build("headed", body=body, task=task, classes=classes)
    shape = (4, 6) if task == "tag" else (4,)
    batch = {
        "tokens": tf.constant(RNG.integers(1, 30, (4, 6)), tf.int32),
        "lengths": tf.constant([6, 3, 1, 4]),
        "label": tf.constant(RNG.integers(0, 3, shape), tf.int32),
        "weights": tf.constant(RNG.integers(0, 3, shape), tf.float32),
    }
    loss = Classify(label_smoothing=0.5).loss({"policy": model}, batch, False)
    y = model(batch["tokens"], batch["lengths"])
    if task == "regress":
        losses = (y - tf.cast(batch["label"], tf.float32)) ** 2
    else:
        losses = keras.losses.sparse_categorical_crossentropy(batch["label"], y, True)
        right, weight = loss.metrics["accuracy"]
        hits = np.argmax(y, -1) == batch["label"]
        wanted = np.average(hits, weights=batch["weights"])
        assert float(right / weight) == pytest.approx(wanted)
    wanted = np.average(losses, weights=batch["weights"])
    assert mean(loss) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", objectives.BY_NAME)
def test_contract(name):
    objective = objectives.BY_NAME[name]()
    assert objective.name == name and objective.feed in feeds.BY_NAME
    assert set(objective.trains) <= objective.needs.keys()
    assert objective.needs[objective.trains[0]] == "model"


@pytest.mark.parametrize("name", ["classify", "language_model"])
def test_label_smoothing_is_a_share(name):
    with pytest.raises(ValueError, match="objective.label_smoothing: 1.0"):
        objectives.BY_NAME[name](label_smoothing=1.0)
