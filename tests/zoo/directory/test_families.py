"""Models of every family as transformers made them: the same logits, the same text.

The golden files in `families` are tiny random checkpoints with what transformers and
torch say of them; `families/make_golden.py` made them.
"""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from zoo import directory, registry
from zoo.decode import loop, sampling
from zoo.directory import hf

FOLDER = pathlib.Path(__file__).parent / "families"
FAMILIES = sorted(path.parent.name for path in FOLDER.glob("*/config.json"))


@pytest.fixture(scope="module")
def models():
    """The models, each loaded once."""
    made = {}

    def get(family):
        if family not in made:
            made[family] = directory.load(FOLDER / family).model
        return made[family]

    return get


def golden(family):
    return np.load(FOLDER / family / "golden.npz")


def difference(model, family):
    """The largest distance from the logits of transformers, at real tokens."""
    wanted = golden(family)
    logits = model(tf.constant(wanted["tokens"])).numpy()
    real = np.arange(logits.shape[1]) < wanted["lengths"][:, None]
    return np.abs(logits - wanted["logits"])[real].max()


def test_every_family_is_here():
    assert FAMILIES == sorted(hf.DECODERS)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits(family, models):
    assert np.abs(golden(family)["logits"]).max() > 1
    assert difference(models(family), family) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_text(family, models):
    wanted = golden(family)
    rows, new = wanted["greedy"].shape
    assert new == 64
    knobs = sampling.Knobs(
        max_new_tokens=tf.fill([rows], new),
        temperature=tf.zeros([rows]),
        top_k=tf.zeros([rows], tf.int32),
        top_p=tf.ones([rows]),
        min_p=tf.zeros([rows]),
        repetition_penalty=tf.ones([rows]),
        seed=tf.zeros([rows], tf.int64),
    )

    @tf.function(autograph=False)
    def decode(tokens, lengths):
        return loop.decode(models(family), tokens, lengths, knobs, ()).tokens

    tokens = decode(tf.constant(wanted["tokens"]), tf.constant(wanted["lengths"]))
    np.testing.assert_array_equal(tokens, wanted["greedy"])


@pytest.mark.parametrize("family", FAMILIES)
def test_import_export_import(family, models, tmp_path):
    """No bit of the model is lost, nor of the file."""
    model = models(family)
    directory.save(tmp_path / "m", model)
    again = directory.load(tmp_path / "m").model
    assert hf.with_defaults(again.config) == hf.with_defaults(model.config)
    for mine, other in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(mine, other)
    file = "model.safetensors"
    first = safetensors.numpy.load_file(FOLDER / family / file)
    second = safetensors.numpy.load_file(tmp_path / "m" / file)
    renamed = {hf.canonical(family, model.config, name): x for name, x in first.items()}
    assert renamed.keys() == second.keys()
    for name, value in renamed.items():
        np.testing.assert_array_equal(value, second[name])


@pytest.mark.parametrize("family", FAMILIES)
def test_is_written_as_itself(family, models):
    value = json.loads((FOLDER / family / "config.json").read_text())
    assert value["model_type"] == family
    assert hf.to_hf(models(family).config)["model_type"] == family


# What each family's choices do: without one of them the logits are others.
CHOICES = [
    ("gpt2", {"activation": "gelu"}, 5e-4),
    ("llama", {"rope_scaling": "none"}, 0.1),
    ("llama", {"rope_slow": 0.5}, 0.1),
    ("llama", {"rope_theta": 1e4}, 0.1),
    ("mistral", {"window": 0}, 0.1),
    ("mistral", {"window": 4}, 0.1),
    ("mistral", {"window": 6}, 0.1),
    ("qwen2", {"rope_scaling": "none"}, 0.1),
    ("qwen2", {"rope_magnitude": 1.0}, 0.1),
    ("qwen2", {"qkv_bias": False}, 0.1),
    ("qwen3", {"qk_norm": False}, 0.1),
    ("qwen3", {"window": 0, "global_layers": ()}, 0.1),
    ("qwen3", {"global_layers": ()}, 0.1),
    ("qwen3", {"global_layers": (1,)}, 0.1),
    ("gemma2", {"norm": "rmsnorm"}, 0.1),
    ("gemma2", {"norm_place": "pre"}, 0.1),
    ("gemma2", {"scaled_embedding": False}, 0.1),
    ("gemma2", {"query_scalar": 0}, 0.1),
    ("gemma2", {"attention_softcap": 0.0}, 0.1),
    ("gemma2", {"logit_softcap": 0.0}, 0.1),
    ("gemma2", {"global_layers": (0,)}, 0.1),
    ("gemma2", {"activation": "gelu"}, 5e-4),
    ("gemma3_text", {"qk_norm": False}, 0.1),
    ("gemma3_text", {"rope_scaling": "none"}, 0.1),
    ("gemma3_text", {"rope_local_theta": 0.0}, 0.1),
    ("gemma3_text", {"query_scalar": 0}, 0.1),
    ("gemma3_text", {"global_layers": ()}, 0.1),
    ("gpt_neox", {"residual": "sequential"}, 0.1),
    ("gpt_neox", {"residual": "parallel_shared"}, 0.1),
    ("gpt_neox", {"rotary_fraction": 1.0}, 0.1),
    ("gpt_neox", {"activation": "gelu_tanh"}, 5e-4),
    ("opt", {"position_offset": 0}, 0.1),
    ("opt", {"activation": "gelu"}, 0.1),
    ("phi", {"residual": "sequential"}, 0.1),
    ("phi", {"rotary_fraction": 1.0}, 0.1),
    ("phi", {"head_bias": False}, 0.1),
]


