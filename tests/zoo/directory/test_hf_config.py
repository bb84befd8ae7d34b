"""Which Configs each family can say, and that they say them without loss."""

import dataclasses
import json
import math

import numpy as np
import pytest

from zoo.directory import hf, uninitialized
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
LINEAR = {"rope_scaling": "linear", "rope_factor": 2.0}
BEFORE = {"rope_factor": 2.0, "rope_context": 4}
LLAMA3 = {"rope_scaling": "llama3", "rope_slow": 1.0, "rope_fast": 4.0, **BEFORE}
YARN = {"rope_scaling": "yarn", "rope_fast": 16.0, **BEFORE}
MIXED = {"window": 3, "global_layers": (0, 2), "layers": 3}
GEMMA2 = dataclasses.replace(
    LLAMA, norm="rmsnorm_1p", norm_place="both", scaled_embedding=True
)
GEMMA3 = dataclasses.replace(
    GEMMA2, qk_norm=True, rope_local_theta=100.0, **MIXED, **LINEAR
)
NEOX = dataclasses.replace(
    GPT2,
    head_width=4,
    positions="rotary",
    rotary_fraction=0.5,
    residual="parallel",
    tied_head=False,
)
PHI = dataclasses.replace(NEOX, residual="parallel_shared", head_bias=True)


@pytest.mark.parametrize(
    "config, family",
    [
        (GPT2, "gpt2"),
        (dataclasses.replace(GPT2, tied_head=False, dropout=0.2), "gpt2"),
        (dataclasses.replace(GPT2, activation="relu", norm_epsilon=1e-3), "gpt2"),
        (LLAMA, "llama"),
        (dataclasses.replace(LLAMA, dropout=0.1), "llama"),
        (dataclasses.replace(LLAMA, qkv_bias=True, out_bias=True), "llama"),
        (dataclasses.replace(LLAMA, mlp_bias=True, tied_head=True), "llama"),
        (dataclasses.replace(LLAMA, activation="gelu_tanh"), "llama"),
        (dataclasses.replace(LLAMA, **LINEAR), "llama"),
        (dataclasses.replace(LLAMA, **LLAMA3), "llama"),
        (dataclasses.replace(LLAMA, **YARN), "llama"),
        (dataclasses.replace(LLAMA, **YARN, rope_magnitude=0.7), "llama"),
        (dataclasses.replace(LLAMA, width=13), "mistral"),
        (dataclasses.replace(LLAMA, window=3, **LLAMA3), "mistral"),
        (dataclasses.replace(LLAMA, qkv_bias=True), "qwen2"),
        (dataclasses.replace(LLAMA, qkv_bias=True, window=3, tied_head=True), "qwen2"),
        (dataclasses.replace(LLAMA, qk_norm=True), "qwen3"),
        (dataclasses.replace(LLAMA, qk_norm=True, **MIXED, **YARN), "qwen3"),
        (
            dataclasses.replace(LLAMA, qk_norm=True, qkv_bias=True, out_bias=True),
            "qwen3",
        ),
        (GEMMA2, "gemma2"),
        (dataclasses.replace(GEMMA2, logit_softcap=9.0, **LLAMA3), "gemma2"),
        (dataclasses.replace(GEMMA2, attention_softcap=9.0, **MIXED), "gemma2"),
        (dataclasses.replace(GEMMA2, query_scalar=5, tied_head=True), "gemma2"),
        (dataclasses.replace(GEMMA2, qk_norm=True), "gemma3_text"),
        (GEMMA3, "gemma3_text"),
        (
            dataclasses.replace(
                GEMMA3, logit_softcap=9.0, qkv_bias=True, out_bias=True
            ),
            "gemma3_text",
        ),
        (NEOX, "gpt_neox"),
        (dataclasses.replace(NEOX, residual="sequential", dropout=0.1), "gpt_neox"),
        (dataclasses.replace(NEOX, qkv_bias=False, out_bias=False), "gpt_neox"),
        (dataclasses.replace(NEOX, **YARN, tied_head=True), "gpt_neox"),
        (dataclasses.replace(GPT2, position_offset=2, dropout=0.1), "opt"),
        (
            dataclasses.replace(
                GPT2, position_offset=2, qkv_bias=False, out_bias=False, mlp_bias=False
            ),
            "opt",
        ),
        (PHI, "phi"),
        (
            dataclasses.replace(PHI, qk_norm=True, rotary_fraction=1.0, dropout=0.1),
            "phi",
        ),
        (dataclasses.replace(PHI, kv_heads=1, **LINEAR), "phi"),
    ],
)
def test_says_it_without_loss(config, family):
    value = json.loads(json.dumps(hf.to_hf(config)))
    assert value["model_type"] == family
    assert hf.with_defaults(hf.from_hf(value, "config.json")) == hf.with_defaults(
        config
    )


