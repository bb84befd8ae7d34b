"""Every file of configs/ builds, survives JSON, and learns for two steps, shrunk."""

import ast
import dataclasses
import importlib
import json
import pathlib

import pytest

from trainers import loop, objectives
from trainers import run as config
from zoo import directory, models
from zoo.text import tokenizer

ROOT = pathlib.Path(__file__).parents[1]
NAMES = sorted(p.stem for p in (ROOT / "configs").glob("*.py") if p.stem != "__init__")
SMALL = {
    "vocab_size": 300,
    "context": 16,
    "width": 32,
    "units": 32,
    "layers": 1,
    "heads": 2,
    "kv_heads": 0,
    "head_width": 0,
    "mlp_width": 0,
    "widths": (8,),
}


def run_of(name):
    return importlib.import_module(f"configs.{name}").get_config()


def test_there_are_configs():
    assert {"lm_transformer", "lm_lstm", "lm_gru", "dense_breast_cancer"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_survives_json(name):
    run = run_of(name)
    config.check(run)
    text = json.dumps(config.to_json(run), allow_nan=False)
    again = config.from_json(json.loads(text), objectives.BY_NAME)
    assert again == run
    assert type(again.model) is type(run.model)
    assert json.dumps(config.to_json(again)) == text


@pytest.mark.parametrize("name", NAMES)
def test_says_how_it_is_run(name):
    tree = ast.parse((ROOT / "configs" / f"{name}.py").read_text(encoding="utf-8"))
    assert f"trainers.train --config=configs/{name}.py" in ast.get_docstring(tree)


def pretrained(corpus, folder):
    """A model directory that a run can start from."""
    fields = {
        k: SMALL[k] for k in ("vocab_size", "context", "width", "layers", "heads")
    }
    model = models.build("transformer_lm", **fields)
    directory.save(folder, model, tokenizer.train([corpus.read_text()], 300))
    return str(folder)


def shrunk(model):
    """The Config with small sizes, also those of its body."""
    fields = {f.name for f in dataclasses.fields(model)} & SMALL.keys()
    changes = {k: SMALL[k] for k in fields}
    if getattr(model, "body", None) is not None:
        changes["body"] = shrunk(model.body)
    return dataclasses.replace(model, **changes)


def labelled(format, folder):
    """A file of texts, or of words, with labels."""
    rows = [
        {"text": f"abc {i}", "label": "no"}
        if format == "classify"
        else {"tokens": ["abc", f"{i}"], "tags": ["a", "b"]}
        for i in range(9)
    ]
    rows += [{**row, "label": "yes"} for row in rows if format == "classify"]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return f"jsonl:{path}"


@pytest.mark.parametrize("name", NAMES)
def test_learns(name, corpus, tmp_path, float32):
    run = run_of(name)
    if run.model is None:
        run.init_from = pretrained(corpus, tmp_path / "pretrained")
    else:
        run.model = shrunk(run.model)
    if name == "lm_keras_hub":
        run.model.settings["vocabulary_size"] = 300
    if type(run.objective).feed == "text":
        run.data.source = f"text:{corpus}"
    elif run.data.format != "lm":
        run.data.source = labelled(run.data.format, tmp_path)
        tokenizer.train([corpus.read_text()], 300).save(str(tmp_path / "tokenizer"))
        run.data.tokenizer = str(tmp_path / "tokenizer")
    run.data.batch = 2 * run.accumulate
    run.data.length = 0
    run.steps, run.epochs, run.log_every, run.eval_every = 2, 0, 1, 0
    result = loop.train(run, tmp_path / "w")
    assert result.step == 2
    lines = (tmp_path / "w/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    assert all(json.loads(line)["skipped"] == 0 for line in lines)
    assert (tmp_path / "w/model/model.safetensors").exists()
