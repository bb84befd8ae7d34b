"""Feeds: what a Run's data become, and where a position leads."""

import dataclasses
import json
import warnings

import numpy as np
import pytest

from trainers import evaluation, feeds, roles
from trainers.objectives import Classify, LanguageModel
from trainers.run import Data, Run
from zoo import directory, models
from zoo.data import fingerprints
from zoo.models import dense_net, transformer_lm
from zoo.text import tokenizer as tokenizers


def lm_run(corpus, model=None, **data):
    fields = {"vocab_size": 300, "context": 16, "width": 8, "layers": 1, "heads": 1}
    return Run(
        model=transformer_lm.Config(**{**fields, **(model or {})}),
        objective=LanguageModel(),
        data=Data(**{"source": f"text:{corpus}", "batch": 4, **data}),
        steps=1,
    )


def made(run):
    return feeds.make(run, roles.start(run))


def taken(dataset, count):
    return [{k: v.numpy() for k, v in batch.items()} for batch in dataset.take(count)]


@pytest.fixture
def evaluated(monkeypatch):
    """Makes `feed.evaluate(roles)` return what it would evaluate on."""
    monkeypatch.setattr(
        evaluation,
        "make_evaluate",
        lambda objective: lambda roles, dataset, size=0: (dataset, size),
    )


def test_text(corpus, evaluated):
    feed = made(lm_run(corpus))
    (batch,) = taken(feed.train(0, {}), 1)
    assert {k: (v.shape, str(v.dtype)) for k, v in batch.items()} == {
        "tokens": ((4, 16), "int32"),
        "targets": ((4, 16), "int32"),
        "weights": ((4, 16), "float32"),
    }
    np.testing.assert_array_equal(batch["tokens"][:, 1:], batch["targets"][:, :-1])
    assert feed.units == ("tokens", 64) and feed.tokenizer.vocab_size == 300
    text = corpus.read_text()
    assert feed.tokenizer.decode(batch["tokens"][0]) in text
    # what is held out is text of its own, and its bytes are counted
    valid_batches, size = feed.evaluate({})
    held = "".join(
        feed.tokenizer.decode(row[weights > 0])
        for valid in taken(valid_batches, 1000)
        for row, weights in zip(valid["targets"], valid["weights"], strict=True)
    )
    assert held in text and size == len(held.encode())
    assert 0.02 < len(held) / len(text) < 0.08


@pytest.mark.parametrize("rows, parts", [(4, 1), (2, 2), (1, 4)])
def test_evaluation_has_the_batch_of_one_part(corpus, evaluated, rows, parts):
    run = dataclasses.replace(lm_run(corpus), accumulate=parts)
    (batch,) = taken(made(run).evaluate({})[0], 1)
    assert batch["tokens"].shape == (rows, 16)


def test_a_position_is_a_number(corpus):
    train = made(lm_run(corpus)).train
    for left, right in zip(
        taken(train(0, {}).skip(37), 3), taken(train(37, {}), 3), strict=True
    ):
        for name in left:
            np.testing.assert_array_equal(left[name], right[name])


def test_seeds_and_steps_of_an_epoch(corpus):
    run = lm_run(corpus)
    feed = made(run)
    other = made(dataclasses.replace(run, seed=1))
    ours, others = (taken(f.train(0, {}), 1)[0]["tokens"] for f in (feed, other))
    assert (ours != others).any()
    tokens = len(feed.tokenizer.encode(corpus.read_text()))
    assert feed.rows == pytest.approx(0.95 * tokens / 16, rel=0.1)


def test_text_that_is_given_apart(corpus, tmp_path, evaluated):
    (tmp_path / "valid.txt").write_text("abc def\nghi")
    feed = made(lm_run(corpus, valid=f"text:{tmp_path}/valid.txt"))
    assert feed.evaluate({})[1] == 11
    assert made(lm_run(corpus, hold_out=0.0)).evaluate is None


