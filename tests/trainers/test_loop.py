"""The loop: what it writes, keeps, stops at, and survives."""

import dataclasses
import errno
import json
import math
import shutil
import signal
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

from trainers import checkpoint, evaluation, feeds, loop, optimizers, roles, workdir
from trainers import step as step_lib
from trainers.objectives import Classify, LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo import directory
from zoo.models import dense_net, transformer_lm

TABLE = Run(
    model=dense_net.Config(features=30, classes=2, widths=(8,), dropout=0.2),
    objective=Classify(),
    data=Data(source="sklearn:breast_cancer", batch=32, hold_out=0.2),
    optimizer=Optimizer(lr=0.01),
    steps=12,
    log_every=5,
    eval_every=4,
    save_every=3,
)


def but(**changes):
    return dataclasses.replace(TABLE, **changes)


def lines(folder, split=None):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    text = (folder / "metrics.jsonl").read_text()
    rows = [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    return [row for row in rows if split in (None, row["split"])]


def ending(folder):
    """All that must be equal: the weights, and each logged loss with all digits."""
    losses = [(r["step"], r["split"], r["loss"]) for r in lines(folder)]
    return (folder / "model/model.safetensors").read_bytes(), losses


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an uninterrupted run of TABLE ends with."""
    folder = tmp_path_factory.mktemp("whole") / "w"
    return loop.train(TABLE, folder), folder, ending(folder)


def test_what_a_workdir_holds(whole):
    result, folder, _ = whole
    assert {p.name for p in folder.iterdir()} == {
        "checkpoints",
        "metrics.jsonl",
        "model",
        "run.json",
        "tensorboard",
    }
    assert [(r["step"], r["split"]) for r in lines(folder)] == [
        (0, "eval"),
        (4, "eval"),
        (5, "train"),
        (8, "eval"),
        (10, "train"),
        (12, "train"),
        (12, "eval"),
    ]
    train = lines(folder, "train")[-1]
    names = {"loss", "accuracy", "grad_norm", "lr", "skipped", "weight", "data_wait"}
    assert names | {"rows_per_second"} <= train.keys()
    assert result.step == 12 and not result.interrupted
    assert result.metrics == {
        k: v for k, v in lines(folder)[-1].items() if k not in ("step", "split")
    }
    assert list((folder / "tensorboard").iterdir())


def test_model_is_the_best_evaluation(whole):
    _, folder, _ = whole
    best = min(r["loss"] for r in lines(folder, "eval"))
    model = directory.load(folder / "model").model
    feed = feeds.make(TABLE, roles.start(TABLE))
    found = feed.evaluate({"policy": model})
    assert found["loss"] == pytest.approx(best, rel=1e-6)


def test_the_same_seed_gives_the_same_bits(whole, tmp_path):
    loop.train(TABLE, tmp_path / "w")
    assert ending(tmp_path / "w") == whole[2]


class Stop(BaseException):
    """As sudden as a kill, as far as the files of the workdir go."""


def stop_at(monkeypatch, number, act):
    """Has the step of the given number call `act` after its work."""
    make = step_lib.make_step

    def counting(*args):
        step, count = make(*args), [0]

        def call(batch):
            count[0] += 1
            metrics = step(batch)
            if count[0] == number:
                act()
            return metrics

        call.get_concrete_function = step.get_concrete_function
        return call

    monkeypatch.setattr(loop, "make_step", counting)


def crash():
    raise Stop


def events(folder):
    """(step, tag, description) of each summary, in the order of the files."""
    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        data = tf.data.TFRecordDataset(str(path))
        for record in data.with_options(no_autotuning()).as_numpy_iterator():
            event = event_pb2.Event.FromString(record)
            if event.graph_def:
                found.append((event.step, "graph", ""))
            for value in event.summary.value:
                about = value.metadata.summary_description
                found.append((event.step, value.tag, about))
    return found


def no_autotuning():
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def test_tensorboard_has_each_step_once(whole, tmp_path, monkeypatch):
    """Also after two kills, one of them in the middle of a record."""
    for number in (8, 4):
        with monkeypatch.context() as patch:
            stop_at(patch, number, crash)
            with pytest.raises(Stop):
                loop.train(TABLE, tmp_path / "w")
        newest = sorted((tmp_path / "w/tensorboard").iterdir())[-1]
        half = (64).to_bytes(8, "little") + b"half a record"
        newest.write_bytes(newest.read_bytes() + half)
    loop.train(TABLE, tmp_path / "w")
    found, wanted = events(tmp_path / "w"), events(whole[1])
    assert found == wanted and len(set(found)) == len(found)
    assert [step for step, tag, _ in found if tag == "train/loss"] == [5, 10, 12]
    assert [step for step, _, _ in found] == sorted(step for step, _, _ in found)


def test_tensorboard_explains(whole):
    found = events(whole[1])
    tags = {tag for _, tag, _ in found}
    assert {"run", "graph", "_hparams_/session_start_info"} <= tags
    scalars = [(tag, about) for _, tag, about in found if "/" in tag and tag[0] != "_"]
    assert {"train/loss", "eval/accuracy", "train/lr"} <= {tag for tag, _ in scalars}
    assert all(len(about) > 10 for _, about in scalars)


@pytest.mark.parametrize("number", [2, 5, 11])
def test_a_crash_changes_nothing(whole, tmp_path, monkeypatch, number):
    with monkeypatch.context() as patch:
        stop_at(patch, number, crash)
        with pytest.raises(Stop):
            loop.train(TABLE, tmp_path / "w")
    loop.train(TABLE, tmp_path / "w")
    assert ending(tmp_path / "w") == whole[2]


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_changes_nothing(whole, tmp_path, monkeypatch, name):
    before = signal.getsignal(name)
    with monkeypatch.context() as patch:
        stop_at(patch, 7, lambda: signal.raise_signal(name))
        result = loop.train(TABLE, tmp_path / "w")
    assert (result.interrupted, result.step) == (name, 7)
    assert signal.getsignal(name) is before
    assert (tmp_path / "w/checkpoints/00000007").is_dir()
    assert loop.train(TABLE, tmp_path / "w").step == 12
    assert ending(tmp_path / "w") == whole[2]


def test_trains_in_a_thread_and_restores_the_dtype_policy(tmp_path):
    """Where Python allows no signal handlers; the policy is the caller's."""
    results = []

    def work():
        results.append(loop.train(but(precision="bfloat16", steps=2), tmp_path / "w"))

    before = keras.config.dtype_policy().name
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [r.step for r in results] == [2]
    assert keras.config.dtype_policy().name == before
    with pytest.raises(ValueError, match="config.replicas: 16"):
        loop.train(but(precision="bfloat16", replicas=16), tmp_path / "x")
    assert keras.config.dtype_policy().name == before


def test_a_finished_run_returns_at_once(whole):
    result, folder, end = whole
    assert loop.train(TABLE, folder) == result
    assert ending(folder) == end


def test_a_finished_run_goes_on_with_more_steps(tmp_path):
    """At a constant rate; the weights are those of one longer run."""
    constant = but(optimizer=Optimizer(lr=0.01, decay="constant"), eval_every=0)
    loop.train(constant, tmp_path / "w")
    longer = dataclasses.replace(constant, steps=20)
    assert loop.train(longer, tmp_path / "w").step == 20
    assert loop.train(longer, tmp_path / "w").step == 20
    loop.train(longer, tmp_path / "whole")
    assert ending(tmp_path / "w")[0] == ending(tmp_path / "whole")[0]
    with pytest.raises(ValueError, match="steps: 20 -> 12"):
        loop.train(constant, tmp_path / "w")


def test_a_cosine_says_how_to_go_on(whole):
    _, folder, end = whole
    with pytest.raises(ValueError, match="steps: 12 -> 20. Only .*init_from=.*/model"):
        loop.train(but(steps=20), folder)
    assert ending(folder) == end


def test_a_folder_without_permission_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(feeds, "make", lambda *_: crash())
    monkeypatch.setattr(workdir.os, "access", lambda place, _: place != tmp_path)
    with pytest.raises(ValueError, match="a/w: cannot be written: no permission in"):
        loop.train(TABLE, tmp_path / "a/w")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("x")
    with pytest.raises(ValueError, match="full: is not empty"):
        loop.train(TABLE, tmp_path / "full")


@pytest.mark.parametrize("place", ["checkpoints", "model"])
def test_a_full_disk_is_one_line(tmp_path, monkeypatch, place):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = {"checkpoints": checkpoint, "model": directory}[place]
    monkeypatch.setattr(owner, "save", full)
    with pytest.raises(ValueError, match=f"w/{place}: cannot be written: No space"):
        loop.train(TABLE, tmp_path / "w")


def test_a_finished_run_without_logs_does_so_too(tmp_path):
    run = but(log_every=0, eval_every=0, steps=1)
    assert loop.train(run, tmp_path / "w") == loop.Result(1, {})
    assert loop.train(run, tmp_path / "w") == loop.Result(1, {})
    assert not lines(tmp_path / "w") and (tmp_path / "w/model").is_dir()


@pytest.mark.parametrize("line", ["{broken", "[1]", '{"loss": 1}'])
def test_a_broken_log_is_named(whole, tmp_path, line):
    shutil.copytree(whole[1], tmp_path / "w")
    path = tmp_path / "w/metrics.jsonl"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([rows[0], line, *rows[2:], ""]))
    (tmp_path / "w/checkpoints/00000012/state.json").write_text("{}")
    with pytest.raises(ValueError, match="metrics.jsonl, line 2: is broken"):
        loop.train(TABLE, tmp_path / "w")


