"""The orthogonal factor: that of Keras, and the one of the SVD where asked for."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers.optimizers import newton_schulz

JORDAN = 3.4445, -4.7750, 2.0315
CONVERGING = 15 / 8, -10 / 8, 3 / 8  # the Taylor polynomial: it ends at 1


def matrix(rows, columns, spread):
    """Random, with singular values from 1 down to 10 ** -spread."""
    rng, size = np.random.default_rng(rows), min(rows, columns)
    u, _ = np.linalg.qr(rng.normal(size=(rows, size)))
    v, _ = np.linalg.qr(rng.normal(size=(columns, size)))
    return (u * np.logspace(0, -spread, size)) @ v.T, u @ v.T


@pytest.mark.parametrize(
    ("shape", "spread"),
    [((24, 96), 1), ((96, 24), 3), ((24, 24), 1), ((24, 36), 3), ((1, 8), 0)],
)
def test_it_is_that_of_keras(shape, spread):
    x, _ = matrix(shape[0], shape[1], spread)
    x = tf.constant(x, tf.float32)
    of_keras: Any = keras.optimizers.Muon()
    expected = of_keras.zeropower_via_newtonschulz5(x, 5)
    got = newton_schulz.orthogonalized(x, JORDAN, 5)
    np.testing.assert_allclose(got, expected, atol=1e-3 if spread == 3 else 2e-5)


@pytest.mark.parametrize("shape", [(16, 64), (64, 16), (16, 16)])
def test_it_converges_to_the_factor_of_the_svd(shape):
    x, expected = matrix(shape[0], shape[1], 1)
    got = newton_schulz.orthogonalized(tf.constant(x, tf.float32), CONVERGING, 12)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_zeros_stay_zeros():
    got = newton_schulz.orthogonalized(tf.zeros((4, 16)), JORDAN, 5)
    np.testing.assert_array_equal(got, np.zeros((4, 16)))
