"""Whole runs of encoder-decoders: what a stop changes, and what evaluation says."""

import dataclasses
import json

import pytest

from trainers import loop
from trainers.evaluation import dispatch
from trainers.evaluation.request import HeldOut, Request
from trainers.objectives import LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo import directory
from zoo.models.encoder_decoder_config import Config

KNOBS = {"max_new_tokens": 6, "temperature": 1.0}


@pytest.fixture(scope="module")
def run(tokenizer, tmp_path_factory):
    """A run of tiny pairs, which samples answers while it trains."""
    folder = tmp_path_factory.mktemp("pairs")
    tokenizer.save(str(folder / "tokenizer"))
    rows = [{"source": f"abc {i} dab", "target": "cab dab"} for i in range(20)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Run(
        model=Config(
            vocab_size=300,
            context=24,
            width=16,
            encoder_layers=1,
            layers=1,
            heads=2,
            dropout=0.2,
        ),
        objective=LanguageModel(),
        data=Data(
            source=f"jsonl:{folder}/rows.jsonl",
            tokenizer=str(folder / "tokenizer"),
            format="seq2seq",
            hold_out=0.2,
            batch=4,
            metrics=("chrf", "pass@2"),
            generation=tuple(f"{name}={value}" for name, value in KNOBS.items()),
        ),
        optimizer=Optimizer(lr=1e-2, decay="constant"),
        steps=4,
        eval_every=4,
    )


@pytest.mark.long
def test_a_stop_changes_no_bit_and_the_command_says_the_same(run, tmp_path):
    loop.train(run, tmp_path / "whole")
    loop.train(dataclasses.replace(run, steps=2), tmp_path / "parts")
    loop.train(run, tmp_path / "parts")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        whole, parts = (tmp_path / w / "model" / name for w in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes(), name
    lines = (tmp_path / "whole/metrics.jsonl").read_text().splitlines()
    evaluations = [x for x in map(json.loads, lines) if x["split"] == "eval"]
    best = min(evaluations, key=lambda line: line["loss"])
    request = Request(
        held_out=HeldOut(run, 0, "w"),
        format="seq2seq",
        metrics=run.data.metrics,
        knobs=KNOBS,
    )
    loaded = directory.load(tmp_path / "whole/model")
    found = dispatch.evaluated(loaded, "model", request)
    assert found.facts["samples"] == 2 and found.facts["examples"] == 4
    for name in ("loss", *run.data.metrics):
        assert best[name] == pytest.approx(found.measures[name].value, rel=1e-5), name


def test_span_corruption_is_learnt(run, tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join(["abc dab cab fab " * 9] * 40))
    data = Data(source=f"text:{tmp_path}/a.txt", format="span_corruption", batch=8)
    model = dataclasses.replace(run.model, vocab_size=277)
    learnt = dataclasses.replace(run, model=model, data=data, steps=30, eval_every=30)
    found = loop.train(learnt, tmp_path / "w")
    lines = (tmp_path / "w/metrics.jsonl").read_text().splitlines()
    assert found.metrics["loss"] < json.loads(lines[0])["loss"] - 1
