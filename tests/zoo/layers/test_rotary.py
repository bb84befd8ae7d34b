"""Rotary positions against complex numbers, and stretched ones against transformers."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from zoo.directory import hf
from zoo.layers import rotary

GOLDEN = pathlib.Path(__file__).parents[1] / "directory/families/rope.json"


def rotation(positions, width, theta):
    return rotary.rotation(positions, *rotary.frequencies(width, theta))


def rotated(x, positions, theta):
    """Rotary positions as complex numbers."""
    half = x.shape[-1] // 2
    angle = positions[:, None] * theta ** (-np.arange(half) / half)
    z = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)[:, None]
    return np.concatenate([z.real, z.imag], -1)


def gradient(f, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
        loss = tf.reduce_sum(y * tf.random.stateless_normal(y.shape, [9, 9]))
    return y, tape.gradient(loss, x)


def test_rotation_is_a_complex_product():
    x = tf.random.stateless_normal([6, 3, 8], [1, 2])
    positions = np.array([0, 1, 2, 7, 100, 1000])
    turn = rotation(tf.constant(positions), 8, 10000.0)
    wanted = rotated(x.numpy(), positions, 10000.0)
    np.testing.assert_allclose(rotary.rotate(x, *turn), wanted, atol=3e-4)
    near = slice(0, 4)  # float32 angles of large positions are coarse
    np.testing.assert_allclose(rotary.rotate(x, *turn)[near], wanted[near], atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_a_part_of_each_head_is_turned(training):
    x = tf.random.stateless_normal([6, 3, 14], [1, 2])
    turn = rotation(tf.range(6), 8, 100.0)
    y = rotary.rotate(x, *turn, training=training)
    wanted = rotary.rotate(x[..., :8], *turn)
    np.testing.assert_allclose(y[..., :8], wanted, atol=1e-6)
    np.testing.assert_array_equal(y[..., 8:], x[..., 8:])


@pytest.mark.parametrize("width", [2, 6, 8, 64])
def test_a_position_has_the_same_bits_at_any_place(width):
    cos, sin = rotation(tf.range(100), width, 10000.0)
    for start, end in ((0, 1), (3, 20), (37, 100)):
        part = rotation(tf.range(start, end), width, 10000.0)
        np.testing.assert_array_equal(part[0], cos[start:end])
        np.testing.assert_array_equal(part[1], sin[start:end])


@pytest.mark.parametrize("width", [8, 11])
def test_rotation_has_the_gradient_of_autodiff(width):
    x = tf.random.stateless_normal([6, 3, width], [1, 2])
    turn = rotary.rotation(tf.range(6), rotary.frequencies(8, 1e4)[0], 1.3)
    y, grad = gradient(lambda x: rotary.rotate(x, *turn, training=True), x)
    wanted, other = gradient(lambda x: rotary.rotate(x, *turn), x)
    np.testing.assert_allclose(y, wanted, atol=1e-6)
    np.testing.assert_allclose(grad, other, atol=1e-6)


def test_rotated_products_depend_on_distance_only():
    q, k = tf.random.stateless_normal([2, 1, 1, 8], [3, 4])

    def product(i, j):
        turn = [rotation(tf.constant([p]), 8, 100.0) for p in (i, j)]
        a, b = rotary.rotate(q, *turn[0]), rotary.rotate(k, *turn[1])
        return float(tf.reduce_sum(a * b))

    assert product(3, 1) == pytest.approx(product(12, 10), abs=1e-5)
    assert product(3, 1) != pytest.approx(product(3, 2), abs=1e-3)


@pytest.mark.parametrize("entry", json.loads(GOLDEN.read_text()), ids=str)
def test_stretched_as_transformers_does(entry):
    """Plain, linear, llama3 and yarn with all of their fields, from a config.json."""
    value = {
        "model_type": "llama",
        "vocab_size": 50,
        "max_position_embeddings": 32768,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 20,
        "head_dim": entry["head_dim"],
        "rope_parameters": entry["rope_parameters"],
    }
    config = hf.from_hf(value, "config.json")
    inverse, magnitude = config.frequencies()
    assert inverse.dtype == np.float32
    # a last bit, multiplied by position 2000, is seen in the logits
    np.testing.assert_allclose(inverse, entry["frequencies"], rtol=1.2e-7)
    assert (inverse != np.float32(entry["frequencies"])).mean() < 0.05
    assert magnitude == pytest.approx(entry["magnitude"], rel=1e-7)
    unstretched, _ = rotary.frequencies(entry["head_dim"], config.rope_theta)
    factor = entry["rope_parameters"].get("factor", 1.0)
    slower = unstretched / inverse
    assert slower.max() == pytest.approx(factor) and slower.min() >= 1 - 1e-6
    said = hf.to_hf(config)
    assert hf.with_defaults(hf.from_hf(said, "config.json")) == hf.with_defaults(config)


def test_magnitude_multiplies_both():
    inverse, _ = rotary.frequencies(8, 100.0)
    cos, sin = rotary.rotation(tf.range(5), inverse)
    larger = rotary.rotation(tf.range(5), inverse, 1.5)
    np.testing.assert_allclose(larger[0], 1.5 * cos, rtol=1e-6)
    np.testing.assert_allclose(larger[1], 1.5 * sin, rtol=1e-6)
