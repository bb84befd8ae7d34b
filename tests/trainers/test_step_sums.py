"""The Step is the same for any number of replicas and accumulated parts."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers import optim
from trainers.config import Optimizer
from trainers.objectives import LanguageModel
from trainers.step import make_step
from zoo import models

PROGRAM = """
import json, sys
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
from trainers import optim
from trainers.config import Optimizer
from trainers.objectives import LanguageModel
from trainers.step import make_step
from zoo import models

rng = np.random.default_rng(0)
B, T, V = 8, 12, 50
batch = {
    "tokens": rng.integers(0, V, (5, B, T), np.int32),
    "targets": rng.integers(0, V, (5, B, T), np.int32),
    "weights": (rng.random((5, B, T)) < np.linspace(0.1, 0.9, B)[:, None]).astype("f4"),
}
results = []
for replicas, parts in ((1, 1), (1, 4), (2, 1), (2, 2)):
    keras.utils.set_random_seed(0)
    devices = [d.name for d in tf.config.list_logical_devices("CPU")][:replicas]
    strategy = tf.distribute.MirroredStrategy(devices)
    with strategy.scope():
        model = models.build(
            "transformer_lm", vocab_size=V, context=T, width=16, layers=1, heads=2
        )
        optimizer = optim.build(Optimizer(lr=1e-2), 5, model.trainable_variables)
    cast = {"policy": model}
    step = make_step(strategy, cast, LanguageModel(), optimizer, parts, 0.5)
    dataset = tf.data.Dataset.from_tensor_slices(batch)
    for row in strategy.experimental_distribute_dataset(dataset.unbatch().batch(B)):
        metrics = step(row)
    total = sum(float(np.abs(np.asarray(v)).sum()) for v in model.weights)
    results.append([float(metrics["loss"]), float(metrics["grad_norm"]), total])
print(json.dumps(results))
"""


def test_replicas_and_parts_agree():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    first, *others = json.loads(done.stdout.splitlines()[-1])
    for other in others:
        np.testing.assert_allclose(other, first, rtol=2e-6)


def small(name="lstm_lm", **fields):
    keras.utils.set_random_seed(0)
    return models.build(name, vocab_size=40, context=8, **fields)


def batches(count, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        ids = rng.integers(0, 40, (4, 9)).astype("int32")
        yield {
            "tokens": tf.constant(ids[:, :-1]),
            "targets": tf.constant(ids[:, 1:]),
            "weights": tf.ones((4, 8)),
        }


def step_of(model, options, **more):
    optimizer = optim.build(options, 20, model.trainable_variables)
    strategy = tf.distribute.get_strategy()
    step = make_step(strategy, {"policy": model}, LanguageModel(), optimizer, **more)
    return step, optimizer


def test_nan_changes_nothing():
    model = small(width=8, units=8, layers=1)
    step, optimizer = step_of(model, Optimizer(lr=0.1))
    good = next(batches(1))
    assert float(step(good)["skipped"]) == 0
    before = [np.asarray(v) for v in model.weights + optimizer.variables]
    bad = {**good, "weights": good["weights"] * np.nan}
    assert float(step(bad)["skipped"]) == 1
    after = [np.asarray(v) for v in model.weights + optimizer.variables]
    for left, right in zip(before, after, strict=True):
        np.testing.assert_array_equal(left, right)
    assert float(step(good)["skipped"]) == 0


def test_clipping_bounds_the_update():
    model = small(width=8, units=8, layers=1)
    before = [np.asarray(v) for v in model.trainable_variables]
    step, _ = step_of(
        model, Optimizer(name="sgd", lr=1.0, decay="constant"), clip_norm=0.01
    )
    assert float(step(next(batches(1)))["grad_norm"]) > 0.01
    moved = [
        np.asarray(v) - b
        for v, b in zip(model.trainable_variables, before, strict=True)
    ]
    norm = np.sqrt(sum((m**2).sum() for m in moved))
    np.testing.assert_allclose(norm, 0.01, rtol=1e-3)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_fused_optimizers_are_keras_own(name):
    options = Optimizer(name=name, lr=3e-3, decay="constant", weight_decay=0.1)
    shapes = [(7, 5), (5,)]
    start = [np.random.default_rng(1).standard_normal(s).astype("f4") for s in shapes]
    ours, theirs = ([keras.Variable(x) for x in start] for _ in range(2))
    mine = optim.build(options, 20, ours)
    kinds = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}
    more = {"weight_decay": 0.1} if name == "adamw" else {}
    peer = kinds[name](3e-3, beta_1=0.9, beta_2=0.95, epsilon=1e-8, **more)
    if more:
        peer.exclude_from_weight_decay(var_list=theirs[1:])
    rng = np.random.default_rng(2)
    for _ in range(20):
        grads = [tf.constant(rng.standard_normal(s), tf.float32) for s in shapes]
        mine.apply(grads, ours)
        peer.apply(grads, theirs)
    for left, right in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(left.numpy(), right.numpy(), rtol=1e-5, atol=1e-6)
