"""Two models on the same examples."""

import json

import numpy as np
import pytest
import tensorflow as tf

import zoo
from trainers.evaluation import language
from trainers.evaluation.comparison import pairwise
from trainers.evaluation.measured import Evaluated, Measured
from trainers.evaluation.sums import row_divergences
from zoo import directory
from zoo.data.formats import Rows
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


def test_answers_by_a_reward(commands, models, pairs, tmp_path):
    args = [f"--source=jsonl:{pairs}", "--format=prompts", "--limit=12"]
    args += ["--max_new_tokens=12", "--temperature=1", "--samples=2"]
    output = tmp_path / "out"
    rewards = ["--rewards=1 length:4 characters", "--rewards=-1 contains:b"]
    compared(commands, models, "a", "sure", *args, *rewards, f"--output={output}")
    found = json.loads((output / "comparison.json").read_text())
    assert found["examples"] == 12 and len(found["samples"]) == 12
    wins = []
    for shown in found["samples"]:
        assert len(shown["a"]) == len(shown["b"]) == 2
        for one, other in zip(shown["a"], shown["b"], strict=True):
            for side in (one, other):
                text = side["answer"]
                value = -abs(len(text) - 4) / 4 - ("b" in text)
                assert side["reward"] == pytest.approx(value)
            wins.append(np.sign(one["reward"] - other["reward"]) / 2 + 0.5)
    rate = found["win_rate"]
    assert rate["value"] == pytest.approx(np.mean(wins))
    assert rate["low"] <= rate["value"] <= rate["high"]
    assert rate["ties"] == pytest.approx(np.mean(np.array(wins) == 0.5))
    for side in "ab":
        mean = np.mean([one["reward"] for row in found["samples"] for one in row[side]])
        assert found["metrics"]["reward"][side] == pytest.approx(mean)
    assert {"reward/length", "reward/contains", "tokens"} <= found["metrics"].keys()
    assert found["kl"]["low"] > 0.1
    page = (output / "comparison.md").read_text()
    assert "a wins" in page and page.count("## Prompt ") == 12
    assert page.count("\n| a | b |\n") == 12


def test_the_divergence_of_two_models(models):
    first, second = (directory.load(models / name) for name in ("a", "sure"))
    rows = [[5, 6, 7, 8, 9], [3, 1, 4]]
    weights = [[0.0, 0, 1, 1, 1], [0.0, 1, 1]]
    given = Rows(
        np.concatenate([np.array(row, np.int32) for row in rows]),
        np.concatenate([np.array(row, np.float32) for row in weights]),
        np.array([0, 5, 8]),
        {},
    )

    def kl(one, other):
        return language.of_each_row(
            lambda dataset: row_divergences(one.model, other.model, dataset), given
        )

    for row, weight, value in zip(rows, weights, kl(first, second), strict=True):
        p, q = (
            tf.nn.log_softmax(loaded.model(tf.constant([row]))[0]).numpy()
            for loaded in (first, second)
        )
        each_T = (np.exp(p) * (p - q)).sum(1)[:-1]
        assert value == pytest.approx((each_T * np.array(weight[1:])).sum(), rel=1e-4)
    assert np.abs(kl(first, first)).max() < 1e-5


def test_answers_of_other_tokenizers_and_refusals(commands, models, pairs):
    args = [f"--source=jsonl:{pairs}", "--limit=4", "--max_new_tokens=4"]
    out = compared(commands, models, "a", "other", *args, "--rewards=1 contains:b")
    assert "a wins " in out and "KL(" not in out and "| reward |" in out
    folders = [f"--a={models}/a", f"--b={models}/other"]
    for more, message in (
        (["--rewards=1 contans:b"], "Did you mean contains?"),
        (["--rewards=1 contains:b", "--metrics=f1"], "--rewards, --metrics: give one"),
        (["--rewards=1 contains:b", "--format=prompt"], "--format: 'prompt'"),
    ):
        done = commands("trainers.compare", *folders, *args, *more)
        assert done.code == 1 and message in done.errors[0]
