"""The dense net: standardised features, penalties, and both kinds of answers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import models, registry

F = 5
ROWS = np.random.default_rng(0).normal(3, 7, (40, F)).astype(np.float32)


def built(**fields):
    return models.build("dense_net", features=F, **fields)


def test_classifies():
    logits = built(classes=3, widths=(8, 4))(ROWS)
    assert logits.shape == (40, 3) and logits.dtype == tf.float32


def test_regresses():
    values = built(classes=0)(ROWS)
    assert values.shape == (40,) and values.dtype == tf.float32


def test_standardises_by_what_it_has_seen():
    model = built(classes=3, widths=())
    plain = model(((ROWS - ROWS.mean(0)) / ROWS.std(0)).astype(np.float32))
    model.adapt(ROWS)
    np.testing.assert_allclose(model(ROWS), plain, atol=1e-4)


def test_a_column_that_never_changes_is_harmless():
    model = built()
    rows = ROWS.copy()
    rows[:, 2] = 4.0
    model.adapt(rows)
    assert np.isfinite(model(rows)).all()
    np.testing.assert_array_equal(model.deviation[2], 1.0)


def test_formula():
    model = built(classes=0, widths=(6,), activation="tanh")
    hidden, bias = (np.asarray(v.value) for v in model.hidden[0].weights)
    head, head_bias = (np.asarray(v.value) for v in model.head.weights)
    wanted = np.tanh(ROWS @ hidden + bias) @ head + head_bias
    np.testing.assert_allclose(model(ROWS), wanted[:, 0], rtol=1e-4, atol=1e-4)


def test_penalties():
    model = built(l1=0.1, l2=0.01, widths=(6,))
    kernels = [v.value for v in model.weights if v.name == "kernel"]
    assert len(kernels) == 2
    wanted = sum(
        0.1 * tf.reduce_sum(tf.abs(k)) + 0.01 * tf.reduce_sum(k**2) for k in kernels
    )
    assert float(sum(model.losses)) == pytest.approx(float(wanted), rel=1e-5)
    assert not built().losses


# Keras' own saving asks numpy in a way that is going out of use
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras_saves_and_loads_it(tmp_path):
    model = built(widths=(8,), dropout=0.3, labels=("a", "b"))
    model.adapt(ROWS)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.config == model.config
    np.testing.assert_array_equal(again(ROWS), model(ROWS))


def test_compiles_and_fits():
    keras.utils.set_random_seed(0)
    model = built(classes=2)
    model.adapt(ROWS)
    labels = (ROWS[:, 0] > 3).astype(np.int32)
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    history = model.fit(ROWS, labels, 8, epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"classes": 1}, "classes: 1; 0 (regression) or at least 2"),
        ({"classes": 3, "labels": ("a", "b")}, "labels: 2 names, classes 3"),
        ({"widths": (8, 0)}, "widths[1]: 0, at least 1"),
        ({"activation": "rely"}, "activation: 'rely'. Did you mean relu?"),
        ({"l2": -1.0}, "l2: -1.0, at least 0"),
        ({"l1": float("nan")}, "l1: nan is not a finite number"),
    ],
)
def test_refuses(fields, words):
    with pytest.raises(ValueError) as error:
        registry.config("dense_net", features=F, **fields)
    assert words in str(error.value)


def test_adapt_refuses_another_number_of_features():
    with pytest.raises(ValueError, match=r"features: shape \(40, 4\), expected"):
        built().adapt(ROWS[:, :4])
