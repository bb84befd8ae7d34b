"""The text encoder: it sees both sides, padding changes nothing, and it learns."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import models, registry
from zoo.layers.attention import bidirectional
from zoo.models.text_encoder import Config

SMALL = {"vocab_size": 50, "context": 24, "width": 32, "layers": 2, "heads": 4}
FORMS = {
    "bert": {},
    "sentence": {"normalization": "l2"},
    "roberta": {
        "types": 1,
        "padding_id": 1,
        "position_offset": 2,
        "norm_epsilon": 1e-5,
        "pooling": "cls",
        "mlp_width": 20,
    },
}


def built(form, **fields):
    model = models.build("text_encoder", **{**SMALL, **FORMS[form], **fields})
    # initial weights of 0.02 say little: make everything matter
    for i, v in enumerate(model.trainable_weights):
        noise = tf.random.stateless_normal(v.shape, [i, 7], stddev=0.2)
        v.assign(tf.convert_to_tensor(v.value) + noise)
    return model


def tokens(batch, length, seed=0):
    return tf.random.stateless_uniform([batch, length], [seed, 1], 2, 50, tf.int32)


def test_attention_is_plain_attention():
    B, T, H, d = 3, 6, 2, 4
    q, k, v = (
        np.random.default_rng(i).normal(size=(B, T, H, d)).astype(np.float32)
        for i in range(3)
    )
    lengths = [6, 1, 4]
    flat = (tf.reshape(x, (B * T, H * d)) for x in (q, k, v))
    out = tf.reshape(bidirectional(*flat, tf.constant(lengths), H), (B, T, H, d))
    for b, n in enumerate(lengths):
        scores = np.einsum("thd,shd->hts", q[b], k[b, :n]) / d**0.5
        p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        wanted = np.einsum("hts,shd->thd", p, v[b, :n])
        np.testing.assert_allclose(out[b], wanted, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_every_token_sees_every_other(form):
    model, before = built(form), tokens(1, 12)
    x = model(before).numpy()
    for place in (0, 11):
        after = before.numpy()
        after[0, place] = (after[0, place] + 1) % 48 + 2
        changed = np.abs(model(tf.constant(after)) - x).max(-1)[0]
        assert changed.min() > 1e-3


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_padding_changes_nothing(form, training):
    model = built(form)
    lengths = tf.constant([12, 5, 1])
    rows = [tokens(3, 12, seed).numpy() for seed in (0, 1)]
    real = np.arange(12) < lengths.numpy()[:, None]
    rows[1][real] = rows[0][real]  # other tokens behind the end
    rows.append(np.where(real, rows[0], model.config.padding_id))
    given = [(tf.constant(row), lengths) for row in rows] + [(tf.constant(rows[2]),)]
    first, *others = [model(*x, training=training).numpy() for x in given]
    for other in others:
        np.testing.assert_array_equal(other[real], first[real])
    vectors = [model.embed(*x, training=training).numpy() for x in given]
    for other in vectors[1:]:
        np.testing.assert_array_equal(other, vectors[0])
    for row, length, vector in zip(rows[0], lengths, vectors[0], strict=True):
        alone = model.embed(row[None, :length])
        np.testing.assert_allclose(alone[0], vector, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_row_has_the_same_bits_whoever_stands_beside_it(form):
    model = built(form)
    spec = [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)]
    graph = tf.function(model.embed, input_signature=spec, autograph=False)
    given, lengths = tokens(5, 19), tf.constant([1, 14, 9, 19, 12])
    first = graph(given, lengths).numpy()
    order = [3, 0, 4, 1, 2]
    moved = graph(tf.gather(given, order), tf.gather(lengths, order))
    np.testing.assert_array_equal(moved, first[order])
    other = tokens(5, 19, 8).numpy()
    other[1] = given[1]
    beside_others = graph(tf.constant(other), tf.constant([19, 14, 3, 2, 7]))
    np.testing.assert_array_equal(beside_others[1], first[1])


def test_pooling():
    given, lengths = tokens(3, 9), tf.constant([9, 1, 4])
    model = built("bert")
    x = model(given, lengths).numpy()
    mean = np.stack([row[:n].mean(0) for row, n in zip(x, lengths, strict=True)])
    np.testing.assert_allclose(model.embed(given, lengths), mean, atol=1e-5)
    model.config.pooling = "cls"
    np.testing.assert_array_equal(model.embed(given, lengths), x[:, 0])
    model.config.normalization = "l2"
    unit = x[:, 0] / np.linalg.norm(x[:, 0], axis=1, keepdims=True)
    np.testing.assert_allclose(model.embed(given, lengths), unit, atol=1e-6)


def test_types_matter():
    model, given = built("bert"), tokens(2, 7)
    types = tf.zeros_like(given)
    first = model(given).numpy()
    np.testing.assert_array_equal(model(given, types_BT=types), first)
    assert np.abs(model(given, types_BT=types + 1) - first).max() > 0.1


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_autodiff(form):
    """The whole model with its own gradients, and with TensorFlow's."""
    model = built(form, layers=1)
    given, lengths = tokens(3, 16), tf.constant([16, 1, 9])
    grads = []
    for training in (True, False):
        with tf.GradientTape() as tape:
            y = model.embed(given, lengths, training)
            loss = tf.reduce_mean(y * tf.sin(3 * y))
        grads.append(tape.gradient(loss, model.trainable_variables))
    for variable, own, wanted in zip(model.trainable_variables, *grads, strict=True):
        own, wanted = (tf.convert_to_tensor(g).numpy() for g in (own, wanted))
        scale = np.abs(wanted).max()
        assert scale > 0, variable.path
        np.testing.assert_allclose(own / scale, wanted / scale, atol=1e-4)


