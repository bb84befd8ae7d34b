"""Mixtures of labelled texts, of pairs and of masked texts, through whole runs."""

import collections
import dataclasses
import json
import shutil

import pytest

import zoo
from trainers import feeds, loop
from trainers import roles as roles_lib
from trainers.objectives import Classify, Contrastive, LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo import directory
from zoo.models import bag_of_words, dense_net, headed, text_encoder

LONG = pytest.mark.long
ENCODER = dict(vocab_size=300, context=24, width=16, layers=1, heads=2)
BAG = dict(vocab_size=300, context=24, ngrams=1)


@pytest.fixture(scope="module")
def place(tokenizer, tmp_path_factory):
    """Two files of examples for each kind, a tokenizer and an encoder."""
    folder = tmp_path_factory.mktemp("mixture")
    for name, count in (("a", 40), ("b", 12)):
        rows = []
        for i in range(count):
            word = f"{name}{i} " + "ca " * (i % 3)
            rows.append(
                {
                    "text": word,
                    "positive": word.upper(),
                    "label": "z" if name == "b" else "yx"[i % 2],
                    "value": i % 5,
                    "tokens": word.split(),
                    "tags": ["N", *["OP"[name == "b"]] * (i % 3)],
                }
            )
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tokenizer.save(str(folder / "vocabulary"))
    directory.save(folder / "body", zoo.build("text_encoder", **ENCODER), tokenizer)
    return folder


def run_of(place, kind, **data):
    """A short run on three rows of the first file for one of the second."""
    specs = [f"jsonl:{place}/{name}.jsonl" for name in "ab"]
    body = text_encoder.Config(**ENCODER)
    small = dataclasses.replace(body, vocab_size=270)  # of few texts
    model, objective, format = {
        "classify": (bag_of_words.Config(**BAG, classes=0), Classify(), "classify"),
        "regress": (bag_of_words.Config(**BAG, task="regress"), Classify(), "classify"),
        "tag": (headed.Config(body=body, task="tag", classes=0), Classify(), "tag"),
        "pairs": (None, Contrastive(), "pair"),
        "masked": (
            headed.Config(body=small, task="fill_mask", hidden=True),
            LanguageModel(),
            "lm",
        ),
    }[kind]
    # masked texts need a tokenizer with a mask, so a new one
    given = {"masked": "", "pairs": ""}.get(kind, str(place / "vocabulary"))
    fields = dict(
        source="",
        mixture=(f"3 {specs[0]}", f"1 {specs[1]}"),
        format=format,
        fields=("label=value",) if kind == "regress" else (),
        hold_out=0.2,
        batch=4,
        tokenizer=given,
    )
    return Run(
        model=model,
        objective=objective,
        data=Data(**{**fields, **data}),
        optimizer=Optimizer(lr=1e-2, decay="constant"),
        init_from=str(place / "body") if kind == "pairs" else "",
        steps=5,
        save_every=3,
        eval_every=5,
        log_every=0,
    )


@pytest.mark.parametrize(
    "kind",
    [
        "classify",
        *(pytest.param(k, marks=LONG) for k in ("tag", "regress", "pairs", "masked")),
    ],
)
def test_a_stop_changes_no_bit(kind, place, tmp_path, capsys):
    changes = ("token_dropout=0.2",) if kind == "classify" else ()
    run = run_of(place, kind, augment=changes)
    result = loop.train(run, tmp_path / "w")
    out = capsys.readouterr().out
    unit = {"pairs": "pairs", "masked": "windows"}.get(kind, "rows")
    for share, entry in zip((3, 1), run.data.mixture, strict=True):
        assert f"mixture: {share} of 4 {unit}: {entry[2:]}, " in out
    assert "loss" in result.metrics  # of what both files held out
    weights = tmp_path / "w/model/model.safetensors"
    whole = weights.read_bytes()
    # as if the run had been killed after its checkpoint of step 3
    for name in ("checkpoints/00000005", "model"):
        shutil.rmtree(tmp_path / "w" / name)
    kept = tmp_path / "w/checkpoints/00000003/state.json"
    written = kept.stat().st_ino, kept.stat().st_mtime_ns
    assert loop.train(run, tmp_path / "w").step == 5
    assert written == (kept.stat().st_ino, kept.stat().st_mtime_ns)
    assert whole == weights.read_bytes()


def test_the_labels_are_those_of_all_sources(place, tmp_path):
    run = run_of(place, "classify")
    begun = roles_lib.start(run)
    feed = feeds.make(run, begun)
    assert feed.labels == ("x", "y", "z")
    model = roles_lib.make(run, roles_lib.with_labels(begun, feed.labels))
    seen = collections.Counter()
    for batch in feed.train(0, model).take(32).as_numpy_iterator():
        seen.update(batch["label"].tolist())
    assert seen[2] == 32 and seen[0] + seen[1] == 96
    other = dataclasses.replace(run.data, mixture=run.data.mixture[::-1])
    again = feeds.make(dataclasses.replace(run, data=other), begun)
    assert again.labels == feed.labels


def test_a_finished_run_evaluates_what_all_sources_held_out(place, tmp_path, commands):
    run = run_of(place, "classify")
    loop.train(run, tmp_path / "w")
    done = commands("trainers.evaluate", f"--workdir={tmp_path / 'w'}")
    assert done.code == 0, done.out
    assert "10 examples (10 read, 0 bad" in done.out


def test_a_label_that_one_source_lacks_is_refused_by_its_place(place, tmp_path):
    run = run_of(place, "classify")
    config = dataclasses.replace(run.model, classes=2, labels=("x", "y"))
    with pytest.raises(ValueError, match="b.jsonl, line 1: label: 'z'"):
        loop.train(dataclasses.replace(run, model=config), tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_table_is_one_source(tmp_path):
    data = Data(source="", mixture=("1 sklearn:iris", "1 sklearn:breast_cancer"))
    run = Run(model=dense_net.Config(), objective=Classify(), data=data, steps=1)
    with pytest.raises(ValueError, match="config.data.mixture: .* learns from one tab"):
        loop.train(run, tmp_path / "w")
    assert not (tmp_path / "w").exists()
