"""Metrics of generated answers while a language model trains."""

import dataclasses
import json

import pytest
import tensorflow as tf

import zoo
from trainers import loop, objectives
from trainers.evaluation import language
from trainers.evaluation.request import HeldOut, Request
from trainers.objectives import LanguageModel
from trainers.run import Data, Optimizer, Run, from_json, to_json
from zoo import directory

NAMES = ("exact_match", "f1", "chrf", "rougeL")


@pytest.fixture(scope="module")
def run(tokenizer, tmp_path_factory):
    """A run that learns one answer to every question."""
    tf.keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("start")
    model = zoo.build(
        "transformer_lm", vocab_size=300, context=32, width=16, layers=1, heads=2
    )
    directory.save(folder / "model", model, tokenizer)
    rows = [{"prompt": f"abc {i}", "completion": "cab"} for i in range(30)]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    data = Data(
        source=f"jsonl:{path}",
        format="prompt",
        hold_out=0.2,
        batch=8,
        metrics=NAMES,
        generation=("max_new_tokens=6",),
    )
    return Run(
        objective=LanguageModel(),
        data=data,
        optimizer=Optimizer(lr=3e-2, decay="constant", weight_decay=0.0),
        init_from=str(folder / "model"),
        steps=40,
        eval_every=20,
        best="+exact_match",
    )


def changed(run, **fields):
    return dataclasses.replace(run, data=dataclasses.replace(run.data, **fields))


def evaluations(path):
    rows = map(json.loads, (path / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if row["split"] == "eval"]


def test_what_training_says_is_what_the_command_says(run, tmp_path):
    result = loop.train(run, tmp_path / "w")
    found = evaluations(tmp_path / "w")
    assert [row["step"] for row in found] == [0, 20, 40]
    assert found[0]["exact_match"] == 0 and found[-1]["exact_match"] == 1
    assert result.metrics["chrf"] == pytest.approx(100)
    request = Request(
        held_out=HeldOut(run, 32, "w"),
        format="prompt",
        metrics=NAMES,
        knobs={"max_new_tokens": 6},
    )
    # the kept model is the first of the best by exact match
    best = next(row for row in found if row["exact_match"] == 1)
    loaded = directory.load(tmp_path / "w/model")
    measures = language.evaluate(loaded, request).measures
    for name in (*NAMES, "loss"):
        assert best[name] == pytest.approx(measures[name].value, rel=1e-5), name


def test_few_rows_are_answered(run, monkeypatch, tmp_path):
    prompts = []
    sampled = language.answers.sampled

    def counted(loaded, given, *rest):
        prompts.append(len(given))
        return sampled(loaded, given, *rest)

    monkeypatch.setattr(language.answers, "sampled", counted)
    short = changed(dataclasses.replace(run, steps=1), metric_rows=2)
    loop.train(short, tmp_path / "w")
    assert prompts == [2, 2]


def test_several_samples(run, tmp_path):
    sampling = ("max_new_tokens=4", "temperature=1.0")
    short = dataclasses.replace(run, steps=1, best="+pass@2")
    short = changed(short, metrics=("pass@2",), generation=sampling, metric_rows=3)
    loop.train(short, tmp_path / "w")
    assert all(0 <= row["pass@2"] <= 1 for row in evaluations(tmp_path / "w"))


def test_an_older_run_has_none(run):
    value = to_json(run)
    for name in ("metrics", "metric_rows", "generation"):
        del value["data"][name]
    assert from_json(value, objectives.BY_NAME).data.metrics == ()


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"metrics": ("exact",)}, "config.data.metrics: 'exact'. Did you mean exact_m"),
        ({"format": "lm"}, "config.data.metrics: .* are of generated answers"),
        ({"metrics": ()}, "config.data.generation: .* but config.data.metrics is emp"),
        ({"hold_out": 0.0}, "config.data.metrics: .* but nothing is held out"),
        ({"metrics": ("final_number",)}, "config.data.metrics: final_number, but the "),
        ({"metrics": ("pass@2",)}, "config.data.generation: temperature 0 makes all 2"),
        ({"generation": ("max_tokens=2",)}, "config.data.generation: 'max_tokens'"),
        ({"generation": ("top_k=a",)}, "config.data.generation: 'top_k=a', top_k=NUM"),
        ({"generation": ("top_p=2",)}, "config.data.generation: top_p: 2.0"),
        (
            {"generation": ("max_new_tokens=99",)},
            "config.data.generation: max_new_tokens 99, at most .* allowed",
        ),
        ({"metric_rows": -1}, "config.data.metric_rows: -1"),
    ],
)
def test_what_is_refused(fields, words, run, tmp_path):
    with pytest.raises(ValueError, match=words):
        loop.train(changed(run, **fields), tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_metrics_need_evaluations(run, tmp_path):
    without = dataclasses.replace(run, eval_every=0)
    with pytest.raises(ValueError, match="config.data.metrics: .* needs eval_every"):
        loop.train(without, tmp_path / "w")
