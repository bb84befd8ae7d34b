"""Evaluation of embeddings and of guesses of hidden tokens."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

import zoo
from trainers import loop
from trainers.evaluation import dispatch, report
from trainers.evaluation.request import HeldOut, Request
from trainers.objectives import Contrastive, LanguageModel
from trainers.run import Data, Run
from zoo import directory
from zoo.models import headed, text_encoder

SIZES = dict(vocab_size=300, context=24, width=16, layers=1, heads=2)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Words beside the same words in capitals; some have a negative."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rng = np.random.default_rng(0)
    rows = []
    for i in range(40):
        text = " ".join("".join(rng.choice(list("abcdefghij"), 3)) for _ in range(3))
        rows.append({"text": text, "positive": text.upper()})
        if i % 2:
            rows[-1]["negative"] = text[::-1]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture(scope="module")
def embedded(pairs, tokenizer, tmp_path_factory):
    """A run of an encoder, its model, and what its last evaluation logged."""
    folder = tmp_path_factory.mktemp("embedded")
    tf.keras.utils.set_random_seed(0)
    directory.save(folder / "start", zoo.build("text_encoder", **SIZES), tokenizer)
    run = Run(
        objective=Contrastive(),
        data=Data(source=f"jsonl:{pairs}", format="pair", hold_out=0.4, batch=4),
        init_from=str(folder / "start"),
        steps=2,
        eval_every=2,
    )
    metrics = loop.train(run, folder / "w").metrics
    return run, directory.load(folder / "w/model"), metrics


def test_a_search_has_the_numbers_of_training(embedded):
    run, loaded, logged = embedded
    # the batch of training pads as training does, and changes no rank
    request = Request(held_out=HeldOut(run, 24, "w"), batch=run.data.batch)
    found = dispatch.evaluated(loaded, "here", request)
    assert set(found.measures) == {
        *(f"recall_at_{k}" for k in (1, 5, 10)),
        "mean_reciprocal_rank",
    }
    for name, measured in found.measures.items():
        assert measured.value == pytest.approx(logged[name], rel=1e-6), name
    assert 0 < logged["mean_reciprocal_rank"] < 1
    count = len(found.measures["recall_at_1"].rows_N)
    assert found.facts["examples"] == count == len(set(found.numbers))
    assert found.facts["texts"] > count  # the negatives are searched too
    summary = report.summary(found)
    rank = summary["metrics"]["mean_reciprocal_rank"]
    assert rank["low"] < rank["value"] < rank["high"]


def test_a_language_model_has_embeddings_too(pairs, tokenizer):
    model = zoo.build("transformer_lm", **SIZES)
    loaded = directory.Loaded(model, tokenizer, directory.GenerationConfig())
    request = Request(source=f"jsonl:{pairs}", format="pair", limit=6)
    found = dispatch.evaluated(loaded, "here", request)
    assert found.facts["examples"] == 6 and found.facts["texts"] == 9
    assert found.measures["recall_at_10"].value == 1


@pytest.fixture(scope="module")
def masked(corpus, tmp_path_factory):
    """A run of a model that guesses hidden tokens, as `embedded`."""
    folder = tmp_path_factory.mktemp("masked")
    run = Run(
        model=headed.Config(
            task="fill_mask", body=text_encoder.Config(**SIZES), hidden=True
        ),
        objective=LanguageModel(),
        data=Data(source=f"text:{corpus}", hold_out=0.2, batch=4, mask_rate=0.3),
        steps=2,
        eval_every=2,
    )
    metrics = loop.train(run, folder / "w").metrics
    return run, folder / "w", metrics


def test_guesses_have_the_numbers_of_training(masked):
    run, workdir, logged = masked
    loaded = directory.load(workdir / "model")
    request = Request(held_out=HeldOut(run, 24, "w"))
    found = dispatch.evaluated(loaded, "here", request)
    values = {name: measured.value for name, measured in found.measures.items()}
    assert values["loss"] == pytest.approx(logged["loss"], rel=1e-5)
    assert values["perplexity"] == pytest.approx(np.exp(values["loss"]), rel=1e-5)
    assert found.facts["mask_rate"] == 0.3 and found.facts["seed"] == 0
    other = dataclasses.replace(request, batch=3)  # sums do not depend on the batch
    for name, measured in dispatch.evaluated(loaded, "here", other).measures.items():
        assert measured.value == pytest.approx(values[name], rel=1e-5), name
    seeded = dataclasses.replace(request, knobs={"seed": 7})
    guessed = dispatch.evaluated(loaded, "here", seeded)
    assert guessed.measures["loss"].value != pytest.approx(values["loss"], rel=1e-5)


def test_hits_are_the_likeliest_tokens(masked, corpus):
    """Of a model that always guesses one token, accuracy is the share of that token."""
    run, workdir, _ = masked
    loaded = directory.load(workdir / "model")
    logits = np.zeros(300, np.float32)
    tokens = loaded.tokenizer.encode(corpus.read_text())
    logits[np.bincount(tokens).argmax()] = 20
    for weight in loaded.model.weights:
        weight.assign(tf.zeros_like(weight))
    loaded.model.mask_bias.assign(logits)
    request = Request(held_out=HeldOut(run, 24, "w"))
    found = dispatch.evaluated(loaded, "here", request)
    share = found.measures["accuracy"].value
    assert 0 < share < 0.5
    # 20 nats where it is wrong, 0 where it is right
    assert found.measures["loss"].value == pytest.approx(20 * (1 - share), rel=1e-4)


def test_the_command_writes_a_report(masked, tmp_path, commands):
    _, workdir, logged = masked
    args = f"--workdir={workdir}", f"--output={tmp_path}/out"
    done = commands("trainers.evaluate", *args)
    assert done.code == 0, done.out
    found = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert set(found["metrics"]) == {"loss", "perplexity", "accuracy"}
    assert found["metrics"]["loss"]["value"] == pytest.approx(logged["loss"], rel=1e-5)
    assert found["hidden"] > 0 and found["window"] == 24
    assert "| accuracy |" in (tmp_path / "out/evaluation.md").read_text()
    assert list((tmp_path / "out/tensorboard").iterdir())


@pytest.mark.parametrize(
    "task, fields, words",
    [
        ("embed", {"format": "lm"}, "--format: 'lm', but embeddings have the format p"),
        ("fill_mask", {"format": "pair"}, "--format: 'pair', but guesses of hidden"),
        ("embed", {"metrics": ("f1",)}, "--metrics: f1, but the model generates no"),
        ("embed", {"length": 99}, "--length: 99, at most the model's 24 allowed"),
        ("fill_mask", {"length": 99}, "--length: 99, at most the model's 24 allowed"),
        ("embed", {"fields": ("positive=p",)}, "line 1: no column 'p'"),
        ("embed", {"length": 2}, "--too_long may be drop or cut"),
        ("fill_mask", {}, "--model: no token hides another one"),
    ],
)
def test_what_is_refused(task, fields, words, pairs, tokenizer):
    model = zoo.build("text_encoder", **SIZES)
    if task == "fill_mask":
        model = headed.put_on(model, task="fill_mask", classes=0)
    loaded = directory.Loaded(model, tokenizer, directory.GenerationConfig())
    request = Request(source=f"jsonl:{pairs}", **fields)
    with pytest.raises(ValueError, match=words):
        dispatch.evaluated(loaded, "here", request)


def test_a_search_of_nothing_else_is_perfect(tokenizer, tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"text": "abc", "positive": "abc"}))
    model = zoo.build("text_encoder", **SIZES)
    loaded = directory.Loaded(model, tokenizer, directory.GenerationConfig())
    request = Request(source=f"jsonl:{path}")
    found = dispatch.evaluated(loaded, "here", request).measures
    assert found["recall_at_1"].value == 1
