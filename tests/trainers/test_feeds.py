"""Feeds: what a Run's data become, and where a position leads."""

import dataclasses

import numpy as np
import pytest

from trainers import evaluation, feeds, roles
from trainers.objectives import Classify, LanguageModel
from trainers.run import Data, Run
from zoo import models
from zoo.models import dense_net, transformer_lm


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
        ({}, {"tokenizer": "/no/such"}, "/no/such/tokenizer.json: no such file"),
        ({"context": 10**6}, {}, "a window of length 1000000 needs 1000001"),
        ({}, {"clean": ("trimm",)}, "'trimm'. Did you mean trim?"),
    ],
)
def test_text_refuses(corpus, model, data, words):
    with pytest.raises(ValueError) as error:
        made(lm_run(corpus, model, **data))
    assert words in str(error.value)


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


@pytest.mark.parametrize(
    "model, data, words",
    [
        ({"features": 29}, {}, "config.model.features: 29, but sklearn:breast_cancer"),
        (
            {"features": 64},
            {"source": "sklearn:digits"},
            "classes: 2, but sklearn",
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
    with pytest.raises(ValueError, match="learns from a table"):
        made(dataclasses.replace(lm_run(corpus), objective=Classify()))
