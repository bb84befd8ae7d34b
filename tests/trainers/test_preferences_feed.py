"""Runs on preferences: the references, what is kept, and what is refused."""

import json
import math
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from trainers import evaluation, feeds, loop, roles
from trainers.evaluation import dispatch
from trainers.evaluation.request import Request
from trainers.objectives import DPO, Reward
from trainers.objectives.mismatched import mismatched
from trainers.run import Data, Lora, Optimizer, Run
from zoo import directory, lora
from zoo.layers import low_rank
from zoo.models import headed, transformer_lm

SIZES = dict(vocab_size=300, context=32, width=16, layers=1, heads=2)


@pytest.fixture(scope="module")
def start(tokenizer, tmp_path_factory):
    """A model directory."""
    keras.utils.set_random_seed(3)
    model = zoo.build("transformer_lm", **SIZES)
    for variable in model.trainable_weights:
        variable.assign(variable * 3)  # sure of what it says
    folder = tmp_path_factory.mktemp("start") / "model"
    directory.save(folder, model, tokenizer)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Pairs whose chosen answers begin with another letter than the rejected ones."""
    rows = [
        {"prompt": "abc " * (i % 3 + 1), "chosen": "b" * (i % 4 + 1), "rejected": "cd"}
        for i in range(24)
    ]
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return f"jsonl:{path}"


def run_of(start, source, objective=None, data=None, **fields):
    usual = dict(
        init_from=str(start),
        optimizer=Optimizer(lr=1e-2, decay="constant"),
        steps=4,
        log_every=1,
        save_every=2,
    )
    given = dict(source=source, format="preference", batch=8, hold_out=0.2)
    return Run(
        objective=objective or DPO(),
        data=Data(**given | (data or {})),
        **{**usual, **fields},
    )


def lines(workdir, split="train"):
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if row["split"] == split]


def read(source):
    text = pathlib.Path(source.removeprefix("jsonl:")).read_text()
    return [json.loads(line) for line in text.splitlines()]


def losses(workdir):
    return [row["loss"] for row in lines(workdir)]


# ---- references ----


def test_all_references_begin_at_ln_2_and_agree(start, source, tmp_path):
    found = {}
    for reference in ("start", "cached", str(start)):
        workdir = tmp_path / str(len(found))
        run = run_of(start, source, DPO(reference=reference), steps=3, eval_every=3)
        result = loop.train(run, workdir)
        found[reference] = losses(workdir)
        first = lines(workdir)[0]
        assert first["loss"] == pytest.approx(math.log(2), abs=2e-6)
        assert abs(first["margin"]) < 1e-5
        assert result.metrics["accuracy"] == 1 and result.metrics["margin"] > 0
        assert result.metrics["chosen_reward"] > result.metrics["rejected_reward"]
    for other in found.values():
        np.testing.assert_allclose(other, found["start"], rtol=2e-5)
    assert found["start"][-1] < 0.6


def test_a_directory_computes_as_the_policy_does(start, source, tmp_path):
    """In bfloat16 too: equal weights give equal numbers, to the last bit."""
    run = run_of(
        start, source, DPO(reference=str(start)), steps=1, precision="bfloat16"
    )
    loop.train(run, tmp_path / "w")
    (row,) = lines(tmp_path / "w")
    assert row["loss"] == pytest.approx(math.log(2), abs=1e-7)
    assert row["margin"] == 0 == row["accuracy"]


def test_the_base_is_the_model_without_adapters(start, source, tmp_path):
    run = run_of(
        start, source, DPO(reference="base"), lora=Lora(rank=2, alpha=8.0), steps=3
    )
    loop.train(run, tmp_path / "w")
    assert losses(tmp_path / "w")[0] == pytest.approx(math.log(2), abs=1e-6)
    assert losses(tmp_path / "w")[-1] < 0.68


@pytest.mark.parametrize("name", ["transformer_lm", "lstm_lm"])
@pytest.mark.parametrize("training", [False, True])
def test_adapters_off_give_the_base_bit_for_bit(name, training):
    sizes = SIZES if name == "transformer_lm" else dict(vocab_size=300, units=16)
    keras.utils.set_random_seed(1)
    plain, adapted = zoo.build(name, **sizes), zoo.build(name, **sizes)
    adapted.set_weights(plain.get_weights())
    lora.add(adapted, Lora(rank=2, alpha=8.0, targets=("all-linear",)))
    for adapter in low_rank.adapters(adapted).values():
        for up in adapter.ups:
            up.assign(np.random.default_rng(0).normal(0, 1, up.shape))
    base, tokens_BT = lora.Base(adapted), tf.reshape(tf.range(24), (2, 12))

    @tf.function(autograph=False)
    def logits_of():  # both in one graph, as in a step
        before = adapted.logits(adapted.features(tokens_BT, training=training))
        own = base.logits(base.features(tokens_BT, training=training))
        after = adapted.logits(adapted.features(tokens_BT, training=training))
        return before, own, after

    @tf.function(autograph=False)
    def wanted():
        return plain.logits(plain.features(tokens_BT, training=training))

    before, own, after = logits_of()
    np.testing.assert_array_equal(own, wanted())
    assert np.abs(before - own).max() > 1e-3
    np.testing.assert_array_equal(before, after)


@pytest.mark.long
def test_a_cached_reference_is_kept_and_belongs_to_its_model(
    start, source, tokenizer, tmp_path
):
    # the directory of the start is overwritten below
    model = directory.load(start).model
    folder = tmp_path / "start"
    directory.save(folder, model, tokenizer)
    run = run_of(folder, source, DPO(reference="cached"), steps=4)
    loop.train(run, tmp_path / "whole")
    whole = (tmp_path / "whole/model/model.safetensors").read_bytes()

    loop.train(run, tmp_path / "w")
    written = (tmp_path / "w/reference.safetensors").stat().st_mtime_ns
    (tmp_path / "w/checkpoints/00000004/state.safetensors").write_bytes(b"damaged")
    loop.train(run, tmp_path / "w")  # goes on at step 2
    assert (tmp_path / "w/reference.safetensors").stat().st_mtime_ns == written
    assert (tmp_path / "w/model/model.safetensors").read_bytes() == whole

    model.trainable_weights[0].assign(model.trainable_weights[0] * 1.01)
    directory.save(folder, model, tokenizer, replace=True)
    with pytest.raises(ValueError, match="the model before the first step changed"):
        loop.train(run, tmp_path / "w")
    (tmp_path / "w/reference.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="reference.safetensors: is broken"):
        loop.train(run, tmp_path / "w")


@pytest.mark.long
def test_kto_learns(start, source, tmp_path):
    objective = DPO(kind="kto")
    loop.train(run_of(start, source, objective, steps=5), tmp_path / "w")
    found = lines(tmp_path / "w")
    assert found[0]["loss"] == pytest.approx(0.5, abs=1e-6) and found[0]["kl"] == 0
    assert found[-1]["loss"] < 0.48


def test_kto_gives_a_prompt_the_next_answer():
    rng = np.random.default_rng(0)
    prompts, answers = [3, 5, 1], [[2, 4], [1, 3], [6, 2]]
    ids = rng.integers(1, 90, (3, 2, 12)).astype(np.int32)
    place = np.arange(11)
    weights = np.zeros((3, 2, 11), np.float32)
    lengths = np.zeros((3, 2), np.int32)
    for i, g in np.ndindex(3, 2):
        lengths[i, g] = prompts[i] + answers[i][g] - 1
        weights[i, g] = (place >= prompts[i] - 1) & (place < lengths[i, g])
    batch = {
        "tokens": tf.constant(ids[..., :-1]),
        "targets": tf.constant(ids[..., 1:]),
        "weights": tf.constant(weights),
        "lengths": tf.constant(lengths),
    }
    for limit in (0, 9):
        found = {k: v.numpy() for k, v in mismatched(batch, limit).items()}
        assert found["tokens"].shape == (6, limit or 22)
        for i, g in np.ndindex(3, 2):
            j = (i + 1) % 3
            prompt = ids[i, g, : prompts[i]]
            answer = ids[j, g, prompts[j] : prompts[j] + answers[j][g]]
            whole = [*prompt, *answer][: (limit or 99) + 1]
            row, size = i * 2 + g, len(whole) - 1
            assert found["tokens"][row, :size].tolist() == whole[:-1]
            assert found["targets"][row, :size].tolist() == whole[1:]
            wanted = np.arange(found["weights"].shape[1])
            wanted = (wanted >= prompts[i] - 1) & (wanted < size)
            assert (found["weights"][row] > 0).tolist() == wanted.tolist()
    alone = mismatched({name: x[:1] for name, x in batch.items()})
    assert not alone["weights"].numpy().any()  # it would get its own answer


@pytest.mark.parametrize("kind, rows", [("kto", 2), ("sigmoid", 1)])
def test_evaluation_of_kto_has_two_prompts_at_once(
    start, source, monkeypatch, kind, rows
):
    def sizes(objective):
        del objective
        return lambda roles, dataset: {b["tokens"].shape[0] for b in dataset}

    monkeypatch.setattr(evaluation, "make_evaluate", sizes)
    monkeypatch.setattr(evaluation, "rows_at_once", lambda run: 1)  # of many devices
    run = run_of(start, source, DPO(kind=kind))
    feed = feeds.make(run, roles.start(run))
    assert feed.evaluate and feed.evaluate({}) == {rows}


# ---- reward models ----


def test_a_reward_model_learns_and_is_normalised(start, source, tmp_path):
    run = run_of(
        start,
        source,
        Reward(),
        model=headed.Config(body=None, task="regress", classes=0),
        steps=12,
        eval_every=12,
    )
    result = loop.train(run, tmp_path / "w")
    assert result.metrics["accuracy"] == 1 and result.metrics["brier"] < 0.2
    loaded = directory.load(tmp_path / "w/model")
    request = Request(source=source, format="preference")
    found = dispatch.evaluated(loaded, "w", request)
    assert found.measures["accuracy"].value == 1
    rows = read(source)
    assert found.facts["examples"] == len(rows)
    values = []
    for row in rows:
        for name in ("chosen", "rejected"):
            ids = loaded.tokenizer.encode(row["prompt"])
            ids += loaded.tokenizer.encode(row[name])
            values.append(float(loaded.model(np.array([ids]))[0]))
    # over all pairs, of which the run held some out
    assert abs(np.mean(values)) < 0.3 and abs(np.std(values) - 1) < 0.2
    gaps = np.subtract(values[::2], values[1::2])
    assert found.measures["margin"].value == pytest.approx(gaps.mean(), abs=1e-5)


def test_a_policy_is_evaluated_on_preferences(start, source):
    loaded = directory.load(start)
    found = dispatch.evaluated(
        loaded, "start", Request(source=source, format="preference")
    )
    rows = read(source)
    right, right_per_token = [], []
    for row in rows:
        sums, means = [], []
        for name in ("chosen", "rejected"):
            prompt = loaded.tokenizer.encode(row["prompt"])
            answer = [*loaded.tokenizer.encode(row[name]), loaded.tokenizer.end_id]
            logits = loaded.model(np.array([[*prompt, *answer]]))
            logp = tf.nn.log_softmax(logits[0]).numpy()
            places = len(prompt) - 1 + np.arange(len(answer))
            sums.append(logp[places, answer].sum())
            means.append(logp[places, answer].mean())
        right.append(sums[0] > sums[1])
        right_per_token.append(means[0] > means[1])
    assert found.measures["accuracy"].value == np.mean(right)
    assert found.measures["accuracy_per_token"].value == np.mean(right_per_token)


# ---- what is refused, before anything is written ----


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(data={"format": "prompt"}), "config.data.format: 'prompt'"),
        (
            dict(objective=DPO(reference="base")),
            "'base', the model without adapters, but config.lora.rank is 0",
        ),
        (dict(objective=Reward()), "learns a model headed on a language model"),
        (
            dict(lora=Lora(rank=2, dropout=0.1)),
            "config.lora.dropout: 0.1, 0 allowed",
        ),
        (
            dict(init_from="", model=transformer_lm.Config(**SIZES, dropout=0.1)),
            "config.model.dropout: 0.1, 0 allowed",
        ),
        (
            dict(objective=DPO(kind="kto"), data={"batch": 1}),
            "config.data.batch: 1, at least 2",
        ),
        (dict(objective=DPO(kind="kto"), accumulate=2), "config.accumulate: 2, 1"),
        (
            dict(
                objective=Reward(),
                model=headed.Config(body=None, task="regress", classes=0, bias=False),
            ),
            "config.model.bias: False",
        ),
    ],
)
def test_what_is_refused(changes, words, start, source, tmp_path):
    if changes.get("init_from") == "":
        changes = {**changes, "data": {"tokenizer": str(start)}}
    with pytest.raises(ValueError, match=words):
        loop.train(run_of(start, source, **changes), tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_pairs_that_are_refused(start, tmp_path):
    pair = {"prompt": "a", "chosen": "b", "rejected": "c"}
    cases = [
        ({"prompt": "a", "chosen": "b"}, DPO(), "no column 'rejected'"),
        ({**pair, "rejected": ""}, DPO(), "the answer is empty"),
        ({**pair, "rejected": "b"}, DPO(), "are equal"),
        ({**pair, "rejected": ["c", "d"]}, DPO(), "learns from pairs"),
    ]
    for row, objective, words in cases:
        path = tmp_path / "rows.jsonl"
        path.write_text("\n".join(json.dumps(row) for _ in range(9)))
        with pytest.raises(ValueError, match=words):
            run = run_of(start, f"jsonl:{path}", objective, {"hold_out": 0.0})
            loop.train(run, tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_reference_of_another_vocabulary_is_refused(
    start, source, tokenizer, tmp_path
):
    model = zoo.build("transformer_lm", **{**SIZES, "vocab_size": 301})
    directory.save(tmp_path / "other", model, tokenizer)
    run = run_of(start, source, DPO(reference=str(tmp_path / "other")))
    with pytest.raises(ValueError, match="config.objective.reference: .*vocabulary"):
        loop.train(run, tmp_path / "w")
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    "fields, words",
    [
        (dict(kind="dpo"), "objective.kind: 'dpo'"),
        (dict(beta=0.0), "objective.beta: 0.0, above 0"),
        (dict(kind="robust"), "objective.label_smoothing: 0.0, above 0 and below"),
        (dict(kind="robust", label_smoothing=0.5), "label_smoothing: 0.5"),
        (dict(label_smoothing=0.1), "label_smoothing: 0.1, 0 allowed"),
        (dict(kind="orpo"), "objective.reference: 'start', '' .none. allowed"),
        (dict(reference=""), "objective.reference: '', start, base, cached"),
        (dict(kind="kto", reference="cached"), "mismatched answers"),
    ],
)
def test_options_that_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        DPO(**fields)
