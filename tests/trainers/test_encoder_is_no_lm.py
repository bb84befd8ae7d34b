"""A text encoder where a language model is needed: one clear error."""

import pathlib

import pytest

from trainers import feeds, roles
from trainers.objectives.language_model import LanguageModel
from trainers.run import Run
from zoo.models import text_encoder

ROOT = pathlib.Path(__file__).parents[2]
ENCODER = ROOT / "tests/zoo/directory/families/encoders/bert"


def test_the_command_refuses_it(commands):
    done = commands("zoo.generate", f"--model={ENCODER}", "--prompt=x")
    assert done.code == 1
    assert done.errors == [f"error: --model: {ENCODER} is no language model."]


def test_an_audit_refuses_it(commands):
    args = f"--model={ENCODER}", "--audit=bias", "--pairs=pairs.jsonl"
    done = commands("trainers.evaluate", *args)
    assert done.code == 1
    assert done.errors == [
        f"error: --model: {ENCODER} is no language model with a tokenizer."
    ]


def test_the_objective_refuses_it(corpus):
    run = Run(model=text_encoder.Config(), objective=LanguageModel())
    run.data.source = f"text:{corpus}"
    with pytest.raises(ValueError, match="^config.model: .*text_encoder sees"):
        feeds.make(run, roles.start(run))
