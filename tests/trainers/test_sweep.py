"""Sweeps: the plan, the ranking, the files, and what a stop or a failure changes."""

import dataclasses
import json
import types

import pytest
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.hparams import (
    api_pb2,
    backend_context,
    get_experiment,
    list_session_groups,
)

from trainers.objectives import Classify
from trainers.run import Data, Optimizer, Run
from trainers.sweeps import plan, results
from trainers.sweeps.results import Trial
from zoo.models import dense_net

RUN = Run(
    model=dense_net.Config(features=30, classes=2, widths=(8,)),
    objective=Classify(),
    data=Data(source="sklearn:breast_cancer", batch=32, hold_out=0.2),
    optimizer=Optimizer(lr=0.01),
    steps=4,
    eval_every=2,
)

# ---- the plan ----


def test_values_are_json_or_text():
    found = plan.parse(
        ["optimizer.lr=1e-3,3e-4", "model.widths=[8],[4,4]", "optimizer.name=sgd,adam"]
    )
    assert found == {
        "optimizer.lr": [1e-3, 3e-4],
        "model.widths": [[8], [4, 4]],
        "optimizer.name": ["sgd", "adam"],
    }
    (two,) = plan.parse(['data.source="a,b",c']).values()
    assert two == ["a,b", "c"]


@pytest.mark.parametrize(
    "overs, words",
    [
        ([], "--over: missing"),
        (["lr"], "FIELD=VALUE,VALUE allowed"),
        (["lr=1,,2"], "FIELD=VALUE,VALUE allowed"),
        (["=1"], "FIELD=VALUE,VALUE allowed"),
        (["seed=1", "seed=2"], "seed is given twice"),
        (["seed=1,1"], "has a value twice"),
        (["best=loss,+accuracy"], "best must be the same"),
    ],
)
def test_overs_that_are_wrong(overs, words):
    with pytest.raises(ValueError) as error:
        plan.parse(overs)
    assert words in str(error.value)


OVER = {"a": [1, 2, 3], "b": ["x", "y"]}


def test_a_grid_has_all_combinations():
    found = plan.trials(OVER)
    assert [(p["a"], p["b"]) for p in found] == [
        (a, b) for a in (1, 2, 3) for b in ("x", "y")
    ]
    with pytest.raises(ValueError, match="--trials: 3; the grid has 6"):
        plan.trials(OVER, count=3)


def test_random_draws_different_ones_and_goes_on():
    four, five = (plan.trials(OVER, "random", n, seed=1) for n in (4, 5))
    assert five[:4] == four and len({str(p) for p in five}) == 5
    assert four != plan.trials(OVER, "random", 4, seed=2)
    for count, words in ((0, "at least 1"), (7, "at most 6 combinations")):
        with pytest.raises(ValueError, match=words):
            plan.trials(OVER, "random", count)


def test_an_override_is_checked():
    run = plan.override(RUN, {"optimizer.lr": 1, "model.widths": [4, 4], "seed": 3})
    assert run.optimizer.lr == 1.0 and run.model.widths == (4, 4) and run.seed == 3
    assert dataclasses.replace(run, seed=0).data == RUN.data
    for path, words in (
        ("optimizer.lrr", "Did you mean lr?"),
        ("optim.lr", "Did you mean optimizer?"),
        ("seed.x", "seed is 0"),
    ):
        with pytest.raises(ValueError, match="--over: no field") as error:
            plan.check(RUN, {path: [1]})
        assert words in str(error.value)
    with pytest.raises(ValueError, match="optimizer.lr"):
        plan.override(RUN, {"optimizer.lr": -1})


# ---- the results ----


def lines(folder, *rows):
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text)


def row(step, split, **metrics):
    return {"step": step, "split": split, **metrics}


def test_the_score_of_a_trial(tmp_path):
    rows = (
        row(0, "eval", loss=0.1, accuracy=0.99),  # before training
        row(5, "train", loss=0.2),
        row(5, "eval", loss=0.5, accuracy=0.7),
        row(10, "eval", loss=0.4, accuracy=0.8),
        row(15, "eval", loss=0.6, accuracy=0.9),
        row(20, "eval", loss=None, accuracy=0.1),
    )
    lines(tmp_path / "w", *rows)
    trial = Trial("t", {})
    found = results.finished(trial, tmp_path / "w", "loss")
    assert (found.score, found.step, found.split) == (0.4, 10, "eval")
    found = results.finished(trial, tmp_path / "w", "+accuracy")
    assert (found.score, found.step, found.status) == (0.9, 15, "done")
    lines(tmp_path / "w", row(5, "train", loss=0.2), row(9, "train", loss=0.3))
    found = results.finished(trial, tmp_path / "w", "loss")
    assert (found.score, found.step, found.split) == (0.3, 9, "train")


