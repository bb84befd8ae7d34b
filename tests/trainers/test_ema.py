"""The averages of the weights: their formula, what they change and what not."""

import dataclasses
import pathlib

import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from trainers import evaluation, loop, optimizers
from trainers import step as step_lib
from trainers.objectives import Classify
from trainers.run import Data, Optimizer, Run
from zoo import directory
from zoo.data import batches, splits
from zoo.models import dense_net

SHAPES = ((4, 3), (5,), ())
STEPS = 6
DATA = Data(source="sklearn:breast_cancer", batch=32, hold_out=0.2)
RUN = Run(
    model=dense_net.Config(features=30, classes=2, widths=(8,), dropout=0.2),
    objective=Classify(),
    data=DATA,
    optimizer=Optimizer(lr=0.02, ema=0.9),
    steps=12,
    log_every=5,
    eval_every=12,
    save_every=3,
)


def followed(options):
    """The weights after each step, and optimizer and variables at the end."""
    variables = [
        keras.Variable(tf.random.stateless_normal(shape, [i, 1]), name=f"v{i}")
        for i, shape in enumerate(SHAPES)
    ]
    optimizer = optimizers.build(options, STEPS, variables)

    @tf.function(autograph=False)
    def step(noise):
        grads = [tf.sin(3 * v.value) + n for v, n in zip(variables, noise, strict=True)]
        optimizer.apply(grads, variables)

    seen = []
    for i in range(STEPS):
        step([tf.random.stateless_normal(s, [i, 5], stddev=0.3) for s in SHAPES])
        seen.append([v.value.numpy() for v in variables])
    return seen, optimizer, variables


@pytest.mark.parametrize("name", ["adam", "adamw", "muon", "sgd"])
def test_the_average_of_each_optimizer(name):
    options = Optimizer(name=name, lr=0.05, ema=0.8)
    plain, _, _ = followed(dataclasses.replace(options, ema=0.0))
    seen, optimizer, variables = followed(options)
    for left, right in zip(plain, seen, strict=True):  # training is as without
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a, b)
    share_N = 0.8 ** np.arange(STEPS)[::-1]
    share_N /= share_N.sum()
    wanted = [
        sum(share * weights[i] for share, weights in zip(share_N, seen, strict=True))
        for i in range(len(SHAPES))
    ]
    assert np.abs(wanted[0] - seen[-1][0]).max() > 0.01
    with optimizers.averaged(optimizer, variables):
        for variable, value in zip(variables, wanted, strict=True):
            np.testing.assert_allclose(variable.value, value, rtol=2e-6, atol=1e-6)
    for variable, value in zip(variables, seen[-1], strict=True):
        np.testing.assert_array_equal(variable.value, value)


def test_a_long_average_of_few_steps_is_their_mean():
    seen, optimizer, variables = followed(Optimizer(lr=0.05, ema=0.99999))
    with optimizers.averaged(optimizer, variables):
        wanted = np.mean([weights[0] for weights in seen], 0)
        np.testing.assert_allclose(variables[0].value, wanted, rtol=1e-4)


def test_before_the_first_step_there_is_no_average():
    variable = keras.Variable(tf.ones([2, 2]), name="v")
    optimizer = optimizers.build(Optimizer(ema=0.9), 1, [variable])
    with optimizers.averaged(optimizer, [variable]):
        np.testing.assert_array_equal(variable.value, np.ones([2, 2]))


def test_an_error_in_the_block_puts_the_weights_back():
    seen, optimizer, variables = followed(Optimizer(lr=0.05, ema=0.9))
    with pytest.raises(KeyError), optimizers.averaged(optimizer, variables):
        raise KeyError
    np.testing.assert_array_equal(variables[0].value, seen[-1][0])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "w"
    return loop.train(RUN, folder), folder


def kept(folder: pathlib.Path):
    return (folder / "model/model.safetensors").read_bytes()


def test_the_kept_model_is_the_average(whole):
    result, folder = whole
    state = safetensors.numpy.load_file(
        folder / "checkpoints/00000012/state.safetensors"
    )
    averages = [x for name, x in state.items() if "average" in name]
    weights = [x for name, x in state.items() if name.startswith("policy/")]
    model = directory.load(folder / "model").model
    values = [v.value.numpy() for v in model.trainable_weights]
    assert len(averages) == len(values)
    for value in values:
        assert any(np.array_equal(value, x) for x in averages)
    kernel = values[0]
    assert not any(np.array_equal(kernel, x) for x in weights)
    # and it was evaluated
    _, table = splits.table(DATA.source, "", DATA.hold_out, (), 2)
    dataset, _ = batches.table_eval(table.features_NF, table.labels_N, 32)
    metrics = evaluation.make_evaluate(Classify())({"policy": model}, dataset)
    assert metrics["loss"] == pytest.approx(result.metrics["loss"], rel=1e-6)


def test_the_weights_that_learn_are_those_of_a_run_without(whole, tmp_path):
    plain = dataclasses.replace(RUN, optimizer=Optimizer(lr=0.02))
    loop.train(plain, tmp_path / "w")
    left, right = (
        safetensors.numpy.load_file(folder / "checkpoints/00000012/state.safetensors")
        for folder in (whole[1], tmp_path / "w")
    )
    names = [name for name in right if name.startswith("policy/")]
    assert names and kept(whole[1]) != kept(tmp_path / "w")
    for name in names:
        np.testing.assert_array_equal(left[name], right[name])


class Stop(BaseException):
    """As sudden as a kill, as far as the files of the workdir go."""


def test_a_crash_changes_nothing(whole, tmp_path, monkeypatch):
    make = step_lib.make_step

    def stopping(*args):
        step, calls = make(*args), []

        def call(batch):
            calls.append(batch)
            if len(calls) == 8:
                raise Stop
            return step(batch)

        call.get_concrete_function = step.get_concrete_function
        return call

    with monkeypatch.context() as patch:
        patch.setattr(loop, "make_step", stopping)
        with pytest.raises(Stop):
            loop.train(RUN, tmp_path / "w")
    loop.train(RUN, tmp_path / "w")
    assert kept(tmp_path / "w") == kept(whole[1])


@pytest.mark.parametrize("ema", [-0.1, 1.0])
def test_a_momentum_out_of_range(ema):
    with pytest.raises(ValueError, match="optimizer.ema: .* below 1 allowed"):
        Optimizer(ema=ema)