def test_a_row_of_nothing_has_a_finite_gradient():
    model = built("sentence")
    with tf.GradientTape() as tape:
        y = model.embed(tf.zeros([2, 4], tf.int32))
        loss = tf.reduce_sum(y)
    np.testing.assert_array_equal(y, tf.zeros_like(y))
    for gradient in tape.gradient(loss, model.trainable_variables):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()


# Keras' own saving asks numpy in a way that is going out of use
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras_saves_and_loads_it(tmp_path):
    model = built("roberta")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.config == model.config
    np.testing.assert_array_equal(again(tokens(2, 16)), model(tokens(2, 16)))


def test_compiles_and_fits():
    model = built("bert", layers=1, dropout=0.1)
    given = tokens(8, 10)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    wanted = tf.random.stateless_normal([8, 10, 32], [1, 2])
    history = model.fit(given, wanted, 4, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_computes_in_bfloat16(float32):
    wanted, given = built("sentence"), tokens(2, 9)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = built("sentence")
    for mine, other in zip(model.weights, wanted.weights, strict=True):
        mine.assign(other)
    assert model.features(given).dtype == tf.bfloat16
    assert model(given).dtype == model.embed(given).dtype == tf.float32
    difference = np.abs(model.embed(given) - wanted.embed(given)).max()
    assert 0 < difference < 0.05


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"heads": 5}, "heads: 5 does not divide width 32"),
        ({"pooling": "max"}, "pooling: 'max'. Allowed: cls, mean."),
        ({"normalization": "l1"}, "normalization: 'l1'. Allowed: l2, none."),
        ({"activation": "gelo"}, "activation: 'gelo'. Did you mean gelu?"),
        ({"types": 0}, "types: 0, at least 1 allowed"),
        ({"padding_id": 50}, "padding_id: 50, below vocab_size 50 allowed"),
        ({"dropout": 1.0}, "dropout: 1.0, at least 0 and below 1 allowed"),
    ],
)
def test_refuses(fields, words):
    with pytest.raises(ValueError) as error:
        registry.config("text_encoder", **{**SMALL, **fields})
    assert words in str(error.value)


def test_refuses_other_shapes_of_tokens():
    model = built("bert")
    with pytest.raises(ValueError, match=r"tokens: shape \(3,\), expected \[B, T\]"):
        model.features(tf.constant([1, 2, 3]))
    with pytest.raises(ValueError, match="tokens: 25 positions, at most 24 allowed"):
        model(tokens(1, 25))


def test_config_is_the_same_after_json():
    config = Config(**{**SMALL, **FORMS["roberta"]})
    fields = json.loads(json.dumps(registry.to_fields(config)))
    assert registry.config(fields.pop("name"), **fields) == config
