"""The best of n sampled answers, as a file that a run learns from."""

import json
import math
import re

import numpy as np
import pytest
import tensorflow as tf
from small_configs import CHATML

import zoo
from trainers.evaluation.comparison import rewarded
from trainers.evaluation.request import Request
from zoo import directory
from zoo.data import formats, sources
from zoo.text import tokenizer as tokenizers

CONFIG = dict(vocab_size=300, context=64, width=16, layers=1, heads=2)


@pytest.fixture(scope="module")
def model(tokenizer, tmp_path_factory):
    tf.keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("models") / "model"
    made = tokenizers.Tokenizer(
        tokenizer.json, {**tokenizer.config, "chat_template": CHATML}
    )
    directory.save(folder, zoo.build("transformer_lm", **CONFIG), made)
    return folder


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    path = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    rows = [{"question": f"abc {i}", "answer": "xyz"[i % 3]} for i in range(12)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def lines(path):
    return path.read_text().splitlines()


def best(commands, model, source, output, *args):
    return commands(
        "trainers.best_of_n",
        f"--model={model}",
        f"--source=jsonl:{source}",
        "--format=prompts",
        "--max_new_tokens=40",
        f"--output={output}",
        *args,
    )


def test_the_best_is_written_and_learnt(commands, model, questions, tmp_path):
    args = ["--fields=prompt=question", "--n=16"]
    args += ["--rewards=1 length:6 characters", "--rewards=0.5 contains:b"]
    done = best(commands, model, questions, tmp_path / "one.jsonl", *args)
    assert done.code == 0, done.out
    assert [p.name for p in tmp_path.iterdir()] == ["one.jsonl"]
    rows = [json.loads(line) for line in lines(tmp_path / "one.jsonl")]
    assert 3 < len(rows) <= 12
    assert len({row["prompt"] for row in rows}) == len(rows)
    for row in rows:
        size = len(row["completion"])
        part = -abs(size - 6) / 6 + 0.5 * ("b" in row["completion"])
        assert row["reward"] == pytest.approx(part)
    assert f"at most {math.log(16) - 15 / 16:.4f} nats" in done.out
    one, top = map(
        float, re.findall(r"^reward of .*?  +(-?[0-9.]+)", done.out, re.MULTILINE)
    )
    assert one < top
    loaded = directory.load(model)
    read = formats.rows.read(
        list(sources.numbered(f"jsonl:{tmp_path / 'one.jsonl'}")),
        formats.BY_NAME["prompt"],
        loaded.tokenizer,
        64,
    )
    assert read.counts["read"] == len(rows) and read.counts["bad"] == 0


def test_all_above_a_threshold(commands, model, questions, tmp_path):
    args = ["--fields=prompt=question", "--n=16", "--threshold=1", "--limit=6"]
    args += ["--rewards=1 contains:b", "--rewards=0 length:5"]
    done = best(commands, model, questions, tmp_path / "one.jsonl", *args)
    assert done.code == 0, done.out
    rows = [json.loads(line) for line in lines(tmp_path / "one.jsonl")]
    assert rows and all("b" in row["completion"] for row in rows)
    pairs = [(row["prompt"], row["completion"]) for row in rows]
    assert len(set(pairs)) == len(pairs)
    share = float(re.search(r"at least 1\)  ([0-9.]+)", done.out)[1])
    found = dict(re.findall(r"(pass@\d+) ([0-9.]+)", done.out))
    assert float(found["pass@1"]) == share and list(found) == [
        f"pass@{k}" for k in (1, 2, 4, 8, 16)
    ]
    assert float(found["pass@16"]) >= float(found["pass@2"]) >= share
    assert "nats" not in done.out


def test_chats(commands, model, tmp_path):
    path = tmp_path / "chats.jsonl"
    rows = [{"prompt": [{"role": "user", "content": f"abc {i}"}]} for i in range(4)]
    path.write_text("\n".join(map(json.dumps, rows)))
    args = ["--n=16", "--rewards=1 repetition"]
    done = best(commands, model, path, tmp_path / "one.jsonl", *args)
    assert done.code == 0, done.out
    rows = [json.loads(line) for line in lines(tmp_path / "one.jsonl")]
    assert [m["role"] for m in rows[0]["messages"]] == ["user", "assistant"]


def test_nothing_is_written(commands, model, questions, tmp_path):
    output = tmp_path / "out.jsonl"
    args = ["--fields=prompt=question", "--limit=2", "--n=2"]
    for more, message in (
        (["--rewards=1 contans:b"], "Did you mean contains?"),
        (["--rewards=1 number_after:####"], "'xyz'[0]|no number after '####'"),
        (["--rewards=1 contains:b", "--threshold=2"], "nothing is written"),
        (["--rewards=1 contains:b", "--format=chat"], "--format: 'chat'"),
        (["--rewards=1 contains:b", "--n=0"], "--n: 0, at least 1"),
    ):
        done = best(commands, model, questions, output, *args, *more)
        assert done.code == 1 and re.search(message, done.errors[0]), done.out
        assert not list(tmp_path.iterdir())
    output.write_text("mine")
    done = best(commands, model, questions, output, *args, "--rewards=1 contains:b")
    assert done.code == 1 and "exists" in done.errors[0]
    assert output.read_text() == "mine"


def test_samples_keep_the_sampled_tokens(model, questions):
    loaded = directory.load(model)
    request = Request(source=f"jsonl:{questions}", fields=("prompt=question",))
    prompts = rewarded.prompts_of(loaded, "x", request)
    assert [prompt.number for prompt in prompts] == list(range(12))

    class Ends:
        weights = np.array([2.0])

        def __call__(self, samples):
            return np.array([[float(sample.ended)] for sample in samples])

    knobs = {"max_new_tokens": 40, "temperature": 1.0}
    found = rewarded.answered(loaded, prompts, Ends(), knobs, 2)
    ended = 0
    for answered in found:
        for sample, finished in zip(answered.samples, answered.finished, strict=True):
            tokens = answered.prompt.tokens
            assert sample.tokens[: sample.start] == tokens
            assert sample.ended == finished
            assert sample.ended == (sample.tokens[-1] == loaded.tokenizer.end_id)
            assert sample.length == len(sample.tokens) - len(tokens) - sample.ended
            assert sample.example["answer"] in "xyz"
            ended += sample.ended
        assert answered.reward_N.tolist() == [2 * s.ended for s in answered.samples]
    assert ended
