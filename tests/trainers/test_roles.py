"""Roles: where each model of a method comes from, and what of them learns."""

import dataclasses
import json
from typing import ClassVar

import numpy as np
import pytest
import safetensors
import tensorflow as tf

from trainers import checkpoint, loop, objectives, optimizers, roles, workdir
from trainers.objectives import Classify
from trainers.objectives.loss import Loss
from trainers.run import Data, Optimizer, Run
from trainers.step import make_step
from zoo import directory, models, registry
from zoo.models import dense_net, headed, text_encoder

RUN = Run(
    model=dense_net.Config(features=30, classes=2, widths=(8,), dropout=0.2),
    objective=Classify(),
    data=Data(source="sklearn:breast_cancer", batch=32, hold_out=0.2),
    optimizer=Optimizer(lr=0.01),
    steps=3,
)


@dataclasses.dataclass(kw_only=True)
class NearStart:
    """Keeps the logits near those of another model, by the mean squared error."""

    name: ClassVar[str] = "near_start"
    trains: ClassVar[tuple[str, ...]] = ("policy",)
    feed: ClassVar[str] = "labels"
    reference: str = "start"

    @property
    def needs(self):
        return {"reference": self.reference, "policy": "model"}

    def loss(self, roles, batch, training):
        x = batch["features"]
        wanted = roles["reference"](x, training=False)
        logits = roles["policy"](x, training=training)
        errors_B = tf.reduce_sum(tf.square(logits - wanted), -1)
        total = tf.reduce_sum(errors_B * batch["weights"])
        return Loss(total, tf.reduce_sum(batch["weights"]), {})


def values(model):
    return [np.array(w) for w in model.get_weights()]


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def test_a_frozen_copy_of_the_start():
    run = dataclasses.replace(RUN, objective=NearStart())
    made = roles.make(run, roles.start(run))
    assert same(values(made["policy"]), values(made["reference"]))
    learning = roles.learning(run, made)
    assert learning == made["policy"].trainable_variables
    assert not made["reference"].trainable_variables
    changing = roles.changing(run, made, learning)
    assert set(changing) == {"policy"} and len(changing["policy"]) > len(learning)


def test_a_copy_stays_and_the_other_learns(tmp_path):
    run = dataclasses.replace(RUN, objective=NearStart())
    made = roles.make(run, roles.start(run))
    before = values(made["policy"])
    variables = roles.learning(run, made)
    optimizer = optimizers.build(run.optimizer, 3, variables)
    strategy = tf.distribute.get_strategy()
    step = make_step(strategy, made, run.objective, optimizer, variables)
    x = np.ones((4, 30), np.float32)
    for _ in range(3):  # dropout moves the policy away from the copy
        step({"features": tf.constant(x), "weights": tf.ones(4)})
    assert same(values(made["reference"]), before)
    assert not same(values(made["policy"]), before)


def test_an_objective_is_added_as_the_guide_says(tmp_path, monkeypatch):
    """A class in `BY_NAME`: the loop trains it, stops, goes on, and ends."""
    monkeypatch.setitem(objectives.BY_NAME, "near_start", NearStart)
    run = dataclasses.replace(RUN, objective=NearStart(), eval_every=1, save_every=2)
    loop.train(run, tmp_path / "w")
    assert workdir.read(tmp_path / "w") == run
    rows = map(json.loads, (tmp_path / "w/metrics.jsonl").read_text().splitlines())
    losses = [row["loss"] for row in rows if row["split"] == "eval"]
    assert losses[0] == 0 and losses[-1] > 0  # near the copy, which dropout leaves
    newest = tmp_path / "w/checkpoints/00000003"
    (newest / "state.json").unlink()
    end = (tmp_path / "w/model/model.safetensors").read_bytes()
    loop.train(run, tmp_path / "w")
    assert (tmp_path / "w/model/model.safetensors").read_bytes() == end
    assert not any(name.startswith("reference") for name in stored(newest))


def test_a_model_of_a_directory(tmp_path):
    other = models.build("dense_net", features=30, widths=(5,))
    directory.save(tmp_path / "other", other)
    run = dataclasses.replace(
        RUN, objective=NearStart(reference=str(tmp_path / "other"))
    )
    made = roles.make(run, roles.start(run))
    assert same(values(made["reference"]), values(other))
    with pytest.raises(ValueError, match="there is no such model directory"):
        run = dataclasses.replace(RUN, objective=NearStart(reference="/no/such"))
        roles.make(run, roles.start(run))


def test_what_learns_comes_from_the_run():
    class Both(NearStart):
        trains = ("policy", "reference")

    run = dataclasses.replace(RUN, objective=Both())
    with pytest.raises(ValueError, match="the role 'reference' learns, so its source"):
        roles.make(run, roles.start(run))


