"""Fine-tuning: what a pretrained model brings along, and what it may cost."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from trainers import loop, memory, roles
from trainers.feeds import text
from trainers.objectives import LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo import directory, models, registry
from zoo.models import transformer_lm
from zoo.text import tokenizer as tokenizers

LLAMA = {
    "vocab_size": 300,
    "context": 32,
    "width": 16,
    "layers": 2,
    "heads": 2,
    "norm": "rmsnorm",
    "positions": "rotary",
    "activation": "silu",
    "gated": True,
    "mlp_width": 24,
    "qkv_bias": False,
    "out_bias": False,
    "mlp_bias": False,
    "tied_head": False,
}


@pytest.fixture(scope="module")
def llama(corpus, tmp_path_factory):
    """A model directory that other programs read as a Llama."""
    keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("llama") / "m"
    generation = directory.GenerationConfig(
        max_new_tokens=7, temperature=0.5, top_k=11, stop=("zz",)
    )
    tokenizer = tokenizers.train([corpus.read_text()], 300)
    model = models.build("transformer_lm", **LLAMA)
    directory.save(folder, model, tokenizer, generation)
    assert read(folder)["model_type"] == "llama"
    return folder


def read(folder, name="config.json"):
    return json.loads((folder / name).read_text())


def run_of(llama, corpus, **changes):
    run = Run(
        init_from=str(llama),
        objective=LanguageModel(),
        data=Data(source=f"text:{corpus}", batch=4),
        optimizer=Optimizer(lr=0.01),
        steps=2,
    )
    return dataclasses.replace(run, **changes)


def test_init_from_alone(llama, corpus, tmp_path):
    """The generation defaults, the family and the tokenizer stay."""
    loop.train(run_of(llama, corpus), tmp_path / "w")
    made = tmp_path / "w/model"
    assert read(made) == read(llama)
    for name in ("generation_config.json", "tokenizer.json"):
        assert read(made, name) == read(llama, name)
    first, second = directory.load(llama).model, directory.load(made).model
    assert not np.array_equal(first.weights[0], second.weights[0])


def test_a_llama_with_dropout_stays_a_llama(llama, corpus, tmp_path):
    model = transformer_lm.Config(**LLAMA, dropout=0.3)
    loop.train(run_of(llama, corpus, model=model), tmp_path / "w")
    saved = read(tmp_path / "w/model")
    assert {**read(llama), "zoo": saved["zoo"]} == saved


def test_no_random_model_beside_the_loaded_one(llama, corpus, monkeypatch):
    run = run_of(llama, corpus, precision="bfloat16")
    start = roles.start(run)

    def refuse(*_, **__):
        raise AssertionError("random weights were drawn")

    monkeypatch.setattr(keras.initializers.RandomNormal, "__call__", refuse)
    made = roles.make(run, start)
    for left, right in zip(
        made["policy"].weights, directory.load(llama).model.weights, strict=True
    ):
        np.testing.assert_array_equal(left, right)


def test_the_window_of_a_long_context():
    config = transformer_lm.Config(context=8192)
    own = Run(model=config, objective=LanguageModel(), steps=1)
    imported = dataclasses.replace(own, model=None, init_from="x")
    assert text.window(own, config) == 8192 and text.window(imported, config) == 1024
    imported.data = Data(length=4096)
    assert text.window(imported, config) == 4096


def test_a_step_that_cannot_fit_is_refused(llama, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**5)
    with pytest.raises(ValueError) as error:
        loop.train(run_of(llama, corpus), tmp_path / "w")
    words = str(error.value)
    assert "activations of 4 x 32" in words and "0.0 GB are free" in words
    assert "lower config.data.length or config.data.batch" in words
    assert not (tmp_path / "w").exists()


def test_the_estimate_meets_what_was_measured():
    """MB by which a step raised the peak of a process, beside its gradients."""
    small = {"vocab_size": 4096, "width": 256, "layers": 4, "heads": 4}
    for fields, batch, length, measured in (
        ({**small, "context": 512}, 8, 512, 712),
        ({**small, "context": 4096}, 1, 4096, 1382),
        ({**small, "context": 512, "gated": True, "mlp_width": 1024}, 8, 512, 842),
    ):
        config = transformer_lm.Config(**fields)
        found = memory.activations(config, batch, length, "float32") / 2**20
        assert found == pytest.approx(measured, rel=0.05)
    assert memory.activations(config, 8, 512, "bfloat16") < found * 2**20 / 1.9


def test_the_estimate_counts_both_sides_of_an_encoder_decoder():
    def estimate(name, **fields):
        config = registry.config(name, vocab_size=1, **fields)
        return memory.activations(config, 8, 64, "float32") - 2 * 8 * 64 * 4

    one = estimate("encoder_decoder", layers=1, encoder_layers=1)
    assert estimate("encoder_decoder", layers=3, encoder_layers=5) == 4 * one
    lstm = estimate("lstm_lm", units=256, layers=1)
    found = estimate("recurrent_encoder_decoder", units=256, layers=1)
    assert found == 3 * lstm + 8 * 64 * 64 * 256 * 4


def test_free_memory_is_known():
    free = memory.available()
    assert free is None or 2**20 < free < 2**50
