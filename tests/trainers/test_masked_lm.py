"""Masked language models: which tokens are hidden, what is learnt, what is refused."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.conftest import random_text
from trainers import feeds, loop
from trainers import roles as roles_lib
from trainers.objectives import Distill, LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo import directory, registry
from zoo.data import batches, formats
from zoo.models import headed, text_encoder
from zoo.text import encoder_tokenizer, framing
from zoo.text import tokenizer as tokenizers
from zoo.text.in_graph import tokenizer as graph_tokenizer

PAD, CLS, SEP, MASK = range(4)
MASKING = batches.Masking(0.15, MASK, [PAD, CLS, SEP, MASK], 300)


@pytest.fixture(scope="module")
def framed():
    """A tokenizer of 300 tokens, with those of an encoder."""
    return encoder_tokenizer.train([random_text()], 300)


def run_of(corpus, **fields):
    body = text_encoder.Config(
        vocab_size=300, context=24, width=16, layers=1, heads=2, dropout=0.1
    )
    usual = dict(
        model=headed.Config(task="fill_mask", body=body, hidden=True),
        objective=LanguageModel(),
        data=Data(source=f"text:{corpus}", hold_out=0.2, batch=4),
        optimizer=Optimizer(lr=1e-2, decay="constant"),
        steps=6,
        eval_every=3,
        save_every=3,
    )
    return Run(**{**usual, **fields})


def rows(count=50, seed=0):
    """Rows of 4 to 40 tokens between [CLS] and [SEP]."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 38, count)
    made = [[CLS, *rng.integers(4, 300, size), SEP] for size in sizes]
    starts = np.cumsum([0, *map(len, made)])
    return np.concatenate(made).astype(np.int32), starts


# ---- the tokenizer ----


def test_a_tokenizer_of_an_encoder(framed, tmp_path):
    framed.save(tmp_path)
    read = tokenizers.load(str(tmp_path))
    assert read.config["mask_token"] == "[MASK]" and read.end_id == SEP
    encoder = text_encoder.Config()
    assert framing.frame(read, encoder)[:2] == ([CLS], [SEP])
    assert MASK not in read.encode("[MASK]")  # a text cannot forge a mask
    graph = graph_tokenizer.build(read.json)
    text = "abc [CLS] dab"
    assert graph.encode(tf.constant([text])).to_list() == [read.encode(text)]
    assert read.decode([CLS, *read.encode(text), SEP]) == text
    assert read.vocab_size == 300
    with pytest.raises(ValueError, match="vocab_size: 259, at least 260 allowed"):
        encoder_tokenizer.train(["a"], 259)


def test_windows_hold_a_document_each(framed):
    frame = framing.Frame([CLS], [SEP], [])
    texts = ["abc dab " * 6, "", "cab"]
    tokens, starts = formats.windows(texts, framed, frame, 8)
    cut = [tokens[a:b].tolist() for a, b in zip(starts, starts[1:], strict=False)]
    assert all(row[0] == CLS and row[-1] == SEP and len(row) <= 8 for row in cut)
    assert all(len(row) == 8 for row in cut[:-2])
    inner = [[i for row in cut[:-1] for i in row[1:-1]], cut[-1][1:-1]]
    assert inner == [framed.encode(texts[0]), framed.encode(texts[2])]
    with pytest.raises(ValueError, match="config.data.length: 2, at least 3 allowed"):
        formats.windows(texts, framed, frame, 2)


# ---- the masks ----


def by_row(dataset, starts):
    """Each row's tokens, targets and weights, in the order of the dataset."""
    found = []
    for batch in dataset:
        numbers = {name: x.numpy() for name, x in batch.items()}
        for row, length in enumerate(numbers["lengths"]):
            names = ("tokens", "targets", "weights")
            found.append([numbers[name][row, :length].tolist() for name in names])
            assert not numbers["weights"][row, length:].any()
    return [row for row in found if row[0]]


