"""Fine-tuning on single examples: what is learnt, and that a stop changes nothing."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

import zoo
from trainers import feeds, loop
from trainers import roles as roles_lib
from trainers.objectives import Classify, LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo import directory
from zoo.models import dense_net


@pytest.fixture(scope="module")
def start(tokenizer, tmp_path_factory):
    """A tiny model directory."""
    tf.keras.utils.set_random_seed(0)
    model = zoo.build(
        "transformer_lm", vocab_size=300, context=64, width=16, layers=1, heads=2
    )
    folder = tmp_path_factory.mktemp("start") / "model"
    directory.save(folder, model, tokenizer)
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Questions with answers of many lengths."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {"question": f"abc {i} dab", "answer": " ".join(["cab"] * (1 + i % 9))}
        for i in range(40)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def run_of(start, pairs, **fields):
    data = Data(
        source=f"jsonl:{pairs}",
        format="prompt",
        fields=("prompt=question", "completion=answer"),
        hold_out=0.2,
        batch=4,
    )
    usual = dict(steps=6, eval_every=3, save_every=3, init_from=str(start))
    optimizer = Optimizer(lr=1e-2, decay="constant")
    return Run(
        objective=LanguageModel(), data=data, optimizer=optimizer, **{**usual, **fields}
    )


def test_answers_are_learnt(start, pairs, tmp_path, capsys):
    result = loop.train(run_of(start, pairs, steps=30), tmp_path / "w")
    lines = (tmp_path / "w/metrics.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert first["step"] == 0 and result.metrics["loss"] < first["loss"] - 1
    assert "0 bad, 0 dropped, 0 cut" in capsys.readouterr().out


def test_prompts_have_no_gradient(start, pairs):
    run = run_of(start, pairs)
    begun = roles_lib.start(run)
    feed = feeds.make(run, begun)
    roles = roles_lib.make(run, begun)
    batch = next(iter(feed.train(0, roles)))
    with tf.GradientTape() as tape:
        x_BTD = roles["policy"].features(batch["tokens"], training=True)
        logits_BTV = roles["policy"].logits(x_BTD)
        tape.watch(logits_BTV)
        loss_BT = tf.nn.sparse_softmax_cross_entropy_with_logits(
            batch["targets"], logits_BTV
        )
        total = tf.reduce_sum(loss_BT * batch["weights"])
    grads_BTV = tape.gradient(total, logits_BTV).numpy()
    masked_BT = batch["weights"].numpy() == 0
    assert masked_BT.any() and not grads_BTV[masked_BT].any()
    ours = run.objective.loss(roles, batch, training=True)
    np.testing.assert_allclose(ours.sum, total, rtol=1e-5)


def test_a_stop_changes_no_bit(start, pairs, tmp_path):
    run = run_of(start, pairs)
    loop.train(run, tmp_path / "whole")
    loop.train(dataclasses.replace(run, steps=3), tmp_path / "parts")
    loop.train(run, tmp_path / "parts")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        whole, parts = (tmp_path / w / "model" / name for w in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes(), name


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"format": "chats"}, "config.data.format: 'chats'. Did you mean chat?"),
        ({"fields": ("prompt:q",)}, "config.data.fields: 'prompt:q', field=column"),
        ({"fields": ("promt=q",)}, "config.data.fields: 'promt'. Did you mean prompt?"),
        ({"fields": ()}, "line 1: no column 'prompt'"),
        ({"length": 3}, "tokens, at most 4 allowed"),
        ({"too_long": "shorten"}, "config.data.too_long: 'shorten'"),
        ({"format": "chat", "fields": ()}, "no column 'messages'"),
    ],
)
def test_what_is_refused(fields, words, start, pairs, tmp_path):
    run = run_of(start, pairs)
    run = dataclasses.replace(run, data=dataclasses.replace(run.data, **fields))
    with pytest.raises(ValueError) as error:
        loop.train(run, tmp_path / "w")
    assert words in str(error.value)
    assert not (tmp_path / "w").exists()


def test_rows_need_a_tokenizer(start, pairs, tmp_path):
    model = directory.load(start).model.config
    run = run_of(start, pairs, init_from="", model=model)
    with pytest.raises(ValueError, match="config.data.tokenizer: none"):
        loop.train(run, tmp_path / "w")


def test_a_table_has_no_format(tmp_path):
    run = Run(
        model=dense_net.Config(),
        objective=Classify(),
        data=Data(source="sklearn:breast_cancer", format="prompt"),
        steps=1,
    )
    with pytest.raises(ValueError, match="config.data.format: 'prompt', but a table"):
        loop.train(run, tmp_path / "w")