@pytest.mark.parametrize(
    "base, changes",
    [
        (GPT2, {"norm_place": "post"}),
        (GPT2, {"logit_softcap": 30.0}),
        (GPT2, {"kv_heads": 1}),
        (GPT2, {"head_width": 6}),
        (GPT2, {"gated": True}),
        (GPT2, {"mlp_bias": False}),
        (GPT2, {"positions": "rotary", "head_width": 6}),
        (GPT2, {"rope_theta": 5.0}),
        (GPT2, {"position_offset": 1}),
        (GPT2, {"scaled_embedding": True}),
        (GPT2, {"window": 3}),
        (GPT2, {"norm": "rmsnorm"}),
        (LLAMA, {"out_bias": True}),
        (LLAMA, {"rotary_fraction": 0.5, "head_width": 8}),
        (LLAMA, {"qk_norm": True, "mlp_bias": True}),
        (LLAMA, {"window": 3, "mlp_bias": True}),
        (LLAMA, {"window": 3, "rope_local_theta": 9.0}),
        (LLAMA, {"query_scalar": 5}),
        (LLAMA, {"attention_softcap": 5.0}),
        (LLAMA, {"scaled_embedding": True}),
        (LLAMA, {"norm": "rmsnorm_1p"}),
        (LLAMA, {"norm_place": "both"}),
        (LLAMA, {"rope_context": 5}),
        (GEMMA2, {"width": 13}),
        (GEMMA2, {"gated": False}),
        (GEMMA3, {"attention_softcap": 5.0}),
        (NEOX, {"norm_epsilon": 0.0, "window": 2}),
        (NEOX, {"residual": "parallel_shared"}),
        (PHI, {"qkv_bias": False}),
        (LLAMA, {"gated": False}),
        (LLAMA, {"norm": "layernorm"}),
        (LLAMA, {"positions": "learned"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else value.norm,
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


@pytest.mark.parametrize(
    "config",
    [
        GPT2,
        LLAMA,
        dataclasses.replace(LLAMA, qkv_bias=True),
        dataclasses.replace(LLAMA, qk_norm=True),
        GEMMA2,
        GEMMA3,
        NEOX,
        dataclasses.replace(GPT2, position_offset=2),
        dataclasses.replace(PHI, qk_norm=True),
    ],
    ids=lambda config: hf.to_hf(config)["model_type"],
)
def test_every_tensor_belongs_to_one_variable(config):
    from zoo import registry

    rows = hf.weight_mappings(hf.to_hf(config)["model_type"], config)
    hf_name = [name for mapping in rows for name in mapping.hf_names]
    assert len(hf_name) == len(set(hf_name))
    paths = {v.path for v in registry.build_config(config).weights}
    assert sorted(mapping.path for mapping in rows) == sorted(paths)


def test_rows_there_and_back():
    """Every layout: side by side, transposed, and head by head."""
    value = np.arange(24.0).reshape(12, 2)
    side = hf.WeightMapping("x", ("a", "b"), (8, 4))
    transposed = hf.WeightMapping("x", ("a",), (12,), transposed=True)
    heads = hf.WeightMapping("x", ("a",), (12,), heads=2)
    for mapping in (side, transposed, heads):
        hf_name = mapping.to_hf(value)
        assert [x.shape for x in hf_name.values()] == mapping.shapes(value.shape)
        np.testing.assert_array_equal(
            mapping.to_variable(list(hf_name.values())), value
        )
    assert side.to_hf(value)["b"][0, 0] == 16 and transposed.shapes((12, 2)) == [
        (2, 12)
    ]
    # of two heads of width 2: query, key and value of the first come first
    first = heads.to_hf(value)["a"][:6, 0]
    np.testing.assert_array_equal(first, [0, 2, 8, 10, 16, 18])


LLAMA_3 = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0}
LLAMA_3 |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
# V, D, layers, H, K, feed-forward width, context, and what else config.json says
PUBLISHED = {
    "gpt2": (124_439_808, "gpt2", None),
    "SmolLM2-135M": (
        134_515_008,
        "llama",
        (49152, 576, 30, 9, 3, 1536, 8192),
        {"tie_word_embeddings": True, "rope_theta": 100000, "rope_scaling": None},
    ),
    "Llama-3.2-1B": (
        1_235_814_400,
        "llama",
        (128256, 2048, 16, 32, 8, 8192, 131072),
        {"tie_word_embeddings": True, "head_dim": 64, "rope_scaling": LLAMA_3},
    ),
    "Mistral-7B-v0.1": (
        7_241_732_096,
        "mistral",
        (32000, 4096, 32, 32, 8, 14336, 32768),
        {"sliding_window": 4096, "tie_word_embeddings": False},
    ),
    "Qwen2.5-0.5B": (
        494_032_768,
        "qwen2",
        (151936, 896, 24, 14, 2, 4864, 32768),
        {"tie_word_embeddings": True, "use_sliding_window": False}
        | {"sliding_window": 32768, "max_window_layers": 24, "use_mrope": False},
    ),
    "Qwen3-0.6B": (
        596_049_920,
        "qwen3",
        (151936, 1024, 28, 16, 8, 3072, 40960),
        {"tie_word_embeddings": True, "head_dim": 128, "attention_bias": False}
        | {"use_sliding_window": False, "sliding_window": None}
        | {"max_window_layers": 28},
    ),
    "gemma-2-2b": (
        2_614_341_888,
        "gemma2",
        (256000, 2304, 26, 8, 4, 9216, 8192),
        {"head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 4096}
        | {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
        | {"hidden_act": "gelu_pytorch_tanh"},
    ),
    "gemma-3-1b": (
        999_885_952,
        "gemma3_text",
        (262144, 1152, 26, 4, 1, 6912, 32768),
        {"head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 512}
        | {"sliding_window_pattern": 6, "rope_local_base_freq": 10000}
        | {"attn_logit_softcapping": None, "final_logit_softcapping": None},
    ),
    "pythia-70m": (
        70_426_624,
        "gpt_neox",
        (50304, 512, 6, 8, 8, 2048, 2048),
        {"rotary_pct": 0.25, "rotary_emb_base": 10000, "use_parallel_residual": True},
    ),
    "opt-125m": (
        125_239_296,
        "opt",
        (50272, 768, 12, 12, 12, 3072, 2048),
        {"ffn_dim": 3072, "word_embed_proj_dim": 768, "layerdrop": 0.0}
        | {"do_layer_norm_before": True, "_remove_final_layer_norm": False},
    ),
    "phi-2": (
        2_779_683_840,
        "phi",
        (51200, 2560, 32, 32, 32, 10240, 2048),
        {"partial_rotary_factor": 0.4, "qk_layernorm": False, "resid_pdrop": 0.1},
    ),
}
SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
SIZES += ("num_key_value_heads", "intermediate_size", "max_position_embeddings")
GPT2_SIZES = {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768}
GPT2_SIZES |= {"n_layer": 12, "n_head": 12}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_have_their_number_of_weights(name):
    count, family, sizes, *said = PUBLISHED[name]
    value = dict(zip(SIZES, sizes, strict=True)) if sizes else GPT2_SIZES
    value = {"model_type": family, **value, **(said[0] if said else {})}
    config = hf.from_hf(value, "config.json")
    assert hf.to_hf(config)["model_type"] == family
    # the sizes of the rows, times what the tensors are wide: no memory is taken
    few = dataclasses.replace(config, layers=2, global_layers=())
    few = dataclasses.replace(few, vocab_size=8, context=8)
    more = dataclasses.replace(few, layers=3)
    sums = []
    for each in (few, more):
        model, _ = uninitialized.build(each)
        sums.append(sum(math.prod(v.shape) for v in model.weights))
    total = sums[0] + (config.layers - 2) * (sums[1] - sums[0])
    tables = config.vocab_size - 8
    total += tables * config.width * (1 if config.tied_head else 2)
    total += tables if config.head_bias else 0
    if config.positions == "learned":
        total += (config.context - 8) * config.width
    assert total == count
