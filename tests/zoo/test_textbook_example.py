"""The example of docs/tasks.md: a new head on a pretrained model, trained by Keras."""

import pathlib
import re

import numpy as np
import pytest

import zoo
from zoo.models import text_encoder
from zoo.text import encoder_tokenizer

PAGE = pathlib.Path(__file__).parents[2] / "docs/tasks.md"
GOOD, BAD = ("what a fine day", "a good king"), ("a bad night", "what bad luck")


@pytest.fixture
def folder(tmp_path):
    """A small text encoder as a model directory."""
    texts = [*GOOD, *BAD] * 20
    tokenizer = encoder_tokenizer.train(texts, 270)
    config = text_encoder.Config(
        vocab_size=270, context=32, width=16, layers=1, heads=2
    )
    zoo.save(tmp_path / "model", zoo.registry.build_config(config), tokenizer)
    return str(tmp_path / "model")


@pytest.mark.parametrize("optimizer", ["Adam(1e-2)", "SGD(0.1, momentum=0.9)"])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_textbook_example(folder, tmp_path, optimizer, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 14
    assert '"DIR"' in code and "Adam(1e-3)" in code
    code = code.replace('"DIR"', repr(folder)).replace("Adam(1e-3)", optimizer)
    monkeypatch.chdir(tmp_path)
    names = {"texts": [*GOOD, *BAD] * 8, "labels": np.array([1, 1, 0, 0] * 8)}
    exec(compile(code, "docs/tasks.md", "exec"), names)
    assert names["history"].history["accuracy"][-1] == 1.0
    loaded = zoo.load(tmp_path / "reviews")
    assert loaded.model.config.labels == ("bad", "good")
