"""Every file of configs/ builds, survives JSON, and learns for two steps, shrunk."""

import ast
import json

import pytest
from small_configs import NAMES, ROOT, run_of, small_run

from trainers import loop, objectives
from trainers import run as config


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


@pytest.mark.parametrize("name", NAMES)
def test_learns(name, corpus, tmp_path, float32):
    run = small_run(name, corpus, tmp_path)
    result = loop.train(run, tmp_path / "w")
    assert result.step == 2
    lines = (tmp_path / "w/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    assert all(json.loads(line)["skipped"] == 0 for line in lines)
    assert (tmp_path / "w/model/model.safetensors").exists()
