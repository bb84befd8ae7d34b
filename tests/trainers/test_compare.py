"""Two models on the same examples."""

import json

import numpy as np
import pytest
import tensorflow as tf

import zoo
from trainers.evaluation import pairwise
from trainers.evaluation.measured import Evaluated, Measured
from zoo import directory
from zoo.text import tokenizer as tokenizers

CONFIG = dict(vocab_size=300, context=64, width=16, layers=1, heads=2)


@pytest.fixture(scope="module")
def models(tokenizer, corpus, tmp_path_factory):
    """Folders: a model, one that is sure of wrong tokens, one of another tokenizer."""
    folder = tmp_path_factory.mktemp("models")
    tf.keras.utils.set_random_seed(0)
    model = zoo.build("transformer_lm", **CONFIG)
    directory.save(folder / "a", model, tokenizer)
    other = tokenizers.train([corpus.read_text()[:3000]], 290)
    directory.save(folder / "other", model, other)
    for weight in model.trainable_weights:
        weight.assign(weight * 4)
    directory.save(folder / "sure", model, tokenizer)
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {"prompt": f"abc {i}", "completion": "cab dah" * (1 + i % 4)} for i in range(30)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def compared(commands, models, a, b, *args):
    done = commands("trainers.compare", f"--a={models / a}", f"--b={models / b}", *args)
    assert done.code == 0, done.out
    return done.out


def test_models_that_differ_and_that_do_not(commands, models, pairs, corpus, tmp_path):
    rows = [f"--source=jsonl:{pairs}", "--format=prompt"]
    output = tmp_path / "out"
    compared(commands, models, "a", "sure", *rows, f"--output={output}")
    found = json.loads((output / "comparison.json").read_text())
    assert found["examples"] == 30
    for name in ("loss", "perplexity", "bits_per_byte"):
        metric = found["metrics"][name]
        assert metric["differ"] and metric["p_value"] < 0.01
        assert metric["a"] - metric["b"] == pytest.approx(metric["difference"])
        assert metric["low"] <= metric["difference"] <= metric["high"]
    assert "| loss |" in (output / "comparison.md").read_text()
    short = tmp_path / "short.txt"
    short.write_text(corpus.read_text()[:3000])
    text = [f"--source=text:{short}", "--length=32"]
    out = compared(commands, models, "a", "sure", *text)
    assert out.count("| yes |") == 3
    generated = ["--limit=8", "--max_new_tokens=3", "--metrics=f1,bleu"]
    out = compared(commands, models, "a", "a", *rows, *generated)
    assert out.count("| +0.0000 | +0.0000 to +0.0000 | 1.0000 | no |") == 5


def test_models_with_other_tokenizers(commands, models, pairs, corpus):
    rows = [f"--source=jsonl:{pairs}", "--format=prompt"]
    out = compared(commands, models, "a", "other", *rows)
    assert "| bits_per_byte |" in out and "| loss |" not in out
    folders = [f"--a={models}/a", f"--b={models}/other"]
    done = commands("trainers.compare", *folders, f"--source=text:{corpus}")
    assert done.code == 1 and "--a, --b: have other tokenizers" in done.errors[0]


def test_rows_are_paired_by_example():
    def of(numbers):
        rows = np.array([10.0 * n for n in numbers])
        return Evaluated("x", {}, {"f1": Measured(rows)}, numbers=tuple(numbers))

    found = pairwise.differences(of([0, 2, 3, 7]), of([2, 3, 5, 7]), True)
    assert found["examples"] == 3
    assert found["metrics"]["f1"]["a"] == found["metrics"]["f1"]["b"] == 40
    with pytest.raises(ValueError, match="share no example"):
        pairwise.differences(of([0]), of([1]), True)


def test_other_windows_are_refused():
    rows = {"loss": Measured(np.ones(3))}
    three, four = (Evaluated("x", {"window": n}, rows) for n in (3, 4))
    with pytest.raises(ValueError, match="read in other ways"):
        pairwise.differences(three, four, True)
