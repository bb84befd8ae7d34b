"""Distillation: a student comes near its teacher, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

import zoo
from trainers import loop
from trainers.objectives import Distill, LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo import directory
from zoo.models import transformer_lm
from zoo.text import tokenizer as tokenizers

LONG = pytest.mark.long
SIZES = dict(vocab_size=300, context=16, width=16, layers=1, heads=2)


@pytest.fixture(scope="module")
def teacher(tokenizer, tmp_path_factory):
    """A model directory with weights that nobody trained."""
    tf.keras.utils.set_random_seed(1)
    model = zoo.build("transformer_lm", **{**SIZES, "width": 24, "logit_softcap": 9.0})
    for variable in model.trainable_weights:
        variable.assign(variable * 4)  # sure of what it says
    folder = tmp_path_factory.mktemp("teacher") / "model"
    directory.save(folder, model, tokenizer)
    return folder


def run_of(corpus, teacher, objective=None, **fields):
    usual = dict(
        model=transformer_lm.Config(**SIZES, dropout=0.1),
        data=Data(
            source=f"text:{corpus}", tokenizer=str(teacher), hold_out=0.2, batch=4
        ),
        optimizer=Optimizer(lr=1e-2, decay="constant"),
        steps=6,
        eval_every=3,
        save_every=3,
    )
    objective = objective or Distill(teacher=str(teacher))
    return Run(objective=objective, **{**usual, **fields})


@pytest.mark.parametrize(
    "kind",
    ["forward_kl", *(pytest.param(k, marks=LONG) for k in ("reverse_kl", "jsd"))],
)
def test_a_student_comes_near_its_teacher(kind, corpus, teacher, tmp_path):
    objective = Distill(teacher=str(teacher), divergence=kind, alpha=1.0)
    run = run_of(corpus, teacher, objective, steps=30, eval_every=30, save_every=0)
    run.best = "divergence"
    before = (teacher / "model.safetensors").read_bytes()
    result = loop.train(run, tmp_path / "w")
    lines = (tmp_path / "w/metrics.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert first["step"] == 0
    assert result.metrics["divergence"] < 0.8 * first["divergence"]
    assert (teacher / "model.safetensors").read_bytes() == before
    # a checkpoint holds what changes, and so not the teacher
    state = tmp_path / "w/checkpoints/00000030/state.safetensors"
    assert b"teacher" not in state.read_bytes()[:100_000]


@pytest.mark.long
def test_evaluation_is_that_of_a_language_model(corpus, teacher, tmp_path):
    values = []
    for objective in (Distill(teacher=str(teacher), temperature=3.0), LanguageModel()):
        run = run_of(corpus, teacher, objective, steps=1, eval_every=1)
        loop.train(run, tmp_path / objective.name)
        lines = (tmp_path / objective.name / "metrics.jsonl").read_text().splitlines()
        values.append(json.loads(lines[0]))
    for name in ("loss", "perplexity", "bits_per_byte"):
        assert values[0][name] == pytest.approx(values[1][name], rel=1e-5), name
    assert values[0]["cross_entropy"] == values[0]["loss"]


def test_without_the_divergence_it_is_a_language_model(corpus, teacher):
    tf.keras.utils.set_random_seed(0)
    roles = {
        "policy": zoo.build("transformer_lm", **SIZES),
        "teacher": directory.load(teacher).model,
    }
    rng = np.random.default_rng(0)
    ids = tf.constant(rng.integers(0, 300, (3, 9)), tf.int32)
    weights = tf.constant(rng.integers(0, 2, (3, 8)), tf.float32)
    batch = {"tokens": ids[:, :-1], "targets": ids[:, 1:], "weights": weights}
    losses, grads = [], []
    for objective in (Distill(teacher="x", alpha=0.0), LanguageModel()):
        with tf.GradientTape() as tape:
            loss = objective.loss(roles, batch, training=True)
        values = [v.value for v in roles["policy"].trainable_weights]
        losses.append(loss)
        grads.append([tf.convert_to_tensor(g) for g in tape.gradient(loss.sum, values)])
    assert float(losses[0].sum) == pytest.approx(float(losses[1].sum), rel=1e-5)
    assert float(losses[0].weight) == float(losses[1].weight)
    for one, other in zip(*grads, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_rows_have_weights(teacher, tmp_path):
    """Distillation also learns the answers of single examples."""
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"abc {i}", "completion": "cab dab"} for i in range(20)]
    path.write_text("\n".join(map(json.dumps, rows)))
    data = Data(
        source=f"jsonl:{path}", format="prompt", tokenizer=str(teacher), batch=4
    )
    run = run_of(path, teacher, data=data, steps=2, eval_every=2, save_every=0)
    result = loop.train(run, tmp_path / "w")
    assert result.step == 2 and np.isfinite(result.metrics["divergence"])


@pytest.mark.long
def test_a_stop_changes_no_bit(corpus, teacher, tmp_path):
    run = run_of(corpus, teacher)
    loop.train(run, tmp_path / "whole")
    loop.train(dataclasses.replace(run, steps=3), tmp_path / "parts")
    loop.train(run, tmp_path / "parts")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        whole, parts = (tmp_path / w / "model" / name for w in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes(), name


def test_another_teacher_is_another_run(corpus, teacher, tokenizer, tmp_path):
    copy = saved(tmp_path / "teacher", tokenizer)
    run = run_of(corpus, teacher, Distill(teacher=copy), steps=1, eval_every=0)
    loop.train(run, tmp_path / "w")
    model = directory.load(copy).model
    model.trainable_weights[0].assign_add(tf.ones_like(model.trainable_weights[0]))
    directory.save(copy, model, tokenizer, replace=True)
    with pytest.raises(ValueError, match="teacher model.safetensors: the content chan"):
        loop.train(run, tmp_path / "w")


def saved(folder, tokenizer, name="transformer_lm", **sizes):
    directory.save(folder, zoo.build(name, **{**SIZES, **sizes}), tokenizer)
    return str(folder)


def test_what_is_refused(corpus, teacher, tokenizer, tmp_path):
    other = tokenizers.train([corpus.read_text().upper()], 300)
    cases = {
        "config.objective.teacher: empty": "",
        "another is no language model": saved(
            tmp_path / "another", tokenizer, "text_encoder"
        ),
        "has a vocabulary of 310, and the model that learns one of 300": saved(
            tmp_path / "wide", tokenizer, vocab_size=310
        ),
        "has a context of 8, at least the run's 16": saved(
            tmp_path / "short", tokenizer, context=8
        ),
        "has other tokens than the run's tokenizer": saved(tmp_path / "other", other),
        "nowhere": str(tmp_path / "nowhere"),
    }
    for words, folder in cases.items():
        run = run_of(corpus, teacher, Distill(teacher=folder))
        with pytest.raises(ValueError) as error:
            loop.train(run, tmp_path / "w")
        assert words in str(error.value)
        assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"divergence": "kl"}, "objective.divergence: 'kl'. "),
        ({"temperature": 0.0}, "objective.temperature: 0.0, above 0 allowed"),
        ({"alpha": 1.5}, "objective.alpha: 1.5, 0 to 1 allowed"),
    ],
)
def test_options(fields, words):
    with pytest.raises(ValueError) as error:
        Distill(teacher="x", **fields)
    assert words in str(error.value)
