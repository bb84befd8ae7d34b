"""Optimizers against those of Keras, and the schedule against its formula."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers import optimizers
from trainers.run import Optimizer

SHAPES = ((4, 3), (5,), (2, 2, 2), ())
STEPS = 20


def followed(optimizer, variables):
    """Twenty steps of gradients that depend on the weights, compiled."""

    @tf.function(autograph=False)
    def step(noise):
        grads = [
            tf.sin(3 * tf.convert_to_tensor(v.value)) + n
            for v, n in zip(variables, noise, strict=True)
        ]
        optimizer.apply(grads, variables)

    for i in range(STEPS):
        noise = [tf.random.stateless_normal(s, [i, 5], stddev=0.3) for s in SHAPES]
        step(noise)
    return [v.value.numpy() for v in variables]


def variables():
    return [
        keras.Variable(tf.random.stateless_normal(shape, [i, 1]), name=f"v{i}")
        for i, shape in enumerate(SHAPES)
    ]


OPTIONS = Optimizer(
    lr=0.01, warmup=4, weight_decay=0.3, beta_1=0.8, beta_2=0.97, epsilon=1e-6
)


def reference(options, mine):
    lr = optimizers.schedule(options, STEPS)
    adam = {k: getattr(options, k) for k in ("beta_1", "beta_2", "epsilon")}
    if options.name == "adam":
        return keras.optimizers.Adam(lr, **adam)
    if options.name == "sgd":
        return keras.optimizers.SGD(lr, momentum=options.momentum)
    made = keras.optimizers.AdamW(lr, weight_decay=options.weight_decay, **adam)
    made.exclude_from_weight_decay(var_list=[v for v in mine if len(v.shape) < 2])
    return made


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "adam"},
        {"name": "adamw"},
        {"name": "adamw", "decay": "constant", "warmup": 0},
        {"name": "sgd"},
        {"name": "sgd", "momentum": 0.9},
    ],
    ids=str,
)
def test_follows_keras(changes):
    options = dataclasses.replace(OPTIONS, **changes)
    ours, theirs = variables(), variables()
    mine = followed(optimizers.build(options, STEPS, ours), ours)
    wanted = followed(reference(options, theirs), theirs)
    for left, right, first in zip(mine, wanted, variables(), strict=True):
        assert np.abs(right - first.value.numpy()).max() > 0.01
        np.testing.assert_allclose(left, right, atol=1e-6)


def test_slots_are_those_of_keras():
    options = dataclasses.replace(OPTIONS, name="adamw")
    ours, theirs = variables(), variables()
    mine, wanted = optimizers.build(options, STEPS, ours), reference(options, theirs)
    wanted.build(theirs)
    followed(mine, ours)
    followed(wanted, theirs)
    for left, right in zip(mine.variables, wanted.variables, strict=True):
        assert left.name == right.name
        np.testing.assert_allclose(left, right, atol=1e-6)


def test_biases_and_norms_do_not_decay():
    options = Optimizer(lr=0.01, weight_decay=0.5, decay="constant")
    given = variables()
    optimizer = optimizers.build(options, STEPS, given)
    before = [v.value.numpy() for v in given]
    optimizer.apply([tf.zeros(v.shape) for v in given], given)
    for old, v in zip(before, given, strict=True):
        wanted = old * (1 - 0.01 * 0.5) if len(v.shape) > 1 else old
        np.testing.assert_allclose(v.value.numpy(), wanted, rtol=1e-6)


def rate(schedule, step):
    return float(schedule(step)) if callable(schedule) else float(schedule)


def rates(options, steps):
    """The rate of each step, as the optimizer asks for it: from 0 on."""
    lr = optimizers.schedule(options, steps)
    return [rate(lr, step) for step in range(steps)]


def test_warmup_then_cosine():
    found = rates(Optimizer(lr=2.0, warmup=10, final=0.1), 110)
    assert found[:10] == pytest.approx([2.0 * n / 10 for n in range(1, 11)])
    for n in (11, 35, 60, 110):
        share = 0.5 * (1 + math.cos(math.pi * (n - 10) / 100))
        assert found[n - 1] == pytest.approx(2.0 * (0.1 + 0.9 * share), rel=1e-5)
    lr = optimizers.schedule(Optimizer(lr=2.0, warmup=10, final=0.1), 110)
    assert rate(lr, 500) == pytest.approx(0.2, rel=1e-5)


def test_the_ends_of_a_cosine_are_those_documented():
    found = rates(Optimizer(lr=1e-3, final=0.1), 4)
    assert found[0] == pytest.approx(1e-3) and found[-1] == pytest.approx(1e-4)
    found = rates(Optimizer(lr=1e-3, final=0.1, warmup=2), 4)
    assert found[:2] == pytest.approx([5e-4, 1e-3])
    assert found[-1] == pytest.approx(1e-4)
    assert rates(Optimizer(lr=1e-3), 1) == pytest.approx([1e-3])


def test_constant():
    assert rates(Optimizer(lr=0.5, decay="constant"), 3) == [0.5] * 3
    found = rates(Optimizer(lr=0.5, decay="constant", warmup=4), 6)
    assert found == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5, 0.5])


def test_a_warmup_longer_than_the_run():
    found = rates(Optimizer(lr=1.0, warmup=100), 10)
    assert found == pytest.approx([n / 100 for n in range(1, 11)])
