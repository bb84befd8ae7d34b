"""The Run: to JSON and back, and every value that no run can have."""

import copy
import dataclasses
import json

import pytest

from trainers import objectives
from trainers import run as config
from trainers.objectives import Classify, LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo.models import dense_net, recurrent_lm, transformer_lm

RUNS = {
    "lm": Run(
        model=transformer_lm.Config(context=64, gated=True, dropout=0.1),
        objective=LanguageModel(label_smoothing=0.1),
        data=Data(source="text:a.txt", clean=("newlines", "trim"), batch=12),
        optimizer=Optimizer(name="sgd", lr=1 / 3, momentum=0.9),
        steps=10,
        accumulate=3,
        seed=2**32 - 1,
    ),
    "gru": Run(
        model=recurrent_lm.Config(cell="gru"), objective=LanguageModel(), epochs=2
    ),
    "table": Run(
        model=dense_net.Config(labels=("a", "b"), widths=(3, 4)),
        objective=Classify(),
        steps=1,
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_json_and_back(name):
    run = RUNS[name]
    value = json.loads(json.dumps(config.to_json(run), allow_nan=False))
    again = config.from_json(value, objectives.BY_NAME)
    assert again == run and type(again.model) is type(run.model)
    assert config.to_json(again) == value
    assert not config.differences(value, config.to_json(again))


def test_the_name_of_a_model_is_kept():
    assert config.to_json(RUNS["gru"])["model"]["name"] == "gru_lm"


def test_json_is_not_changed_by_reading():
    value = config.to_json(RUNS["lm"])
    before = copy.deepcopy(value)
    config.from_json(value, objectives.BY_NAME)
    assert value == before


@pytest.mark.parametrize(
    "path, value, words",
    [
        ("stepz", 3, "Unknown field config.stepz. Did you mean steps?"),
        ("data.bach", 3, "Unknown field config.data.bach. Did you mean batch?"),
        ("optimizer.learning_rate", 1.0, "Did you mean lr?"),
        ("optimizer.lr", float("nan"), "config.optimizer.lr: nan is not a finite"),
        ("optimizer.lr", -1.0, "optimizer.lr: -1.0, at least 0"),
        ("optimizer.lr", "1", "config.optimizer.lr: '1' is a str, expected float"),
        ("optimizer.name", "adamm", "'adamm'. Did you mean adam?"),
        ("optimizer.beta_2", 1.0, "optimizer.beta_2: 1.0, at least 0 and below 1"),
        ("optimizer.decay", "linear", "optimizer.decay: 'linear'. Allowed: constant"),
        ("data.batch", 0, "config.data.batch: 0, at least 1"),
        ("data.batch", 16, "config.data.batch: 16, a multiple of replicas 1 x acc"),
        ("data.length", 65, "config.data.length: 65, at most the model's context 64"),
        ("data.hold_out", 1.0, "config.data.hold_out: 1.0"),
        ("data.clean", ["trim", 3], "config.data.clean[1]: 3 is a int"),
        ("precision", "float16", "config.precision: 'float16'. Did you mean bfloat16?"),
        ("steps", 0, "config.steps: 0, config.epochs: 0; one must be above 0"),
        ("epochs", 3, "config.steps: 10, config.epochs: 3; set one of the two to 0"),
        ("steps", 1.5, "config.steps: 1.5 is a float, expected int"),
        ("seed", -1, "config.seed: -1"),
        ("seed", 2**32, "config.seed: 4294967296, below 2^32"),
        ("accumulate", 0, "config.accumulate: 0, at least 1"),
        ("save_every", -1, "config.save_every: -1"),
        ("clip_norm", -0.5, "config.clip_norm: -0.5"),
        ("patience", 2, "config.patience: 2 needs eval_every"),
        ("model.name", "transformer", "Did you mean transformer_lm?"),
        ("model.widht", 3, "Unknown field transformer_lm.widht. Did you mean width?"),
        ("model.width", 100, "heads: 6 does not divide width 100"),
        ("objective.name", "clasify", "Unknown objective 'clasify'. Did you mean"),
        ("objective.smooth", 1, "Unknown field language_model.smooth"),
    ],
)
def test_refuses(path, value, words):
    fields = config.to_json(RUNS["lm"])
    holder, parts = fields, path.split(".")
    for part in parts[:-1]:
        holder = holder[part]
    holder[parts[-1]] = value
    with pytest.raises(ValueError) as error:
        config.from_json(fields, objectives.BY_NAME)
    assert words in str(error.value)


def test_differences():
    left = {"a": 1, "b": {"c": 2, "d": [1]}, "e": 3}
    right = {"a": 1, "b": {"c": 3, "d": [1]}, "f": 3}
    assert config.differences(left, right) == [
        "b.c: 2 -> 3",
        "e: 3 -> None",
        "f: None -> 3",
    ]


def test_fields_can_be_set_one_by_one():
    """The command line does so, which frozen classes would refuse."""
    run = dataclasses.replace(RUNS["lm"])
    run.steps, run.optimizer.name = 20, "adam"
    assert run.steps == 20
