"""Runs on packed rows and on mixtures: they learn, and a stop changes no bit."""

import dataclasses
import json
import pathlib
import shutil

import pytest

import zoo
from trainers import feeds, loop
from trainers import roles as roles_lib
from trainers.objectives import Classify, LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo import directory
from zoo.models import dense_net

FIELDS = {"vocab_size": 300, "context": 64, "layers": 1}


@pytest.fixture(scope="module")
def start(tokenizer, tmp_path_factory):
    """The directory of a tiny Transformer."""
    model = zoo.build("transformer_lm", **FIELDS, width=16, heads=2)
    folder = tmp_path_factory.mktemp("start") / "model"
    directory.save(folder, model, tokenizer)
    return str(folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two files of questions and answers, and two of text."""
    folder = tmp_path_factory.mktemp("data")
    for name, count in (("a", 40), ("b", 12)):
        rows = [
            {"prompt": f"abc {name} {i}", "completion": " ".join(["cab"] * (1 + i % 4))}
            for i in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        text = "\n".join(f"{name} bad cab {i}" for i in range(10 * count))
        (folder / f"{name}.txt").write_text(text)
    return folder


def run_of(start, place, case, **data):
    """A short run: "text", "rows", or a packing; "mixed" in front mixes two files."""
    mixed, _, kind = case.rpartition(" ")
    ending, spec = ("txt", "text") if kind == "text" else ("jsonl", "jsonl")
    specs = [f"{spec}:{place}/{name}.{ending}" for name in "ab"]
    fields = {
        "source": "" if mixed else specs[0],
        "mixture": (f"3 {specs[0]}", f"1 {specs[1]}") if mixed else (),
        "format": "lm" if kind == "text" else "prompt",
        "pack": "" if kind in ("text", "rows") else kind,
        "hold_out": 0.2,
        "batch": 4,
        "length": 24,
        **data,
    }
    return Run(
        objective=LanguageModel(),
        data=Data(**fields),
        optimizer=Optimizer(lr=1e-2, decay="constant"),
        init_from=start,
        steps=5,
        save_every=3,
        log_every=0,
    )


CASES = ["concat", "mixed best_fit", "mixed rows", "mixed text"]
OFTEN = "concat", "mixed rows"


@pytest.mark.parametrize(
    "case",
    [
        case if case in OFTEN else pytest.param(case, marks=pytest.mark.long)
        for case in CASES
    ],
)
def test_a_stop_changes_no_bit(case, start, place, tmp_path, capsys):
    run = run_of(start, place, case)
    loop.train(run, tmp_path / "w")
    out = capsys.readouterr().out
    weights = tmp_path / "w/model/model.safetensors"
    whole = weights.read_bytes()
    # as if the run had been killed after its checkpoint of step 3
    for name in ("checkpoints/00000005", "model"):
        shutil.rmtree(tmp_path / "w" / name)
    kept = tmp_path / "w/checkpoints/00000003/state.json"
    written = kept.stat().st_ino, kept.stat().st_mtime_ns
    assert loop.train(run, tmp_path / "w").step == 5
    # it went on from there, and did not begin again
    assert written == (kept.stat().st_ino, kept.stat().st_mtime_ns)
    assert whole == weights.read_bytes()
    assert whole != (pathlib.Path(start) / "model.safetensors").read_bytes()
    if run.data.pack:
        assert f"packing {run.data.pack}: " in out and "of their places used" in out
    if run.data.mixture:
        unit = "rows" if case == "mixed rows" else "windows"
        assert f"mixture: 3 of 4 {unit}: {run.data.mixture[0][2:]}, " in out
        assert f"mixture: 1 of 4 {unit}: {run.data.mixture[1][2:]}, " in out


def test_the_evaluation_of_packed_rows_is_that_of_padded_rows(start, place):
    numbers = []
    for case in ("rows", "best_fit"):
        run = run_of(start, place, case)
        begun = roles_lib.start(run)
        feed = feeds.make(run, begun)
        numbers.append(feed.evaluate(roles_lib.make(run, begun))["loss"])
        assert feed.length <= 24
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-5)


def test_parts_of_a_batch_and_a_recurrent_model_learn(start, place, tmp_path):
    run = run_of(start, place, "best_fit", tokenizer=start)
    model = zoo.registry.config("gru_lm", **FIELDS, width=16, units=16)
    run = dataclasses.replace(
        run, model=model, init_from="", accumulate=2, steps=25, log_every=1
    )
    loop.train(run, tmp_path / "w")
    lines = (tmp_path / "w/metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert losses[-1] < losses[0] - 1


@pytest.mark.parametrize(
    "case, fields, words",
    [
        ("rows", {"pack": "best"}, "config.data.pack: 'best'. Did you mean best_fit?"),
        ("text", {"pack": "concat"}, "'concat', but the format lm fills its windows"),
        ("concat", {"too_long": "cut"}, "config.data.too_long 'cut' means nothing"),
        ("best_fit", {"length": 5}, "tokens, at most 6 allowed; config.data.too_long"),
        ("mixed rows", {"source": "text:a"}, "config.data.source: 'text:a' beside"),
        ("mixed rows", {"mixture": ("kjv",)}, "config.data.mixture: 'kjv', a weight"),
        ("mixed text", {"mixture": ("1 kv", "1 kjv")}, "Unknown source 'kv'."),
    ],
)
def test_what_is_refused(case, fields, words, start, place, tmp_path):
    with pytest.raises(ValueError) as error:
        loop.train(run_of(start, place, case, **fields), tmp_path / "w")
    assert words in str(error.value)
    assert not (tmp_path / "w").exists()


def test_a_model_that_cannot_is_refused(start, place, tmp_path):
    pytest.importorskip("keras_hub")
    run = run_of(start, place, "best_fit", tokenizer=start)
    run = dataclasses.replace(
        run, model=zoo.registry.config("keras_hub", context=64), init_from=""
    )
    with pytest.raises(ValueError, match="but keras_hub cannot read packed rows"):
        loop.train(run, tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_table_is_not_packed(tmp_path):
    run = Run(
        model=dense_net.Config(),
        objective=Classify(),
        data=Data(source="sklearn:breast_cancer", pack="concat"),
        steps=1,
    )
    with pytest.raises(ValueError, match="config.data.pack: .* only a language model"):
        loop.train(run, tmp_path / "w")
