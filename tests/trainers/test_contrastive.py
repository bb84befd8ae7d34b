"""Contrastive learning of embeddings: the loss, the search, replicas and refusals."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

import zoo
from trainers import feeds, loop
from trainers import roles as roles_lib
from trainers.evaluation import make_search
from trainers.objectives import Contrastive, LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo import directory
from zoo.data import batches
from zoo.models import dense_net, headed

SIZES = dict(vocab_size=300, context=48, width=16, layers=1, heads=2)


@pytest.fixture(scope="module")
def starts(tokenizer, tmp_path_factory):
    """Tiny model directories of an encoder and of two language models."""
    folder = tmp_path_factory.mktemp("starts")
    names = ("text_encoder", "transformer_lm", "lstm_lm")
    for name in names:
        tf.keras.utils.set_random_seed(0)
        sizes = SIZES
        if name == "lstm_lm":
            sizes = dict(vocab_size=300, context=48, width=16, units=16, layers=1)
        directory.save(folder / name, zoo.build(name, **sizes), tokenizer)
    return {name: folder / name for name in names}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Words with words of other letters."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(60):
        words = ["".join(rng.choice(list("abcdefghij"), 3)) for _ in range(4)]
        text = " ".join(words)
        rows.append({"text": text, "positive": text.upper()})
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def run_of(start, pairs, **fields):
    data = Data(source=f"jsonl:{pairs}", format="pair", hold_out=0.25, batch=8)
    usual = dict(steps=6, eval_every=3, save_every=3, init_from=str(start))
    optimizer = Optimizer(lr=1e-2, decay="constant")
    usual["objective"] = Contrastive()
    return Run(data=data, optimizer=optimizer, **{**usual, **fields})


def groups(seed=0, batch=4, size=3, length=6):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, 300, (batch, size, length)).astype(np.int32)
    lengths = rng.integers(2, length + 1, (batch, size)).astype(np.int32)
    return {
        "tokens": np.where(np.arange(length) < lengths[..., None], tokens, 0),
        "lengths": lengths,
    }


def unit_embeddings(model, batch):
    x = [
        model.embed(batch["tokens"][:, i], np.maximum(batch["lengths"][:, i], 1))
        for i in range(batch["tokens"].shape[1])
    ]
    x = np.stack([one.numpy() for one in x], 1)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("name", ["text_encoder", "transformer_lm", "lstm_lm"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_the_loss_by_its_formula(name, symmetric, starts):
    model = directory.load(starts[name]).model
    batch = groups()
    batch["lengths"][2, 2], batch["tokens"][2, 2] = 0, 0  # no negative
    x_BGD = unit_embeddings(model, batch)
    objective = Contrastive(temperature=0.1, symmetric=symmetric)
    loss = objective.loss({"policy": model}, _tensors(batch), training=True)
    total, right = 0.0, 0
    for b in range(4):
        wanted = x_BGD[b, 0] @ x_BGD[b, 1] / 0.1
        others = [x_BGD[c, i] for c in range(4) for i in (1, 2) if (c, i) != (2, 2)]
        logits = np.array([x_BGD[b, 0] @ x for x in others]) / 0.1
        one = np.log(np.exp(logits).sum()) - wanted
        right += wanted == logits.max()
        if symmetric:
            logits = x_BGD[:, 0] @ x_BGD[b, 1] / 0.1
            one = (one + np.log(np.exp(logits).sum()) - wanted) / 2
        total += one
    assert float(loss.sum) == pytest.approx(total, rel=1e-4)
    assert float(loss.weight) == 4
    hits, weight = loss.metrics["accuracy"]
    assert (float(hits), float(weight)) == (right, 4)


def _tensors(batch):
    return {name: tf.constant(x) for name, x in batch.items()}


def test_equal_texts_are_no_negatives(starts):
    model = directory.load(starts["text_encoder"]).model
    batch = groups(size=2)
    for name in ("tokens", "lengths"):
        batch[name][1, 1] = batch[name][0, 1]  # an equal positive
        batch[name][3, 0] = batch[name][2, 0]  # an equal anchor
    x_BGD = unit_embeddings(model, batch)
    logits = x_BGD[:, 0] @ x_BGD[:, 1].T / 0.05
    for i, j in ((0, 1), (1, 0), (2, 3), (3, 2)):
        logits[i, j] = -np.inf
    wanted = (np.log(np.exp(logits).sum(1)) - np.diag(logits)).sum()
    loss = Contrastive().loss({"policy": model}, _tensors(batch), training=False)
    assert float(loss.sum) == pytest.approx(wanted, rel=1e-4)


def test_absent_groups_have_no_weight(starts):
    model = directory.load(starts["text_encoder"]).model
    batch = groups()
    more = {k: np.concatenate([x, np.zeros_like(x[:2])]) for k, x in batch.items()}
    one, two = (
        Contrastive().loss({"policy": model}, _tensors(b), training=False)
        for b in (batch, more)
    )
    assert float(two.weight) == 4
    assert float(one.sum) == pytest.approx(float(two.sum), rel=1e-5)


def test_a_language_model_embeds_as_it_is_served(starts):
    model = directory.load(starts["transformer_lm"]).model
    batch = groups(size=1, batch=3)
    x_BD = model.embed(batch["tokens"][:, 0], batch["lengths"][:, 0]).numpy()
    for b, length in enumerate(batch["lengths"][:, 0]):
        features = model.features(batch["tokens"][b : b + 1, 0, :length])
        np.testing.assert_allclose(x_BD[b], features[0].numpy().mean(0), atol=1e-6)


def test_the_search(starts):
    """An encoder that knows nothing finds a positive that equals its anchor."""
    model = directory.load(starts["text_encoder"]).model
    rng = np.random.default_rng(0)
    texts = [rng.integers(1, 300, 8) for _ in range(11)]
    rows = [text for one in texts[:10] for text in (one, one)]
    rows += [texts[10], texts[0]]  # the last finds another text first
    tokens = np.concatenate(rows).astype(np.int32)
    starts_R = np.arange(len(rows) + 1) * 8
    dataset = batches.eval_pairs(tokens, starts_R, np.arange(12) * 2, 4)
    metrics = make_search()(model, dataset)
    x_BD = model.embed(np.stack(texts).astype(np.int32), np.full(11, 8)).numpy()
    x_BD /= np.linalg.norm(x_BD, axis=-1, keepdims=True)
    above = x_BD[1:10] @ x_BD[10] - x_BD[0] @ x_BD[10]
    # texts that are as near as float32 can tell may come before or behind
    ranks = range(1 + (above > 1e-6).sum(), 2 + (above > -1e-6).sum())
    assert ranks[0] > 1 and len(ranks) < 5
    assert metrics["recall_at_1"] == pytest.approx(10 / 11)
    wanted = [pytest.approx((10 + 1 / rank) / 11) for rank in ranks]
    assert metrics["mean_reciprocal_rank"] in wanted
    assert metrics["recall_at_10"] == 1


@pytest.mark.parametrize("name", ["text_encoder", "transformer_lm"])
def test_embeddings_are_learnt(name, starts, pairs, tmp_path):
    run = run_of(starts[name], pairs, steps=40, eval_every=40, save_every=0)
    run.data.valid = run.data.source
    result = loop.train(run, tmp_path / "w")
    lines = (tmp_path / "w/metrics.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert first["step"] == 0
    assert result.metrics["loss"] < first["loss"] - 0.3
    assert result.metrics["mean_reciprocal_rank"] > first["mean_reciprocal_rank"]
    assert {"accuracy", "recall_at_1", "recall_at_5"} <= set(result.metrics)


@pytest.mark.long
def test_a_stop_changes_no_bit(starts, pairs, tmp_path):
    run = run_of(starts["text_encoder"], pairs)
    loop.train(run, tmp_path / "whole")
    loop.train(dataclasses.replace(run, steps=3), tmp_path / "parts")
    loop.train(run, tmp_path / "parts")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        whole, parts = (tmp_path / w / "model" / name for w in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes(), name


def test_the_feed_frames_texts_as_the_signature_does(starts, pairs, tmp_path):
    run = run_of(starts["transformer_lm"], pairs)
    begun = roles_lib.start(run)
    batch = next(iter(feeds.make(run, begun).train(0, {})))
    assert batch["tokens"].shape[:2] == (8, 2)
    assert begun.tokenizer is not None
    examples = [json.loads(line) for line in pairs.read_text().splitlines()]
    texts = {e["text"]: e["positive"] for e in examples}
    for row in range(8):
        found = [
            begun.tokenizer.decode(batch["tokens"][row, i, :n].numpy())
            for i, n in enumerate(batch["lengths"][row].numpy())
        ]
        assert texts[found[0]] == found[1]


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"accumulate": 2}, "config.accumulate: 2, 1 allowed: the objective contrast"),
        ({"data.format": "chat"}, "config.data.format: 'chat', 'pair' allowed"),
        ({"data.batch": 1}, "config.data.batch: 1, at least 2 allowed"),
        ({"data.length": 3}, "tokens, at most 3 allowed"),
        (
            {"init_from": "", "model": dense_net.Config()},
            "zoo.models.dense_net gives no embeddings",
        ),
        ({"objective": LanguageModel()}, "sees the whole text"),
    ],
)
def test_what_is_refused(fields, words, starts, pairs, tmp_path):
    run = run_of(starts["text_encoder"], pairs)
    for name, value in fields.items():
        holder = run
        if name.startswith("data."):
            holder, name = run.data, name.removeprefix("data.")
        setattr(holder, name, value)
    with pytest.raises(ValueError) as error:
        loop.train(run, tmp_path / "w")
    assert words in str(error.value)
    assert not (tmp_path / "w").exists()


def test_language_models_refuse_groups(starts, pairs, tmp_path):
    run = run_of(starts["transformer_lm"], pairs, objective=LanguageModel())
    with pytest.raises(ValueError, match="config.data.format: 'pair'"):
        loop.train(run, tmp_path / "w")


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_is_positive(temperature):
    with pytest.raises(ValueError, match="objective.temperature: .* above 0 allowed"):
        Contrastive(temperature=temperature)


def test_replicas_see_the_whole_batch(commands):
    done = commands("tests/trainers/contrastive_replicas.py")
    assert done.code == 0, done.out
    result = json.loads(done.out.splitlines()[-1])
    one, two = (result[f"{replicas}"] for replicas in (1, 2))
    for name in ("loss", "accuracy", "grad_norm"):
        np.testing.assert_allclose(two[name], one[name], rtol=2e-5)
    np.testing.assert_allclose(two["weights"], one["weights"], atol=1e-6)


def test_a_head_is_left_out(starts, pairs, tokenizer, tmp_path, capsys):
    encoder = directory.load(starts["text_encoder"]).model
    model = headed.put_on(encoder, task="fill_mask", classes=0)
    directory.save(tmp_path / "headed", model, tokenizer)
    run = run_of(tmp_path / "headed", pairs)
    start = roles_lib.start(run)
    told = f"{tmp_path}/headed: its encoder is taken, without the fill_mask head."
    assert told in capsys.readouterr().out
    made = roles_lib.make(run, start)["policy"]
    tokens = tf.constant([[5, 9, 200, 7]])
    np.testing.assert_array_equal(made.embed(tokens), encoder.embed(tokens))
    loop.train(dataclasses.replace(run, steps=1, eval_every=0), tmp_path / "w")
    assert directory.load(tmp_path / "w/model").model.config == encoder.config
