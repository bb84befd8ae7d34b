"""Heads on language models and encoders."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import registry
from zoo.models import headed, text_encoder, transformer_lm

BODIES = {
    "encoder": text_encoder.Config(
        vocab_size=50, context=16, width=8, layers=1, heads=2
    ),
    "transformer": transformer_lm.Config(
        vocab_size=50, context=16, width=8, layers=1, heads=2, tied_head=False
    ),
    "lstm": registry.config("lstm_lm", vocab_size=50, width=8, units=8, layers=1),
}
SHAPES = {
    "classify": (2, 3),
    "regress": (2,),
    "tag": (2, 4, 3),
    "fill_mask": (2, 4, 50),
}
TOKENS, LENGTHS = tf.constant([[3, 4, 5, 0], [6, 7, 0, 0]]), tf.constant([3, 2])
CASES = [
    (body, task, hidden)
    for body in BODIES
    for task in headed.TASKS
    for hidden in (False, True)
    if body == "encoder" or task != "fill_mask"
]


def real(y):
    """The answers without those of padding."""
    there = tf.sequence_mask(LENGTHS, 4)
    return y if len(y.shape) < 3 else tf.boolean_mask(y, there)


@pytest.mark.parametrize("body, task, hidden", CASES)
def test_padding_does_not_matter(body, task, hidden):
    classes = 3 if task in ("classify", "tag") else 0
    config = headed.Config(body=BODIES[body], task=task, hidden=hidden, classes=classes)
    model = registry.build_config(config)
    assert model(TOKENS, LENGTHS).shape == SHAPES[task]
    wider = tf.concat([tf.where(TOKENS == 0, 9, TOKENS), [[8, 7], [6, 5]]], 1)
    y = model(wider, LENGTHS)
    y = y if len(y.shape) < 3 else y[:, :4]
    np.testing.assert_allclose(real(model(TOKENS, LENGTHS)), real(y), atol=1e-6)
    # no weight of the body is without effect, such as the head of a language model
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(TOKENS, LENGTHS, training=True) ** 2)
    paths = [v.path for v in model.trainable_weights]
    grads = tape.gradient(loss, [v.value for v in model.trainable_weights])
    assert [p for p, g in zip(paths, grads, strict=True) if g is None] == []


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("task", headed.TASKS)
def test_is_saved(task, tmp_path):
    model = registry.build_config(headed.Config(body=BODIES["encoder"], task=task))
    wanted = model(TOKENS, LENGTHS)
    zoo.save(tmp_path / "model", model)
    loaded = zoo.load(tmp_path / "model").model
    assert loaded.config == model.config
    np.testing.assert_array_equal(loaded(TOKENS, LENGTHS), wanted)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(TOKENS, LENGTHS), wanted)


def test_pooling():
    body = BODIES["transformer"]
    model = registry.build_config(headed.Config(body=body))
    x = model.body.features(TOKENS)
    np.testing.assert_allclose(model.features(TOKENS, LENGTHS)[0], x[0, 2], rtol=1e-6)
    np.testing.assert_allclose(model.features(TOKENS, LENGTHS)[1], x[1, 1], rtol=1e-6)
    model = registry.build_config(headed.Config(body=BODIES["encoder"]))
    x = model.body.features(TOKENS, LENGTHS)
    mean = tf.reduce_mean(x[1, :2], 0)
    np.testing.assert_allclose(model.features(TOKENS, LENGTHS)[1], mean, rtol=1e-5)
    first = headed.Config(body=BODIES["encoder"], pooling="first")
    model = registry.build_config(first)
    x = model.body.features(TOKENS, LENGTHS)
    np.testing.assert_allclose(model.features(TOKENS, LENGTHS), x[:, 0], rtol=1e-6)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"task": "guess"}, "headed.task: 'guess'"),
        ({"task": "tag", "classes": 1}, "headed.classes: 1"),
        ({"labels": ("a", "b"), "classes": 3}, "headed.labels: 2 names, classes 3"),
        ({"task": "regress", "labels": ("a",)}, "headed.labels: regress has no labels"),
        ({"task": "fill_mask", "body": BODIES["lstm"]}, "headed.task: fill_mask"),
        ({"body": registry.config("dense_net")}, "headed.body: dense_net"),
        ({"body": registry.config("keras_hub")}, "headed.body: keras_hub"),
    ],
)
def test_refusals(fields, message):
    with pytest.raises(ValueError, match=message):
        headed.Config(**fields)


@pytest.mark.parametrize("fields", [{"body": None}, {"classes": 0}])
def test_a_run_completes_the_config(fields):
    with pytest.raises(ValueError, match="which only a Run"):
        registry.build_config(headed.Config(**fields))