@pytest.mark.parametrize(
    "model, data, words",
    [
        ({}, {"source": "text:/no/such.txt"}, "no such file"),
        ({"vocab_size": 3000}, {}, "vocab_size: 3000, but this corpus supports"),
        ({"vocab_size": 100}, {}, "vocab_size: 100, at least 257"),
        ({}, {"source": "sklearn:iris"}, "a table of numbers has no text"),
        ({}, {"tokenizer": "/no/such"}, "/no/such: there is no such model directory"),
        ({"context": 10**6}, {}, "a window of length 1000000 needs 1000001"),
        ({}, {"clean": ("trimm",)}, "'trimm'. Did you mean trim?"),
    ],
)
def test_text_refuses(corpus, model, data, words):
    with pytest.raises(ValueError) as error:
        made(lm_run(corpus, model, **data))
    assert words in str(error.value)


@pytest.mark.parametrize("change", ["source", "valid", "tokenizer"])
def test_a_fingerprint_sees_what_changed(corpus, tokenizer, tmp_path, change):
    text = corpus.read_text()
    for name in ("source", "valid"):
        (tmp_path / name).write_text(text)
    tokenizer.save(tmp_path / "tokenizer")
    run = lm_run(
        corpus,
        source=f"text:{tmp_path}/source",
        valid=f"text:{tmp_path}/valid",
        tokenizer=str(tmp_path / "tokenizer"),
    )
    first = made(run).fingerprint
    assert made(run).fingerprint == first
    if change == "tokenizer":
        path = tmp_path / "tokenizer/tokenizer.json"
        path.write_text(path.read_text() + " ")
    else:
        (tmp_path / change).write_text(text.replace("a", "b", 1))
    (line,) = fingerprints.changes(first, made(run).fingerprint)
    assert change in line


