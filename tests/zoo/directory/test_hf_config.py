"""Which Configs GPT-2 and Llama can say, and that they say them without loss."""

import dataclasses
import json

import pytest

from zoo.directory import hf
from zoo.models.transformer_lm import Config

GPT2 = Config(vocab_size=50, context=8, width=12, layers=1, heads=3, mlp_width=20)
LLAMA = Config(
    vocab_size=50,
    context=8,
    width=12,
    layers=1,
    heads=3,
    kv_heads=1,
    head_width=6,
    mlp_width=20,
    norm="rmsnorm",
    positions="rotary",
    rope_theta=500.0,
    activation="silu",
    gated=True,
    qkv_bias=False,
    out_bias=False,
    mlp_bias=False,
    tied_head=False,
    norm_epsilon=1e-6,
)


@pytest.mark.parametrize(
    "config, family",
    [
        (GPT2, "gpt2"),
        (dataclasses.replace(GPT2, tied_head=False, dropout=0.2), "gpt2"),
        (dataclasses.replace(GPT2, activation="relu", norm_epsilon=1e-3), "gpt2"),
        (LLAMA, "llama"),
        (dataclasses.replace(LLAMA, qkv_bias=True, out_bias=True), "llama"),
        (dataclasses.replace(LLAMA, mlp_bias=True, tied_head=True), "llama"),
        (dataclasses.replace(LLAMA, activation="gelu_tanh"), "llama"),
    ],
)
def test_says_it_without_loss(config, family):
    value = json.loads(json.dumps(hf.to_hf(config)))
    assert value["model_type"] == family
    assert hf.from_hf(value, "config.json") == config


@pytest.mark.parametrize(
    "base, changes",
    [
        (GPT2, {"norm_place": "post"}),
        (GPT2, {"logit_softcap": 30.0}),
        (GPT2, {"kv_heads": 1}),
        (GPT2, {"head_width": 6}),
        (GPT2, {"gated": True}),
        (GPT2, {"mlp_bias": False}),
        (GPT2, {"positions": "rotary", "head_width": 4}),
        (GPT2, {"norm": "rmsnorm"}),
        (LLAMA, {"qkv_bias": True}),
        (LLAMA, {"gated": False}),
        (LLAMA, {"dropout": 0.1}),
        (LLAMA, {"norm": "layernorm"}),
        (LLAMA, {"positions": "learned"}),
    ],
    ids=str,
)
def test_does_not_say_what_it_cannot(base, changes):
    assert hf.to_hf(dataclasses.replace(base, **changes)) is None


def test_defaults_of_old_files():
    gpt2 = {"vocab_size": 50, "n_positions": 8, "n_embd": 12, "n_layer": 1, "n_head": 3}
    config = hf.from_hf({"model_type": "gpt2", **gpt2}, "config.json")
    assert config.tied_head and config.activation == "gelu_tanh"
    assert config.mlp_width in (0, 48)
    llama = {
        "vocab_size": 50,
        "max_position_embeddings": 8,
        "hidden_size": 12,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 20,
    }
    config = hf.from_hf({"model_type": "llama", **llama}, "config.json")
    assert config.gated and not config.tied_head and config.rope_theta == 10000.0
    assert not (config.qkv_bias or config.out_bias or config.mlp_bias)
    new = {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}
    config = hf.from_hf({"model_type": "llama", **llama, **new}, "config.json")
    assert config.rope_theta == 500000.0


@pytest.mark.parametrize("config", [GPT2, LLAMA])
def test_every_tensor_belongs_to_one_variable(config):
    from zoo import registry

    rows = hf.rows(hf.to_hf(config)["model_type"], config)
    theirs = [name for row in rows for name in row.theirs]
    assert len(theirs) == len(set(theirs))
    paths = {v.path for v in registry.build_config(config).weights}
    assert sorted(row.ours for row in rows) == sorted(paths)
