"""The Step: equal numbers however a batch is cut, clipping, NaN, dense gradients."""

import itertools
import json
import pathlib
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers import optimizers
from trainers.objectives import LanguageModel
from trainers.objectives.loss import Loss
from trainers.run import Optimizer
from trainers.step import make_step
from zoo import models

# ---- one and two devices, one and more parts ----


@pytest.fixture(scope="module")
def numbers(commands, tmp_path_factory):
    return computed(commands, tmp_path_factory, "lm", "table with penalties")


@pytest.fixture(scope="module")
def more_numbers(commands, tmp_path_factory):
    return computed(commands, tmp_path_factory, *OTHERS)


OTHERS = ("lm in all ways", "lora", "dpo", "grpo", "ppo", "kto")


def computed(commands, tmp_path_factory, *cases):
    probe = pathlib.Path(__file__).with_name("two_devices.py")
    done = commands(probe, tmp_path_factory.mktemp("two"), *cases)
    assert done.code == 0, done.out
    return json.loads(done.out.splitlines()[-1])


@pytest.mark.parametrize(
    "case, parts",
    [
        ("lm", "2 x 2"),
        *itertools.product(["table with penalties"], ("1 x 4", "2 x 1", "2 x 2")),
    ],
)
def test_parts_and_replicas_change_nothing(numbers, case, parts):
    same(numbers, case, parts)


@pytest.mark.long
@pytest.mark.parametrize(
    "case, parts",
    [
        *itertools.product(("lm in all ways", "lora"), ("1 x 4", "2 x 1", "2 x 2")),
        *itertools.product(("dpo", "grpo", "ppo"), ("2 x 2",)),
        ("kto", "2 x 1"),
    ],
)
def test_parts_and_replicas_of_other_steps_change_nothing(more_numbers, case, parts):
    same(more_numbers, case, parts)


def same(numbers, case, parts):
    whole, cut = numbers[case]["1 x 1"], numbers[case][parts]
    for mine, wanted in zip(cut["metrics"], whole["metrics"], strict=True):
        assert mine.keys() == wanted.keys()
        for name in mine:
            if name == "explained_variance":
                continue  # each part is centred on its own mean
            # a margin is a small difference of large numbers
            near = pytest.approx(wanted[name], rel=2e-6, abs=1e-6)
            assert mine[name] == near, name
    for name in ("weights", "used"):
        np.testing.assert_allclose(cut[name], whole[name], rtol=1e-4, atol=1e-6)
    averages = whole["used"] != whole["weights"]
    assert averages is (case == "table with penalties")


def test_the_batches_were_worth_the_test(numbers):
    """The loss is not what a mean of means would give, and clipping was at work."""
    for case in ("lm", "table with penalties"):
        for metrics in numbers[case]["1 x 1"]["metrics"]:
            assert metrics["grad_norm"] > 0.5 and metrics["skipped"] == 0
    assert numbers["lm"]["1 x 1"]["metrics"][0]["weight"] == 16 + 1 + 9 / 4 + 2 + 16 + 3


def test_a_mirrored_run_resumes_to_the_same_bits(numbers):
    assert numbers["resumed"] is True


def test_evaluation_has_the_rows_of_one_device(numbers):
    """Also where a Run asks for all devices by 0."""
    assert numbers["rows at once"] == [4, 8, 4]


def test_replicas_drop_other_things(numbers):
    first, second, again = numbers["masks"]
    for left, right in (first, second):
        assert 10 < np.sum(np.array(left) != np.array(right)) < 54
    assert first != second and second == again


# ---- one device, a model whose gradients are known ----


class Table(keras.Model):
    """A table of 5 x 2 and a shift of 2; the loss is a sum of (row + shift) * slope."""

    def __init__(self):
        super().__init__()
        self.rows = self.add_weight(shape=(5, 2), initializer="ones", name="rows")
        self.shift = self.add_weight(shape=(2,), initializer="zeros", name="shift")
        self.built = True


class Linear:
    name: ClassVar[str] = "linear"
    trains: ClassVar[tuple[str, ...]] = ("policy",)

    def loss(self, roles, batch, training):
        model = roles["policy"]
        row = tf.gather(tf.convert_to_tensor(model.rows.value), batch["ids"])
        sums = tf.reduce_sum((row + model.shift) * batch["slope"], -1)
        weight = tf.reduce_sum(batch["weights"])
        return Loss(
            tf.reduce_sum(sums * batch["weights"]),
            weight,
            {"half": (weight / 2, weight)},
        )