def test_the_shares_of_devlin():
    tokens, starts = rows(1000)
    found = by_row(batches.eval_masked(tokens, starts, MASKING, 8), starts)
    assert len(found) == 1000
    masked = random = kept = 0
    for number, (inputs, targets, weights) in enumerate(found):
        row = tokens[starts[number] : starts[number + 1]].tolist()
        assert targets == row
        inner = len(row) - 2
        assert sum(weights) == min(max(round(inner * 0.15), 1), inner)
        assert weights[0] == weights[-1] == 0  # [CLS] and [SEP]
        for token, target, weight in zip(inputs, targets, weights, strict=True):
            if not weight:
                assert token == target
            else:
                masked += token == MASK
                kept += token == target
                random += token not in (MASK, target)
                assert token == MASK or token > MASK  # no other special token
    total = masked + random + kept
    assert masked / total == pytest.approx(0.8, abs=0.03)
    assert random / total == pytest.approx(0.1, abs=0.025)
    assert kept / total == pytest.approx(0.1, abs=0.025)


def test_special_tokens_within_a_text_are_no_targets():
    tokens = np.array([CLS, MASK, 7, MASK, PAD, SEP] * 4, np.int32)
    starts = np.arange(5) * 6
    dataset = batches.eval_masked(tokens, starts, MASKING, 3)
    for _, _, weights in by_row(dataset, starts):
        assert weights == [0, 0, 1, 0, 0, 0]
    nothing = np.array([CLS, SEP], np.int32)
    (batch,) = batches.eval_masked(nothing, np.array([0, 2]), MASKING, 1)
    assert not batch["weights"].numpy().any()


def test_masks_are_those_of_seed_epoch_and_row():
    tokens, starts = rows(20)

    def made(seed, batch, start, count):
        dataset = batches.masked_batches(tokens, starts, MASKING, batch, seed, start)
        return by_row(dataset.take(count), starts)

    whole = made(0, 4, 0, 10)
    assert made(0, 4, 7, 3) == whole[28:]
    assert made(0, 8, 0, 5) == whole  # other batches, and so other padding
    assert made(1, 4, 0, 10) != whole

    def hidden(epoch):
        return {str(targets): weights for _, targets, weights in epoch}

    first, second = hidden(whole[:20]), hidden(whole[20:])
    assert first.keys() == second.keys() and first != second
    fixed = by_row(batches.eval_masked(tokens, starts, MASKING, 4), starts)
    assert fixed == by_row(batches.eval_masked(tokens, starts, MASKING, 7), starts)


# ---- the loss ----