def test_the_best_is_first():
    trials = [
        Trial("a", {"x": 1}, "done", 0.5, 3, "eval"),
        Trial("b", {"x": "p|q"}, "failed", error="too\nlong"),
        Trial("c", {"x": [2]}, "done", 0.7, 3, "eval"),
    ]
    assert [t.name for t in results.ranked(trials, "loss")] == ["a", "c", "b"]
    assert [t.name for t in results.ranked(trials, "+f")] == ["c", "a", "b"]
    assert results.rows(trials, "+f")[:2] == [
        ["trial", "x", "f", "step", "status"],
        ["c", "[2]", "0.7", "3", "done"],
    ]
    text = results.markdown(trials, "loss").splitlines()
    assert text[0] == "| trial | x | loss | step | status |"
    assert text[-1] == "| b | p\\|q |  |  | failed: too long |"


# ---- the command ----


def arguments(workdir, *more):
    return [
        "--config=configs/dense_breast_cancer.py",
        f"--workdir={workdir}",
        "--config.epochs=0",
        "--config.steps=6",
        "--config.eval_every=3",
        "--config.save_every=2",
        *more,
    ]


OVERS = ("--over=optimizer.lr=0.01,0.3", '--over=model.activation=relu,"no such"')


@pytest.fixture(scope="module")
def done(commands, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("sweep") / "s"
    done = commands("trainers.sweep", *arguments(workdir, *OVERS))
    return done, workdir


def read(workdir):
    return json.loads((workdir / "sweep.json").read_text())


def test_a_sweep(done):
    done, workdir = done
    assert done.code == 0, done.out
    trials = read(workdir)["results"]
    assert [t["status"] for t in trials] == ["done", "failed", "done", "failed"]
    assert [t["values"]["optimizer.lr"] for t in trials] == [0.01, 0.01, 0.3, 0.3]
    assert "'no such'" in trials[1]["error"]
    assert not (workdir / "trial_001").exists()
    rows = (workdir / "trial_002/metrics.jsonl").read_text().splitlines()
    losses = [
        r["loss"] for r in map(json.loads, rows) if r["split"] == "eval" and r["step"]
    ]
    assert len(losses) == 2 and trials[2]["score"] == min(losses)
    first = min(trials[::2], key=lambda t: t["score"])["name"]
    text = (workdir / "sweep.md").read_text().splitlines()
    assert text[0].startswith("| trial | optimizer.lr | model.activation | loss |")
    assert text[2].startswith(f"| {first} |")
    assert f"best: {workdir}/{first}/model" in done.out
    assert (workdir / first / "model/config.json").exists()


def test_it_goes_on_and_tries_failed_trials_again(done, commands):
    _, workdir = done
    before = read(workdir)
    stamp = (workdir / "trial_000/metrics.jsonl").stat().st_mtime_ns
    weights = (workdir / "trial_002/model/model.safetensors").read_bytes()
    value = json.loads(json.dumps(before))
    value["results"][2] = {
        **value["results"][2],
        "status": "planned",
        "score": None,
    }
    (workdir / "sweep.json").write_text(json.dumps(value))
    again = commands("trainers.sweep", *arguments(workdir, *OVERS))
    assert again.code == 0, again.out
    assert "trial_001: failed" in again.out and "trial_000: {" not in again.out
    assert read(workdir) == before
    assert (workdir / "trial_000/metrics.jsonl").stat().st_mtime_ns == stamp
    assert (workdir / "trial_002/model/model.safetensors").read_bytes() == weights


def test_another_sweep_is_refused(done, commands):
    _, workdir = done
    before = read(workdir)
    other = commands("trainers.sweep", *arguments(workdir, OVERS[0]))
    assert other.code == 1 and "differs in: over" in other.errors[0]
    unknown = commands("trainers.sweep", *arguments(workdir, "--over=sed=1"))
    assert unknown.code == 1 and "Did you mean seed?" in unknown.errors[0]
    assert read(workdir) == before


def test_a_strange_folder_is_refused(tmp_path, commands):
    (tmp_path / "thesis.txt").write_text("years of work")
    refused = commands("trainers.sweep", *arguments(tmp_path, *OVERS))
    assert refused.code == 1 and "is not empty" in refused.errors[0]
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_tensorboard_shows_the_table(done):
    """One logdir over the sweep has a session for each trial, with its values."""
    _, workdir = done
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(workdir))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(workdir))
    context = backend_context.Context(types.SimpleNamespace(data_provider=provider))
    request = RequestContext()
    asked = api_pb2.GetExperimentRequest(include_metrics=True)
    experiment = get_experiment.Handler(request, context, "", asked).run()
    names = {info.name for info in experiment.hparam_infos}
    assert {"optimizer.lr", "model.activation"} <= names
    metrics = {(info.name.group, info.name.tag) for info in experiment.metric_infos}
    assert ("", "eval/loss") in metrics
    asked = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=10, allowed_statuses=[0, 1, 2, 3]
    )
    groups = list_session_groups.Handler(request, context, "", asked).run()
    rates = sorted(
        g.hparams["optimizer.lr"].number_value for g in groups.session_groups
    )
    assert rates == [0.01, 0.3]
