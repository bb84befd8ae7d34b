"""Dropout: Keras' bits on one replica, other masks on each of several."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.layers.dropout import Dropout


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_is_the_layer_of_keras_on_one_replica(dtype):
    x = tf.cast(tf.random.stateless_normal([3, 5, 7], [1, 2]), dtype)
    ours = Dropout(0.3, seed=5, dtype=dtype)
    keras_ = keras.layers.Dropout(0.3, seed=5, dtype=dtype)
    for _ in range(3):
        y = ours(x, training=True)
        np.testing.assert_array_equal(y, keras_(x, training=True))
    assert 0 < np.mean(np.asarray(y) == 0) < 1
    np.testing.assert_array_equal(ours(x), x)
    np.testing.assert_array_equal(Dropout(0.0, dtype=dtype)(x, training=True), x)


def test_each_replica_draws_its_own_masks(commands):
    done = commands(pathlib.Path(__file__).with_name("two_replicas.py"))
    assert done.code == 0, done.out
    found = json.loads(done.out.splitlines()[-1])
    masks = [tuple(mask) for step in found["masks"] for mask in step]
    assert len(masks) == 6 and len(set(masks)) == 6
    assert all(0 < sum(mask) < len(mask) for mask in masks)
    # a checkpoint holds one state, so the states must stay equal
    first, second = found["states"]
    assert first == second and first[1] == 3