@pytest.mark.parametrize("family, changes, least", CHOICES, ids=str)
def test_every_choice_matters(family, changes, least, models):
    model = models(family)
    other = registry.build_config(dataclasses.replace(model.config, **changes))
    values = {v.path: v.numpy() for v in model.weights}
    for variable in other.weights:
        if variable.path in values:
            value = values[variable.path]
            variable.assign(value[: variable.shape[0]])
    assert difference(other, family) > least


# ---- as other programs read it ----


def read(family):
    return json.loads((FOLDER / family / "config.json").read_text())


OLD = {
    "llama": ("rope_theta", "rope_scaling"),
    "qwen2": ("rope_theta", "rope_scaling"),
    "gemma3_text": ("rope_theta", "rope_local_base_freq", "rope_scaling"),
    "gpt_neox": ("rotary_pct", "rotary_emb_base"),
    "phi": ("rope_theta", "partial_rotary_factor"),
}


@pytest.mark.parametrize("family", OLD)
def test_both_spellings_of_rotary_positions(family):
    """transformers 5 wrote the golden config; we write what 4 reads as well."""
    new = read(family)
    assert "rope_parameters" in new and not set(OLD[family]) & set(new)
    config = hf.from_hf(new, "config.json")
    old = hf.to_hf(config)
    assert "rope_parameters" not in old and set(OLD[family]) <= set(old)
    assert hf.with_defaults(hf.from_hf(old, "config.json")) == hf.with_defaults(config)
    if "rope_scaling" in old:  # the key of transformers before 4.43
        old["rope_scaling"]["type"] = old["rope_scaling"].pop("rope_type")
        assert hf.with_defaults(hf.from_hf(old, "config.json")) == hf.with_defaults(
            config
        )


def test_layers_without_layer_types():
    """Files that are older than the field say it by a rule."""

    def layers(family, count, **changes):
        value = {**read(family), "num_hidden_layers": count, **changes}
        value.pop("layer_types", None)
        config = hf.from_hf(value, "config.json")
        return config.window, config.global_layers

    assert layers("mistral", 3) == (5, ())
    assert layers("mistral", 3, sliding_window=None) == (0, ())
    assert layers("gemma2", 5) == (4, (1, 3))
    assert layers("gemma3_text", 13) == (4, (5, 11))
    assert layers("gemma3_text", 5, sliding_window_pattern=2) == (4, (1, 3))
    assert layers("qwen3", 5, max_window_layers=3) == (4, (0, 1, 2))
    assert layers("qwen3", 5, max_window_layers=5) == (0, ())
    assert layers("qwen3", 5, use_sliding_window=False) == (0, ())
    assert layers("qwen3", 5, sliding_window=None) == (0, ())


def test_old_names_of_tensors():
    config = hf.from_hf(read("gpt2"), "config.json")
    names = {
        "h.0.attn.c_attn.bias": "transformer.h.0.attn.c_attn.bias",
        "transformer.wte.weight": "transformer.wte.weight",
        "h.0.attn.bias": None,
        "h.1.attn.masked_bias": None,
        "lm_head.weight": None,
    }
    for hf_name, wanted in names.items():
        assert hf.canonical("gpt2", config, hf_name) == wanted
    config = hf.from_hf(read("gpt_neox"), "config.json")
    names = {
        "lm_head.weight": "embed_out.weight",
        "embed_out.weight": "embed_out.weight",
        "gpt_neox.layers.0.attention.bias": None,
        "gpt_neox.layers.0.attention.rotary_emb.inv_freq": None,
        "gpt_neox.layers.0.attention.dense.bias": (
            "gpt_neox.layers.0.attention.dense.bias"
        ),
    }
    for hf_name, wanted in names.items():
        assert hf.canonical("gpt_neox", config, hf_name) == wanted
    config = hf.from_hf(read("llama"), "config.json")
    assert hf.canonical("llama", config, "lm_head.weight") == "lm_head.weight"
    assert hf.canonical("llama", config, "layers.0.x") == "model.layers.0.x"
    config = hf.from_hf(read("opt"), "config.json")
    assert hf.canonical("opt", config, "decoder.x") == "model.decoder.x"