IDS = np.array([1, 3, 3, 4], np.int32)
SLOPE = np.array([[1, 2], [3, 0], [0, 4], [5, 5]], np.float32)
WEIGHTS = np.array([1, 1, 2, 0], np.float32)
BATCH = {"ids": IDS, "slope": SLOPE, "weights": WEIGHTS}
EACH = SLOPE * WEIGHTS[:, None] / WEIGHTS.sum()
GRADIENT, SHIFT_GRADIENT = np.zeros((5, 2)), EACH.sum(0)
np.add.at(GRADIENT, IDS, EACH)
NORM = np.sqrt((GRADIENT**2).sum() + (SHIFT_GRADIENT**2).sum())


def made(optimizer, **options):
    model = Table()
    optimizer.build(model.trainable_variables)
    strategy = tf.distribute.get_strategy()
    step = make_step(
        strategy,
        {"policy": model},
        Linear(),
        optimizer,
        model.trainable_variables,
        **options,
    )
    return model, step


def values(holder):
    return [np.array(v.value.numpy()) for v in holder.variables]


def test_one_trace_serves_batches_of_all_sizes():
    specs = {k: tf.TensorSpec([None, *x.shape[1:]], x.dtype) for k, x in BATCH.items()}
    model, step = made(keras.optimizers.SGD(0.5), batch_spec=specs)
    other, traced_each = made(keras.optimizers.SGD(0.5))
    for rows in (4, 3, 2):
        batch = {k: x[:rows] for k, x in BATCH.items()}
        assert float(step(batch)["loss"]) == float(traced_each(batch)["loss"])
    assert step.experimental_get_tracing_count() == 1
    assert traced_each.experimental_get_tracing_count() == 3
    np.testing.assert_array_equal(model.rows.value, other.rows.value)


def test_metrics_and_update():
    model, step = made(keras.optimizers.SGD(0.5))
    metrics = {k: float(v) for k, v in step(BATCH).items()}
    loss = (1 + 2 + 3 + 2 * 4) / 4
    assert metrics == pytest.approx(
        {
            "loss": loss,
            "weight": 4.0,
            "grad_norm": NORM,
            "skipped": 0.0,
            "lr": 0.5,
            "half": 0.5,
        }
    )
    np.testing.assert_allclose(values(model)[0], 1 - 0.5 * GRADIENT, rtol=1e-6)