def test_init_from_alone_is_the_model(tmp_path):
    """Statistics of the features stay those of the first training."""
    loop.train(RUN, tmp_path / "w")
    run = dataclasses.replace(
        RUN,
        model=None,
        init_from=str(tmp_path / "w/model"),
        data=Data(source="sklearn:breast_cancer", batch=8, hold_out=0.5),
    )
    loop.train(run, tmp_path / "again")
    first = directory.load(tmp_path / "w/model").model
    second = directory.load(tmp_path / "again/model").model
    assert first.config == second.config
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.deviation, second.deviation)
    assert not same(values(first), values(second))
    with pytest.raises(ValueError, match="config.model: None; give a model"):
        loop.train(dataclasses.replace(run, init_from=""), tmp_path / "x")


def test_freeze(tmp_path):
    run = dataclasses.replace(RUN, freeze=("hidden_*/kernel",))
    loop.train(dataclasses.replace(run, steps=1), tmp_path / "one")
    loop.train(run, tmp_path / "three")
    one = directory.load(tmp_path / "one/model").model
    three = directory.load(tmp_path / "three/model").model
    np.testing.assert_array_equal(one.hidden[0].kernel, three.hidden[0].kernel)
    assert not np.array_equal(one.head.kernel, three.head.kernel)
    names = " ".join(stored(tmp_path / "three/checkpoints/00000003"))
    assert names.count("kernel") == 3  # of the head: itself and two slots


def stored(folder):
    with safetensors.safe_open(folder / "state.safetensors", "np") as file:
        return list(file.keys())


@pytest.mark.parametrize(
    "patterns, words",
    [
        (("hiden/*",), "config.freeze: 'hiden/\\*' fits no weight"),
        (("*",), "leaves nothing to learn"),
    ],
)
def test_freeze_refuses(tmp_path, patterns, words):
    with pytest.raises(ValueError, match=words):
        loop.train(dataclasses.replace(RUN, freeze=patterns), tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_shared_variable_learns_once():
    model = models.build("dense_net", features=3)
    run = dataclasses.replace(RUN)

    class Twice(Classify):
        needs: ClassVar = {"policy": "model", "value": "model"}
        trains: ClassVar = ("policy", "value")

    run.objective = Twice()
    made = {"policy": model, "value": model}
    variables = roles.learning(run, made)
    assert len(variables) == len({id(v) for v in variables}) == 4
    owners = roles.changing(run, made, variables)
    assert all(name.startswith("policy/") for name in checkpoint.named(owners))


@pytest.mark.parametrize("best", ["+accuracy", "loss"])
def test_best_by_another_metric(tmp_path, best):
    run = dataclasses.replace(RUN, steps=6, eval_every=1, best=best)
    loop.train(run, tmp_path / "w")
    rows = map(json.loads, (tmp_path / "w/metrics.jsonl").read_text().splitlines())
    name = best.removeprefix("+")
    found = [row[name] for row in rows if row["split"] == "eval"]
    state = json.loads((tmp_path / "w/checkpoints/00000006/state.json").read_text())
    assert state["loop"]["best"] == (max if best[0] == "+" else min)(found)


def test_best_refuses_a_metric_that_is_not_there(tmp_path):
    run = dataclasses.replace(RUN, eval_every=1, best="+acuracy")
    with pytest.raises(ValueError, match=r"config.best: '\+acuracy'; one of accuracy"):
        loop.train(run, tmp_path / "w")


@pytest.mark.parametrize("from_head", [False, True])
def test_a_head_on_a_pretrained_body(tmp_path, from_head):
    body = text_encoder.Config(vocab_size=30, context=8, width=8, layers=1, heads=2)
    model = registry.build_config(
        headed.Config(body=body, classes=3) if from_head else body
    )
    directory.save(tmp_path / "body", model)
    run = dataclasses.replace(
        RUN,
        model=headed.Config(body=None, task="tag", classes=0),
        init_from=str(tmp_path / "body"),
    )
    start = roles.start(run)
    assert start.body_only and start.config.body.width == 8
    start = roles.with_labels(start, ("O", "B-X"))
    made = roles.make(run, start)["policy"]
    assert made.config.labels == ("O", "B-X") and made.config.classes == 2
    wanted = model.body if from_head else model
    tokens = tf.constant([[3, 4, 5]])
    np.testing.assert_array_equal(made.body.features(tokens), wanted.features(tokens))
    with pytest.raises(ValueError, match="config.model.body: None; give a model"):
        loop.train(dataclasses.replace(run, init_from=""), tmp_path / "x")


def test_labels_must_fit_the_classes():
    start = roles.Start(headed.Config(classes=3))
    with pytest.raises(ValueError, match="config.model.classes: 3, but .* 2 labels"):
        roles.with_labels(start, ("a", "b"))
    assert roles.with_labels(start, ()) is start