# ---- what is refused ----

YARN = {"rope_type": "yarn", "factor": 2.0}
REFUSED = [
    ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights False; allowed: True"),
    ("gpt2", {"add_cross_attention": True}, "add_cross_attention True; allowed: False"),
    (
        "llama",
        {"partial_rotary_factor": 0.5},
        "partial_rotary_factor 0.5; allowed: 1.0",
    ),
    (
        "llama",
        {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
        "rope_scaling 'dynamic'. Allowed: default, linear, llama3, yarn.",
    ),
    ("llama", {"rope_scaling": {"rope_type": ["yarn"]}}, "rope_scaling ['yarn']"),
    ("llama", {"rope_scaling": "yarn"}, "rope_scaling 'yarn' is not an object"),
    ("llama", {"rope_scaling": {"type": "linear"}}, "the field 'factor' is missing"),
    ("llama", {"rope_scaling": {"type": "linear", "factor": "2"}}, "'2' is a str"),
    ("llama", {"rope_scaling": {"type": "linear", "factor": 0.5}}, "rope_factor: 0.5"),
    (
        "llama",
        {"rope_scaling": {"type": "llama3", "factor": 2.0}},
        "the field 'low_freq_factor' is missing",
    ),
    (
        "llama",
        {"rope_scaling": {**YARN, "attn_factor": 1.5}},
        "rope_scaling: attn_factor 1.5; allowed: 1",
    ),
    ("llama", {"rope_scaling": {**YARN, "truncate": False}}, "truncate False; allowed"),
    ("llama", {"rope_scaling": {**YARN, "beta_slow": 64}}, "rope_slow: 64"),
    (
        "llama",
        {"rope_scaling": {**YARN, "original_max_position_embeddings": 0}},
        "rope_context: 0, at least 1 allowed",
    ),
    ("llama", {"rope_parameters": {"rope_theta": 1.0}}, "rope_theta: 1.0, above 1"),
    ("mistral", {"layer_types": ["full_attention"] * 2}, "layer_types ['full_att"),
    ("mistral", {"sliding_window": 0}, "sliding_window 0, but"),
    ("mistral", {"sliding_window": "all"}, "sliding_window 'all', but"),
    ("mistral", {"num_hidden_layers": 10**12}, "num_hidden_layers 1000000000000, at"),
    ("mistral", {"num_hidden_layers": "2"}, "num_hidden_layers '2' is not an integer"),
    ("qwen2", {"layer_types": ["full_attention"]}, "is not a list of 2"),
    ("qwen2", {"layer_types": ["full_attention", "x"]}, "layer_types 'x'; allowed: "),
    ("qwen2", {"layer_types": ["full_attention", {}]}, "layer_types {}; allowed: "),
    ("qwen2", {"use_sliding_window": "yes"}, "use_sliding_window 'yes'; allowed: "),
    (
        "qwen2",
        {"layer_types": ["full_attention", "sliding_attention"]},
        "sliding_window None, but layer_types has sliding_attention",
    ),
    ("qwen3", {"max_window_layers": None}, "max_window_layers None is not an integer"),
    ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
    ("gemma2", {"query_pre_attn_scalar": "x"}, "query_scalar: 'x' is a str"),
    ("gemma2", {"attn_logit_softcapping": -1.0}, "attention_softcap: -1.0, at least"),
    ("gemma3_text", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping 50.0"),
    ("gemma3_text", {"rope_parameters": {"full_attention": 3}}, "objects allowed"),
    (
        "gemma3_text",
        {"rope_parameters": {"sliding_attention": YARN}},
        "sliding_attention: rope_type 'yarn'; allowed: default",
    ),
    (
        "gpt_neox",
        {"rope_parameters": {"partial_rotary_factor": 0.2}},
        "rotary_fraction",
    ),
    (
        "gpt_neox",
        {"rope_parameters": {"partial_rotary_factor": 1.5}},
        "rotary_fraction: 1.5",
    ),
    ("gpt_neox", {"use_parallel_residual": None}, "use_parallel_residual None"),
    ("opt", {"do_layer_norm_before": False}, "do_layer_norm_before False"),
    ("opt", {"word_embed_proj_dim": 16}, "word_embed_proj_dim 16; allowed: 32"),
    ("opt", {"_remove_final_layer_norm": True}, "_remove_final_layer_norm True"),
    ("opt", {"layer_norm_elementwise_affine": False}, "layer_norm_elementwise_affine"),
    ("phi", {"tie_word_embeddings": True}, "head_bias: True, False with tied_head"),
]


@pytest.mark.parametrize("family, changes, words", REFUSED, ids=str)
def test_refused(family, changes, words):
    value = {**read(family), **changes}
    with pytest.raises(ValueError) as error:
        hf.from_hf(value, "DIR/config.json")
    message = str(error.value)
    assert message.startswith("DIR/config.json: ") and words in message
    assert "\n" not in message