def test_data_that_changed_between_two_starts(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    rows = [f"{i},{i % 3},{'yes' if i % 2 else 'no'}" for i in range(40)]
    path.write_text("\n".join(["a,b,label", *rows]))
    run = but(
        model=dense_net.Config(features=2, classes=2),
        data=Data(source=f"csv:{path}", batch=8),
    )
    with monkeypatch.context() as patch:
        stop_at(patch, 5, crash)
        with pytest.raises(Stop):
            loop.train(run, tmp_path / "w")
    before = path.read_bytes()
    path.write_bytes(before.replace(b"7,1,yes", b"7,1,no"))
    with pytest.raises(ValueError, match="t.csv: .* bytes became .*Restore them"):
        loop.train(run, tmp_path / "w")
    path.write_bytes(before)
    assert loop.train(run, tmp_path / "w").step == 12


def test_a_damaged_end_is_done_again(whole, tmp_path):
    loop.train(TABLE, tmp_path / "w")
    newest = tmp_path / "w/checkpoints/00000012/state.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    loop.train(TABLE, tmp_path / "w")
    assert ending(tmp_path / "w") == whole[2]


def test_another_run_is_refused(whole):
    _, folder, end = whole
    with pytest.raises(ValueError, match=r"differs in: optimizer.lr: 0.01 -> 0.02"):
        loop.train(but(optimizer=Optimizer(lr=0.02)), folder)
    assert ending(folder) == end


def test_a_refused_run_leaves_nothing(tmp_path):
    for run, words in (
        (but(data=Data(source="sklearn:iris")), "the table has 3 classes"),
        (but(replicas=16), "config.replicas: 16, at most"),
        (but(init_from=str(tmp_path / "no")), "no such model directory"),
        (but(steps=0), "config.steps: 0"),
    ):
        with pytest.raises(ValueError, match=words):
            loop.train(run, tmp_path / "w")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("epochs, steps", [(1, 15), (10, 143), (16, 228)])
def test_epochs_are_passes(tmp_path, monkeypatch, epochs, steps):
    """455 rows in batches of 32: the passes are not rounded up one by one."""
    monkeypatch.setattr(optimizers, "build", lambda options, count, *_: stop(count))

    def stop(count):
        raise Stop(count)

    with pytest.raises(Stop) as error:
        loop.train(but(steps=0, epochs=epochs), tmp_path / "w")
    assert error.value.args == (steps,)


def test_stops_early(tmp_path, capsys):
    # nothing is learnt at a rate of 0, so nothing is better than before the first step
    run = but(optimizer=Optimizer(lr=0.0), eval_every=1, patience=2, steps=50)
    assert loop.train(run, tmp_path / "w").step == 2
    assert "no better for 2 evaluations" in capsys.readouterr().out
    assert loop.train(run, tmp_path / "w").step == 2
    assert len(lines(tmp_path / "w", "eval")) == 3


def test_an_early_stop_counts_through_a_crash(tmp_path, monkeypatch):
    run = but(
        optimizer=Optimizer(lr=0.0), eval_every=2, save_every=2, patience=3, steps=50
    )
    with monkeypatch.context() as patch:
        stop_at(patch, 5, crash)
        with pytest.raises(Stop):
            loop.train(run, tmp_path / "w")
    assert loop.train(run, tmp_path / "w").step == 6


def test_a_step_that_is_not_finite_is_told_and_survived(tmp_path, monkeypatch):
    """Every third batch is poisoned: the numbers of its step are no numbers."""
    make = feeds.make

    def poisoned(run, start):
        feed = make(run, start)

        def train(number, roles):
            def poison(i, batch):
                bad = tf.where(i % 3 == 2, np.nan, 1.0)
                return {**batch, "features": batch["features"] * bad}

            numbers = tf.data.Dataset.range(number, 2**62)
            return tf.data.Dataset.zip(numbers, feed.train(number, roles)).map(poison)

        return feed._replace(train=train)

    monkeypatch.setattr(feeds, "make", poisoned)
    result = loop.train(TABLE, tmp_path / "w")
    rows = lines(tmp_path / "w", "train")
    assert [r["skipped"] for r in rows] == [1 / 5, 2 / 5, 1 / 2]
    assert all(math.isfinite(v) for r in rows for k, v in r.items() if k != "split")
    assert math.isfinite(result.metrics["loss"])
    assert loop.train(TABLE, tmp_path / "w") == result


def test_an_evaluation_that_is_not_finite_is_never_the_best(tmp_path, monkeypatch):
    make = evaluation.make_evaluate
    values = iter([math.nan, 0.5, math.inf, 0.75])

    def broken(*args):
        evaluate = make(*args)
        return lambda *data: {**evaluate(*data), "loss": next(values)}

    monkeypatch.setattr(evaluation, "make_evaluate", broken)
    loop.train(TABLE, tmp_path / "w")
    assert [r["loss"] for r in lines(tmp_path / "w", "eval")] == [None, 0.5, None, 0.75]
    state = json.loads((tmp_path / "w/checkpoints/00000012/state.json").read_text())
    assert state["loop"]["best"] == 0.5 and state["loop"]["worse"] == 2


def test_starts_from_a_model_directory(whole, tmp_path):
    _, folder, _ = whole
    still = Optimizer(name="sgd", lr=0.0)
    run = but(init_from=str(folder / "model"), optimizer=still, steps=1)
    run = dataclasses.replace(run, model=dataclasses.replace(run.model, dropout=0.5))
    loop.train(run, tmp_path / "w")
    first = directory.load(folder / "model").model
    second = directory.load(tmp_path / "w/model").model
    for left, right in zip(
        first.trainable_weights, second.trainable_weights, strict=True
    ):
        np.testing.assert_array_equal(left, right)


def test_another_model_is_no_start(whole, tmp_path):
    _, folder, _ = whole
    model = dataclasses.replace(TABLE.model, widths=(9,))
    with pytest.raises(ValueError) as error:
        loop.train(but(model=model, init_from=str(folder / "model")), tmp_path / "w")
    assert "config.init_from" in str(error.value)
    assert "widths: [9] -> [8]" in str(error.value).replace("(", "[").replace(",)", "]")
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("context", [1, 8])
def test_a_language_model_of_a_short_context(corpus, tmp_path, context):
    """Its sample is as long as the context, it shows, and it is its own start."""
    run = Run(
        model=transformer_lm.Config(
            vocab_size=300, context=context, width=8, layers=1, heads=2
        ),
        objective=LanguageModel(),
        data=Data(source=f"text:{corpus}", batch=4),
        steps=2,
        eval_every=1,
        log_every=1,
    )
    result = loop.train(run, tmp_path / "w")
    assert result.metrics.keys() == {"loss", "perplexity", "bits_per_byte"}
    if context == 8:
        again = dataclasses.replace(run, init_from=str(tmp_path / "w/model"))
        better = loop.train(again, tmp_path / "again")
        assert better.metrics["loss"] < result.metrics["loss"]
        loaded = directory.load(tmp_path / "again/model")
        assert (
            loaded.tokenizer.json == directory.load(tmp_path / "w/model").tokenizer.json
        )
