"""The convolutional network over texts: its formula, padding, and both answers."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import models, registry
from zoo.directory import load, save

SMALL = {"vocab_size": 50, "width": 8, "filters": 6, "sizes": (1, 2, 4)}


def built(**fields):
    model = models.build("text_cnn", **{**SMALL, **fields})
    # biases of 0 would hide padding that a filter sees
    for i, v in enumerate(model.trainable_weights):
        noise = tf.random.stateless_normal(v.shape, [i, 7], stddev=0.3)
        v.assign(tf.convert_to_tensor(v.value) + noise)
    return model


def tokens(batch, length, seed=0):
    return tf.random.stateless_uniform([batch, length], [seed, 1], 0, 50, tf.int32)


def by_hand(model, ids):
    """The answer for one text, by a loop over its windows."""
    values = {v.path: np.asarray(v.value) for v in model.weights}
    x = values["embedding/weight"][ids]
    pooled = []
    for i, size in enumerate(model.config.sizes):
        kernel, bias = (
            values[f"convolution_{i}/{name}"] for name in ("kernel", "bias")
        )
        zeros = np.zeros((size - 1, x.shape[1]))
        padded = np.concatenate([zeros, x, zeros])
        windows = [padded[t : t + size] for t in range(len(ids) + size - 1)]
        y = [np.einsum("kd,kdf->f", window, kernel) + bias for window in windows]
        pooled.append(np.maximum(y, 0).max(0))
    return np.concatenate(pooled) @ values["head/kernel"] + values["head/bias"]


def test_formula():
    model, given, lengths = built(classes=3), tokens(4, 9), [9, 1, 4, 2]
    y = model(given, tf.constant(lengths))
    assert y.shape == (4, 3) and y.dtype == tf.float32
    for row, length, answer in zip(given.numpy(), lengths, y, strict=True):
        np.testing.assert_allclose(answer, by_hand(model, row[:length]), atol=1e-5)


def test_regresses():
    model, given = built(task="regress"), tokens(2, 5)
    y = model(given)
    assert y.shape == (2,) and y.dtype == tf.float32
    wanted = [by_hand(model, row)[0] for row in given.numpy()]
    np.testing.assert_allclose(y, wanted, atol=1e-5)


def test_padding_changes_nothing():
    model, lengths = built(), tf.constant([12, 3, 1, 0])
    first, other = tokens(4, 12).numpy(), tokens(4, 12, 1).numpy()
    real = np.arange(12) < lengths.numpy()[:, None]
    other[real] = first[real]
    y = model(first, lengths).numpy()
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(model(other, lengths), y)
    wider = np.pad(first, [(0, 0), (0, 9)], constant_values=7)
    np.testing.assert_allclose(model(wider, lengths), y, atol=1e-5)


def test_padding_gets_no_gradient():
    model = built()
    with tf.GradientTape() as tape:
        y = model(tf.constant([[3, 4, 5], [6, 9, 9]]), tf.constant([3, 1]))
        loss = tf.reduce_sum(tf.square(y))
    (gradient,) = tape.gradient(loss, [model.embedding.weight.value])
    gradient = tf.convert_to_tensor(gradient).numpy()
    assert np.abs(gradient[[3, 4, 5, 6]]).max(-1).min() > 0
    assert not gradient[9].any()


def test_a_row_has_the_same_bits_whoever_stands_beside_it():
    model = built(width=33, filters=19)
    given, lengths = tokens(5, 19), tf.constant([1, 14, 9, 19, 12])
    first, order = model(given, lengths).numpy(), [3, 0, 4, 1, 2]
    moved = model(tf.gather(given, order), tf.gather(lengths, order))
    np.testing.assert_array_equal(moved, first[order])


def test_penalties():
    model = built(l2=0.1)
    kernels = [v.value for v in model.weights if v.name == "kernel"]
    assert len(kernels) == 4
    wanted = sum(0.1 * tf.reduce_sum(k**2) for k in kernels)
    assert float(sum(model.losses)) == pytest.approx(float(wanted), rel=1e-5)
    assert not built().losses


# Keras' own saving asks numpy in a way that is going out of use
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras_saves_and_loads_it(tmp_path):
    model = built(labels=("a", "b"))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.config == model.config
    np.testing.assert_array_equal(again(tokens(2, 16)), model(tokens(2, 16)))


def test_a_model_directory_holds_it(tmp_path, tokenizer):
    model = built(vocab_size=tokenizer.vocab_size, labels=("ham", "späm"))
    save(tmp_path / "cnn", model, tokenizer)
    loaded = load(tmp_path / "cnn")
    assert loaded.model.config == model.config
    assert loaded.tokenizer.json == tokenizer.json
    np.testing.assert_array_equal(loaded.model(tokens(2, 16)), model(tokens(2, 16)))


def test_learns_the_order_of_two_tokens():
    keras.utils.set_random_seed(0)
    model = models.build("text_cnn", **{**SMALL, "dropout": 0.1})
    given, labels = tokens(128, 12).numpy(), np.arange(128) % 2
    given[given < 4] = 4
    at = np.random.default_rng(0).integers(0, 11, 128)
    for row, place, label in zip(given, at, labels, strict=True):
        row[place : place + 2] = (1, 2) if label else (2, 1)
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(given, labels, 32, epochs=12, verbose=0)
    assert model.evaluate(given, labels, verbose=0)[1] > 0.95


def test_computes_in_bfloat16(float32):
    wanted, given = built(), tokens(2, 9)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = built()
    model.set_weights(wanted.get_weights())
    y = model(given, tf.constant([9, 4]))
    assert y.dtype == tf.float32
    difference = np.abs(y - wanted(given, tf.constant([9, 4]))).max()
    assert 0 < difference < 0.1


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"sizes": ()}, "sizes: (), at least one size"),
        ({"sizes": (3, 0)}, "sizes[1]: 0, at least 1"),
        ({"filters": 0}, "filters: 0, at least 1"),
        ({"task": "tag"}, "task: 'tag'. Allowed: classify, regress."),
        ({"classes": 1}, "classes: 1, 0 or at least 2"),
        ({"task": "regress", "labels": ("a", "b")}, "labels: regress has no labels"),
        ({"labels": ("a",)}, "labels: 1 names, classes 2"),
        ({"dropout": 1.0}, "dropout: 1.0, at least 0 and below 1"),
        ({"l2": -1.0}, "l2: -1.0, at least 0"),
    ],
)
def test_refuses(fields, words):
    with pytest.raises(ValueError) as error:
        registry.config("text_cnn", **fields)
    assert words in str(error.value)


def test_needs_the_number_of_classes():
    config = registry.config("text_cnn", classes=0)
    with pytest.raises(ValueError, match="classes: 0, which only a Run with data has"):
        registry.build_config(config)


def test_config_is_the_same_after_json():
    config = registry.config("text_cnn", **SMALL, labels=("a", "b"))
    fields = json.loads(json.dumps(registry.to_fields(config)))
    assert registry.from_fields(fields) == config