@pytest.mark.parametrize("start", ["tokenizer", "init_from"])
def test_one_reader_for_tokenizers(corpus, tmp_path, start):
    """vocab.json with merges.txt, and the end token that config.json names."""
    model = models.build(
        "transformer_lm", vocab_size=300, context=16, width=8, layers=1, heads=1
    )
    trained = tokenizers.train([corpus.read_text()], 300)
    directory.save(tmp_path / "m", model, trained)
    value = json.loads(trained.json)["model"]
    (tmp_path / "m/vocab.json").write_text(json.dumps(value["vocab"]))
    merges = [m if isinstance(m, str) else " ".join(m) for m in value["merges"]]
    (tmp_path / "m/merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "m" / name).unlink()
    run = lm_run(corpus, **{"tokenizer": str(tmp_path / "m")})
    if start == "init_from":
        run = lm_run(corpus)
        run = dataclasses.replace(run, model=None, init_from=str(tmp_path / "m"))
    found = made(run).tokenizer
    assert found.end_id == trained.end_id
    text = corpus.read_text()[:300]
    assert found.encode(text) == trained.encode(text)


def test_a_tokenizer_without_an_end_token(corpus, tokenizer, tmp_path):
    text = tokenizer.json.replace(tokenizers.END, "<start>")
    (tmp_path / "tokenizer.json").write_text(text)
    config = {"eos_token": None, "tokenizer_class": "PreTrainedTokenizerFast"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="no token ends a text, and training"):
            made(lm_run(corpus, tokenizer=str(tmp_path)))


def test_a_tokenizer_larger_than_the_model(corpus, tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    with pytest.raises(ValueError, match="vocab_size: 299, at least the tokenizer's"):
        made(lm_run(corpus, {"vocab_size": 299}, tokenizer=str(tmp_path)))
    feed = made(lm_run(corpus, {"vocab_size": 310}, tokenizer=str(tmp_path)))
    assert feed.tokenizer.json == tokenizer.json


def table_run(model=None, **data):
    return Run(
        model=dense_net.Config(**{"features": 30, **(model or {})}),
        objective=Classify(),
        data=Data(**{"source": "sklearn:breast_cancer", "batch": 32, **data}),
        steps=1,
    )


def test_table(evaluated):
    feed = made(table_run(hold_out=0.2))
    held = sum(batch["weights"].sum() for batch in taken(feed.evaluate({})[0], 100))
    assert held == pytest.approx(0.2 * 569, abs=1)
    assert feed.rows == 569 - int(held)
    model = models.build("dense_net", features=30)
    feed.prepare({"policy": model})
    rows = np.concatenate(
        [b["features"] for b in taken(feed.train(0, {}), -(-feed.rows // 32))]
    )
    np.testing.assert_allclose(model.mean, rows.mean(0), rtol=0.1)
    assert feed.tokenizer is None and feed.show({}) == ""


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"{i},{i % 3},{'yes' if i % 2 else 'no'}" for i in range(20)]
    path.write_text("\n".join(["a,b,label", *rows]))
    return path


@pytest.mark.parametrize("labels", [("yes", "no"), ("no", "yes")])
def test_the_names_of_the_model_decide_the_classes(csv, labels):
    run = table_run({"features": 2, "labels": labels}, source=f"csv:{csv}", batch=20)
    (batch,) = taken(made(run).train(0, {}), 1)
    odd = batch["features"][:, 0] % 2 == 1
    np.testing.assert_array_equal(batch["label"] == labels.index("yes"), odd)


def test_a_model_without_names_takes_those_of_the_table(csv):
    run = table_run({"features": 2}, source=f"csv:{csv}", batch=20)
    feed = made(run)
    start = roles.with_labels(roles.start(run), feed.labels)
    assert start.config.labels == ("no", "yes") and run.model.labels == ()


def test_text_and_tables_hold_out_the_same_for_every_seed(corpus, evaluated):
    for run in (lm_run(corpus), table_run(hold_out=0.2)):
        first, second = (
            made(dataclasses.replace(run, seed=seed)).evaluate({})[0] for seed in (0, 5)
        )
        for left, right in zip(taken(first, 99), taken(second, 99), strict=True):
            for name in left:
                np.testing.assert_array_equal(left[name], right[name])


def test_the_prefix_of_a_tokenizer_is_read_and_not_learnt(corpus, tokenizer, tmp_path):
    value = json.loads(tokenizer.json)
    value["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "b", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 1}},
        ],
        "special_tokens": {"b": {"id": "b", "ids": [66], "tokens": ["b"]}},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(value))
    rows = [json.dumps({"text": line}) for line in corpus.read_text().splitlines()]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    source = f"jsonl:{tmp_path}/rows.jsonl"
    feed = made(lm_run(corpus, source=source, tokenizer=str(tmp_path)))
    batches = taken(feed.train(0, {}), feed.rows // 4 + 1)
    assert min(batch["weights"].min() for batch in batches) == 0
    for batch in batches:
        assert set(batch["targets"][batch["weights"] == 0]) <= {66}


@pytest.mark.parametrize(
    "model, data, words",
    [
        ({"features": 29}, {}, "config.model.features: 29, but sklearn:breast_cancer"),
        (
            {"features": 64},
            {"source": "sklearn:digits"},
            "the table has 10 classes",
        ),
        ({}, {"source": "text:x"}, "is no table"),
        ({}, {"source": "sklearn:iriss"}, "Did you mean iris?"),
    ],
)
def test_table_refuses(model, data, words):
    with pytest.raises(ValueError) as error:
        made(table_run(model, **data))
    assert words in str(error.value)


def test_data_and_model_must_fit(corpus):
    run = table_run()
    with pytest.raises(ValueError, match="learns from text"):
        made(dataclasses.replace(run, objective=LanguageModel()))
    with pytest.raises(ValueError, match="transformer_lm has no labels"):
        made(dataclasses.replace(lm_run(corpus), objective=Classify()))