def test_the_loss_is_that_of_all_positions():
    tf.keras.utils.set_random_seed(0)
    body = text_encoder.Config(vocab_size=300, context=40, width=16, layers=1, heads=2)
    model = registry.build_config(headed.Config(task="fill_mask", body=body))
    tokens, starts = rows(4)
    (batch,) = batches.eval_masked(tokens, starts, MASKING, 4)
    with tf.GradientTape() as tape:
        logits_BTV = model(batch["tokens"], batch["lengths"], training=True)
        loss_BT = tf.nn.sparse_softmax_cross_entropy_with_logits(
            batch["targets"], logits_BTV
        )
        wanted = tf.reduce_sum(loss_BT * batch["weights"])
    wanted_grads = tape.gradient(wanted, [v.value for v in model.trainable_weights])
    with tf.GradientTape() as tape:
        loss = LanguageModel().loss({"policy": model}, batch, training=True)
    grads = tape.gradient(loss.sum, [v.value for v in model.trainable_weights])
    assert float(loss.sum) == pytest.approx(float(wanted), rel=1e-5)
    assert float(loss.weight) == float(tf.reduce_sum(batch["weights"]))
    for one, other in zip(grads, wanted_grads, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            one, other = tf.convert_to_tensor(one), tf.convert_to_tensor(other)
            np.testing.assert_allclose(one, other, atol=2e-5)


def test_a_batch_without_targets_has_no_loss():
    body = text_encoder.Config(vocab_size=300, context=40, width=16, layers=1, heads=2)
    model = registry.build_config(headed.Config(task="fill_mask", body=body))
    nothing = np.array([CLS, SEP], np.int32)
    (batch,) = batches.eval_masked(nothing, np.array([0, 2]), MASKING, 1)

    @tf.function
    def step(batch):
        with tf.GradientTape() as tape:
            loss = LanguageModel().loss({"policy": model}, batch, training=True)
        return loss.sum, tape.gradient(loss.sum, model.mask_bias.value)

    total, grads = step(batch)
    assert float(total) == 0 and not np.any(grads)


# ---- runs ----


@pytest.mark.long
def test_hidden_tokens_are_learnt(corpus, tmp_path):
    result = loop.train(run_of(corpus, steps=60, accumulate=2), tmp_path / "w")
    lines = (tmp_path / "w/metrics.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert first["step"] == 0 and result.metrics["loss"] < first["loss"] - 0.5
    loaded = zoo.load(tmp_path / "w/model")
    assert loaded.model.config.task == "fill_mask"
    assert loaded.tokenizer.config["mask_token"] == "[MASK]"
    # domain adaptation: the directory is what another run starts from
    run = run_of(corpus, model=None, init_from=str(tmp_path / "w/model"), steps=1)
    again = loop.train(run, tmp_path / "again")
    assert again.metrics["loss"] < first["loss"] - 0.5


@pytest.mark.long
def test_a_stop_changes_no_bit(corpus, tmp_path):
    run = run_of(corpus)
    loop.train(run, tmp_path / "whole")
    loop.train(dataclasses.replace(run, steps=3), tmp_path / "parts")
    loop.train(run, tmp_path / "parts")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        whole, parts = (tmp_path / w / "model" / name for w in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes(), name


def test_evaluation_is_the_same_for_all_seeds(corpus, framed, tmp_path):
    framed.save(tmp_path / "tokenizer")
    values = []
    for seed in (0, 1):
        run = run_of(corpus, seed=seed)
        run.data.tokenizer = str(tmp_path / "tokenizer")
        feed = feeds.make(run, roles_lib.start(run))
        tf.keras.utils.set_random_seed(5)
        values.append(feed.evaluate({"policy": registry.build_config(run.model)}))
    assert values[0] == values[1]


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"data.mask_rate": 0.0}, "config.data.mask_rate: 0.0, above 0"),
        ({"data.mask_rate": 1.0}, "config.data.mask_rate: 1.0, at least 0 and below 1"),
        ({"data.length": 2}, "config.data.length: 2, at least 3 allowed"),
        ({"data.format": "prompt"}, "config.data.format: 'prompt', 'lm' allowed"),
        ({"data.tokenizer": "plain"}, "no token hides another one"),
        ({"objective": Distill(teacher="x")}, "the objective distill does not learn"),
    ],
)
def test_what_is_refused(fields, words, corpus, tokenizer, tmp_path):
    tokenizer.save(tmp_path / "plain")
    run = run_of(corpus)
    for name, value in fields.items():
        holder = run
        if name.startswith("data."):
            holder, name = run.data, name.removeprefix("data.")
        setattr(holder, name, tmp_path / value if name == "tokenizer" else value)
    run.data.tokenizer = str(run.data.tokenizer)
    with pytest.raises(ValueError) as error:
        loop.train(run, tmp_path / "w")
    assert words in str(error.value)
    assert not (tmp_path / "w").exists()


def test_a_directory_is_saved_with_its_mask(framed, tmp_path):
    body = text_encoder.Config(vocab_size=300, context=24, width=16, layers=1, heads=2)
    model = registry.build_config(headed.Config(task="fill_mask", body=body))
    directory.save(tmp_path / "m", model, framed)
    again = directory.load(tmp_path / "m")
    assert again.tokenizer is not None and again.tokenizer.json == framed.json
