"""Rates by weight path, and the penalties of the optimizer."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers import loop, optimizers, workdir
from trainers.objectives import Classify
from trainers.run import Data, Optimizer, Run, from_json, to_json
from trainers.step import make_step
from zoo import files, registry
from zoo.models import dense_net

SHAPES = ((4, 3), (6, 3), (5,))
PATHS = ("first/kernel", "second/kernel", "second/bias")
STEPS = 5


def followed(options, paths=()):
    """The weights after some steps."""
    variables = [
        keras.Variable(tf.random.stateless_normal(shape, [i, 1]), name=f"v{i}")
        for i, shape in enumerate(SHAPES)
    ]
    optimizer = optimizers.build(options, STEPS, variables, paths)

    @tf.function(autograph=False)
    def step(number):
        grads = [
            tf.sin(3 * v.value)
            + tf.random.stateless_normal(v.shape, tf.stack([number, i]))
            for i, v in enumerate(variables)
        ]
        optimizer.apply(grads, variables)

    for number in range(STEPS):
        step(tf.constant(number))
    return [v.value.numpy() for v in variables]


@pytest.mark.parametrize(
    "name, changes",
    [
        ("adam", {}),
        ("adamw", {"weight_decay": 0.5}),
        ("sgd", {"momentum": 0.9}),
        ("muon", {"weight_decay": 0.5}),
    ],
)
def test_a_factor_is_a_rate_of_its_own(name, changes):
    options = Optimizer(
        name=name, lr=0.02, scales=("*/kernel=0.5", "second/*=3"), **changes
    )
    found = followed(options, PATHS)
    half, triple, equal = (
        followed(dataclasses.replace(options, lr=0.02 * factor, scales=()))
        for factor in (0.5, 3.0, 1.0)
    )
    # the last entry that fits counts; weight decay follows the rate
    wanted = [half[0], triple[1], triple[2]]
    for mine, right, other in zip(found, wanted, equal, strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-5, atol=1e-6)
        assert np.abs(mine - other).max() > 0.01


def test_a_factor_of_one_changes_no_bit():
    options = Optimizer(lr=0.02)
    plain = followed(options)
    ones = followed(dataclasses.replace(options, scales=("*=1",)), PATHS)
    for mine, right in zip(ones, plain, strict=True):
        np.testing.assert_array_equal(mine, right)


@pytest.mark.parametrize(
    "entry", ["block_0/*=0", "block_0/*", "=2", "a=-1", "a=inf", "a=nan", "a=x"]
)
def test_an_entry_that_is_no_factor(entry):
    with pytest.raises(ValueError, match="optimizer.scales: .*PATTERN=FACTOR") as error:
        Optimizer(scales=(entry,))
    assert "config.freeze" in str(error.value)


TABLE = Run(
    model=dense_net.Config(features=30, classes=2, widths=(8,)),
    objective=Classify(),
    data=Data(source="sklearn:breast_cancer", batch=32, hold_out=0.2),
    steps=2,
)


def with_options(**options):
    return dataclasses.replace(TABLE, optimizer=Optimizer(lr=0.05, **options))


def test_a_pattern_that_fits_nothing(tmp_path):
    run = with_options(scales=("embedding/*=0.1",))
    with pytest.raises(ValueError, match="'embedding/\\*' fits no weight") as error:
        loop.train(run, tmp_path / "w")
    assert "kernel" in str(error.value)
    assert not (tmp_path / "w").exists()


def test_a_workdir_from_before_the_fields_goes_on(tmp_path):
    loop.train(TABLE, tmp_path / "w")
    value = files.read_json(tmp_path / "w/run.json")
    for field in ("scales", "ema", "l1", "l2"):
        del value["optimizer"][field]
    files.write_json(tmp_path / "w/run.json", value)
    assert loop.train(TABLE, tmp_path / "w").step == 2
    assert workdir.read(tmp_path / "w") == TABLE
    again = with_options(scales=("a/*=0.5",), ema=0.9)
    assert from_json(to_json(again), {"classify": Classify}) == again


# ---- penalties ----


def trained(options, model_config):
    """The loss and gradient norm of a step without decay, and the weights after it."""
    keras.utils.set_random_seed(0)
    model = registry.build_config(model_config)
    variables = model.trainable_variables
    optimizer = optimizers.build(options, 1, variables)
    before = [v.value.numpy() for v in variables]
    step = make_step(
        tf.distribute.get_strategy(),
        {"policy": model},
        Classify(),
        optimizer,
        variables,
    )
    batch = {
        "features": np.random.default_rng(0).normal(0, 1, (8, 5)).astype(np.float32),
        "label": np.arange(8, dtype=np.int32) % 3,
        "weights": np.ones(8, np.float32),
    }
    loss = float(step(batch)["loss"])
    return loss, before, [v.value.numpy() for v in variables]


def test_penalties_are_those_of_the_formula():
    config = dense_net.Config(features=5, classes=3, widths=(4,))
    plain = Optimizer(name="sgd", lr=1.0, decay="constant")
    loss, before, wanted = trained(plain, config)
    options = dataclasses.replace(plain, l1=0.01, l2=0.1)
    with_penalty, same, found = trained(options, config)
    matrices = [w for w in before if w.ndim > 1]
    penalty = sum(0.01 * np.abs(w).sum() + 0.1 * (w * w).sum() for w in matrices)
    assert len(matrices) == 2 and penalty > 0.1
    assert with_penalty == pytest.approx(loss + penalty, rel=1e-5)
    for w, other, mine, right in zip(before, same, found, wanted, strict=True):
        np.testing.assert_array_equal(w, other)
        pull = 0.01 * np.sign(w) + 0.2 * w if w.ndim > 1 else 0.0
        np.testing.assert_allclose(mine, right - pull, rtol=1e-4, atol=1e-6)


def test_penalties_of_the_model_are_not_doubled():
    config = dense_net.Config(features=5, classes=3, widths=(4,), l2=0.1)
    with pytest.raises(ValueError, match="penalties of its own"):
        trained(Optimizer(l2=0.1), config)
    with pytest.raises(ValueError, match="optimizer.l1: -1"):
        Optimizer(l1=-1.0)