def test_clipping_is_by_the_global_norm():
    model, step = made(keras.optimizers.SGD(1.0), clip_norm=0.25)
    metrics = step(BATCH)
    assert float(metrics["grad_norm"]) == pytest.approx(NORM)  # before clipping
    np.testing.assert_allclose(
        1 - values(model)[0], GRADIENT * 0.25 / NORM, rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(
        values(model)[1], -SHIFT_GRADIENT * 0.25 / NORM, rtol=1e-5
    )


def test_a_small_gradient_is_not_clipped():
    model, step = made(keras.optimizers.SGD(1.0), clip_norm=100.0)
    step(BATCH)
    np.testing.assert_allclose(1 - values(model)[0], GRADIENT, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_a_gradient_that_is_not_finite_changes_nothing(bad, clip_norm):
    optimizer = keras.optimizers.Adam(0.1)
    model, step = made(optimizer, clip_norm=clip_norm)
    assert float(step(BATCH)["skipped"]) == 0
    before = values(model) + values(optimizer)
    slope = SLOPE.copy()
    slope[0, 0] = bad
    metrics = step({**BATCH, "slope": slope})
    assert float(metrics["skipped"]) == 1
    for left, right in zip(values(model) + values(optimizer), before, strict=True):
        np.testing.assert_array_equal(left, right)
    assert float(step(BATCH)["skipped"]) == 0
    assert np.abs(values(model)[0] - before[0]).max() > 0.01
    assert int(optimizer.iterations.numpy()) == 2


def test_the_gradient_of_a_table_is_dense():
    """Row 3 is looked up twice: Adam must see the sum, not the sum of squares."""
    model, step = made(keras.optimizers.Adam(0.1, epsilon=1e-8))
    dense = keras.optimizers.Adam(0.1, epsilon=1e-8)
    other = Table()
    dense.build(other.trainable_variables)
    for _ in range(3):
        step(BATCH)
        grads = [tf.constant(g, tf.float32) for g in (GRADIENT, SHIFT_GRADIENT)]
        dense.apply(grads, other.trainable_variables)
    np.testing.assert_allclose(values(model)[0], values(other)[0], rtol=1e-6)


def test_parts_are_summed():
    whole, once = made(keras.optimizers.SGD(1.0))
    parts, twice = made(keras.optimizers.SGD(1.0), accumulate=2)
    left = {k: float(v) for k, v in once(BATCH).items()}
    right = {k: float(v) for k, v in twice(BATCH).items()}
    assert right == pytest.approx(left, rel=1e-6)
    np.testing.assert_allclose(values(parts)[0], values(whole)[0], rtol=1e-6)


def test_a_batch_of_no_weight_is_skipped_and_counted():
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    model, step = made(optimizer)
    metrics = step({**BATCH, "weights": np.zeros(4, np.float32)})
    assert all(np.isfinite(x) for v in metrics.values() for x in map(float, (*v,)))
    assert float(metrics["skipped"]) == 1 and metrics["loss"].weight == 0
    # AdamW would have decayed the weights and advanced the schedule
    np.testing.assert_array_equal(values(model)[0], np.ones((5, 2)))
    assert int(optimizer.iterations.numpy()) == 0


class Extra(keras.layers.Layer):
    """Adds the mean square of what it sees to the loss."""

    def call(self, x):
        self.add_loss(tf.reduce_mean(x * x))
        return x


class TableWithExtra(Table):
    def __init__(self):
        super().__init__()
        self.extra = Extra()


class LinearWithExtra(Linear):
    def loss(self, roles, batch, training):
        model = roles["policy"]
        model.extra(model.rows.value[:, :1] * batch["slope"][0, 0])
        return super().loss(roles, batch, training)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_extra_loss_has_a_gradient(accumulate):
    model, optimizer = TableWithExtra(), keras.optimizers.SGD(0.5)
    optimizer.build(model.trainable_variables)
    step = make_step(
        tf.distribute.get_strategy(),
        {"policy": model},
        LinearWithExtra(),
        optimizer,
        model.trainable_variables,
        accumulate,
    )
    metrics = step({**BATCH, "slope": np.abs(SLOPE) + 1})
    plain, step = made(keras.optimizers.SGD(0.5))
    wanted = step({**BATCH, "slope": np.abs(SLOPE) + 1})
    # the factors are 2 in the first half, which weighs 2, and 1 in the second
    factor = 4.0 if accumulate == 1 else (2 * 4 + 2 * 1) / 4
    assert float(metrics["loss"]) == pytest.approx(float(wanted["loss"]) + factor)
    moved = values(plain)[0] - values(model)[0]
    np.testing.assert_allclose(moved[:, 0], 0.5 * 2 * factor / 5, rtol=1e-5)
    np.testing.assert_allclose(moved[:, 1], 0, atol=1e-6)


# ---- precision ----


def test_bfloat16_is_near_float32_and_keeps_float32_weights(float32):
    ids = tf.random.stateless_uniform([4, 17], [1, 2], 0, 60, tf.int32)
    batch = {
        "tokens": ids[:, :-1],
        "targets": ids[:, 1:],
        "weights": tf.ones([4, 16]),
    }
    found = {}
    for policy in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy(policy)
        model = models.build(
            "transformer_lm", vocab_size=60, context=16, width=32, layers=1, heads=2
        )
        optimizer = optimizers.build(Optimizer(lr=0.01), 5, model.trainable_variables)
        strategy = tf.distribute.get_strategy()
        step = make_step(
            strategy,
            {"policy": model},
            LanguageModel(),
            optimizer,
            model.trainable_variables,
        )
        metrics = [step(batch) for _ in range(5)]
        found[policy] = [
            (float(m["loss"]), float(m["grad_norm"]), float(m["skipped"]))
            for m in metrics
        ]
        assert {v.dtype for v in model.trainable_variables} == {"float32"}
        assert {v.dtype for v in optimizer.variables[2:]} == {"float32"}
    np.testing.assert_allclose(
        np.array(found["mixed_bfloat16"])[:, :2],
        np.array(found["float32"])[:, :2],
        rtol=0.03,
    )
    losses = [loss for loss, _, _ in found["mixed_bfloat16"]]
    assert losses[-1] < losses[0] and not np.array(found["mixed_bfloat16"])[:, 2].any()
