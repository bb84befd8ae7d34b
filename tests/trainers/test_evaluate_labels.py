"""Evaluation of models with labels: the numbers that training logged."""

import json

import numpy as np
import pytest

from trainers import loop
from trainers.evaluation import labelled
from trainers.evaluation.request import HeldOut, Request
from trainers.objectives import Classify
from trainers.run import Data, Optimizer, Run
from zoo import directory
from zoo.models import bag_of_words, headed, recurrent_lm

WORDS = {"abj": "O", "cij": "O", "fed": "B-X", "bad": "B-X", "gag": "I-X"}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Sentences with tags, a class and a number."""
    rng = np.random.default_rng(1)
    rows = []
    for i in range(60):
        words = [str(w) for w in rng.choice(list(WORDS), rng.integers(2, 7))]
        tags = [WORDS[w] for w in words]
        # another text each, or equal ones would stay together
        rows.append({"tokens": [*words, f"{i}"], "tags": [*tags, "O"]})
        rows[-1] |= {"text": " ".join([*words, f"{i}"]), "n": len(words) / 2}
        rows[-1]["label"] = ("few", "many")[len(words) > 3]
    path = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def trained(source, tokenizer, workdir, model, **data):
    """The Run, its model, and what its last evaluation logged."""
    tokenizer.save(str(workdir / "vocabulary"))
    own = Data(
        source=f"jsonl:{source}",
        hold_out=0.4,
        batch=8,
        tokenizer=str(workdir / "vocabulary"),
        **data,
    )
    run = Run(
        model=model,
        objective=Classify(),
        data=own,
        optimizer=Optimizer(name="adam", lr=1e-2),
        steps=3,
        eval_every=3,
    )
    result = loop.train(run, workdir / "w")
    return run, directory.load(workdir / "w/model"), result.metrics


def tagger(task="tag"):
    body = recurrent_lm.Config(
        cell="lstm", vocab_size=300, context=24, width=16, units=16, layers=1
    )
    return headed.Config(body=body, task=task, classes=0)


@pytest.mark.parametrize(
    "model, data",
    [
        (
            bag_of_words.Config(vocab_size=300, context=64, ngrams=1, classes=0),
            dict(format="classify"),
        ),
        (tagger(), dict(format="tag")),
        (tagger("regress"), dict(format="classify", fields=("label=n",))),
    ],
    ids=["classify", "tag", "regress"],
)
def test_the_numbers_of_training(model, data, source, tokenizer, tmp_path):
    run, loaded, logged = trained(source, tokenizer, tmp_path, model, **data)
    held_out = HeldOut(run, 0, "w")
    found = labelled.evaluate(
        loaded, Request(held_out=held_out, fields=data.get("fields", ()))
    )
    assert 5 < found.facts["examples"] < 60
    for name in {"loss", "accuracy", "macro_f1", "matthews", "ece", "entity_f1"}:
        if name in logged:
            value = found.measures[name].value
            assert value == pytest.approx(logged[name], rel=1e-4, abs=1e-5), name
    assert set(found.measures) - {"absolute_error"} <= set(logged)
    if loaded.model.config.classes:
        assert found.labels == loaded.model.config.labels
        assert found.confusion_CC is not None and found.confusion_CC.sum() > 5


def test_the_command(commands, source, tokenizer, tmp_path):
    model = bag_of_words.Config(vocab_size=300, context=64, ngrams=1, classes=0)
    trained(source, tokenizer, tmp_path, model, format="classify")
    output = tmp_path / "out"
    done = commands(
        "trainers.evaluate", f"--workdir={tmp_path}/w", f"--output={output}"
    )
    assert done.code == 0 and "macro_f1" in done.out, done.out
    found = json.loads((output / "evaluation.json").read_text())
    assert found["confusion"]["labels"] == ["few", "many"]
    assert (output / "confusion.png").stat().st_size > 1000
    model = f"--model={tmp_path}/w/model"
    args = [model, f"--source=jsonl:{source}"]
    done = commands("trainers.evaluate", *args, "--format=tag")
    assert "--format: 'tag', but the model's task is classify" in done.errors[0]
    done = commands("trainers.evaluate", *args, "--metrics=f1")
    assert "--metrics: f1, but a model with labels" in done.errors[0]
    done = commands("trainers.evaluate", *args, "--fields=label=n")
    assert "--max_bad_rows" in done.out or "line 1: label: 2" in done.errors[0]
