"""Presets of KerasHub: tiny ones that the tests save, the same logits and tokens."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import directory

keras_hub = pytest.importorskip("keras_hub")
# of Keras 3.15, which saves a variable so that numpy 2.4 complains
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

GPT2 = {"vocabulary_size": 40, "num_layers": 2, "num_heads": 2, "hidden_dim": 8}
GPT2 |= {"intermediate_dim": 12, "max_sequence_length": 16}
LLAMA = {"vocabulary_size": 40, "num_layers": 2, "num_query_heads": 4}
LLAMA |= {"num_key_value_heads": 2, "hidden_dim": 16, "intermediate_dim": 12}
STRETCHED = {"rope_frequency_adjustment_factor": 8.0, "rope_low_freq_factor": 1.0}
STRETCHED |= {"rope_high_freq_factor": 4.0, "rope_pretraining_sequence_length": 8}
QWEN_LOCAL = {"use_sliding_window_attention": True, "sliding_window_size": 5}
# KerasHub's norms of queries and keys have 1e-5, whatever a preset says
QWEN3 = {"head_dim": 6, "tie_word_embeddings": False, "layer_norm_epsilon": 1e-5}
GEMMA = {"head_dim": 6, "use_post_ffw_norm": True, "use_post_attention_norm": True}
GEMMA |= {"use_sliding_window_attention": True, "sliding_window_size": 5}
GEMMA |= {"final_logit_soft_cap": 30.0}
GEMMA2 = GEMMA | {"attention_logit_soft_cap": 50.0}
# which KerasHub 0.32 leaves out of account, though Gemma 2 27B says it: of this width
# both are the same
BY_WIDTH = {"query_head_dim_normalize": False, "head_dim": 4}
LONGER = {"global_rope_scaling_factor": 8.0}
GEMMA3 = GEMMA | {"image_size": None, "num_layers": 7}
BACKBONES = {
    "gpt2": ("GPT2Backbone", GPT2),
    "llama": ("LlamaBackbone", LLAMA),
    "llama3": ("Llama3Backbone", LLAMA | {"rope_max_wavelength": 500}),
    "llama3.1": ("Llama3Backbone", LLAMA | STRETCHED),
    "mistral": ("MistralBackbone", LLAMA | {"sliding_window": 5, "head_dim": 6}),
    "qwen2": ("QwenBackbone", LLAMA),
    "qwen2 local": ("QwenBackbone", LLAMA | QWEN_LOCAL),
    "qwen3": ("Qwen3Backbone", LLAMA | QWEN3),
    "gemma2": ("GemmaBackbone", LLAMA | GEMMA2),
    "gemma2 27b": (
        "GemmaBackbone",
        LLAMA | GEMMA2 | BY_WIDTH,
    ),
    "gemma3": ("Gemma3Backbone", LLAMA | GEMMA3),
    "gemma3 4b": (
        "Gemma3Backbone",
        LLAMA | GEMMA3 | LONGER,
    ),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_logits(name, tmp_path):
    kind, fields = BACKBONES[name]
    keras.utils.set_random_seed(0)
    backbone = getattr(keras_hub.models, kind)(**fields)
    random = np.random.default_rng(0)
    for variable in backbone.weights:  # large enough that nothing is lost in zeros
        variable.assign(variable + random.normal(size=variable.shape) * 0.3)
    backbone.save_to_preset(tmp_path)
    model, tokenizer, _ = directory.load(f"keras_hub:{tmp_path}")
    assert tokenizer is None
    tokens = tf.constant(random.integers(0, 40, [2, 12]), tf.int32)
    x = backbone({"token_ids": tokens, "padding_mask": tf.ones_like(tokens)})
    wanted = backbone.token_embedding(x, reverse=True)
    assert np.abs(wanted).max() > 1
    np.testing.assert_allclose(model(tokens), wanted, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "llama3"])
def test_tokenizers(name, tmp_path):
    kind, fields = BACKBONES[name]
    getattr(keras_hub.models, kind)(**fields).save_to_preset(tmp_path)
    special = ["<|endoftext|>"]
    if name == "llama3":
        special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
        special += ["<|start_header_id|>", "<|end_header_id|>"]
    tokens = [*special, *"theĠ12", "th", "the", "Ġthe", "12"]
    hf_name = getattr(keras_hub.models, kind.replace("Backbone", "Tokenizer"))(
        vocabulary={token: number for number, token in enumerate(tokens)},
        merges=["t h", "th e", "Ġ the", "1 2"],
    )
    hf_name.save_to_preset(tmp_path)
    _, tokenizer, _ = directory.load(f"keras_hub:{tmp_path}")
    text = "the the12"
    assert tokenizer.encode(text) == np.asarray(hf_name(text)).tolist()
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.end_token == special[name == "llama3"]
    assert tokenizer.encode(special[-1], special=True) == [len(special) - 1]
    assert len(tokenizer.encode(special[-1])) != 1


@pytest.mark.parametrize("kind, start", [("OPT", True), ("Qwen3Moe", False)])
def test_a_model_that_stays_theirs(kind, start, tmp_path):
    sizes = dict(GPT2 if kind == "OPT" else LLAMA)
    if kind == "Qwen3Moe":
        sizes |= {"moe_intermediate_dim": 8, "num_experts": 4, "head_dim": 4}
    backbone = getattr(keras_hub.models, f"{kind}Backbone")(**sizes)
    backbone.save_to_preset(tmp_path / "preset")
    special = ["<pad>", "</s>"] if kind == "OPT" else ["<|endoftext|>", "<|im_end|>"]
    tokens = [*special, *"atheĠ12", "th", "the", "Ġthe", "12"]
    hf_name = getattr(keras_hub.models, f"{kind}Tokenizer")(
        vocabulary={token: number for number, token in enumerate(tokens)},
        merges=["t h", "th e", "Ġ the"],
    )
    hf_name.save_to_preset(tmp_path / "preset")
    loaded = directory.load(f"keras_hub:{tmp_path / 'preset'}")
    assert loaded.model.config.kind == kind
    assert loaded.tokenizer.end_token == special[1]
    assert loaded.tokenizer.prefix == ([1] if start else [])
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("the the12")) == "the the12"
    directory.save(tmp_path / "model", *loaded)
    again = directory.load(tmp_path / "model")
    tokens = tf.constant(np.random.default_rng(0).integers(0, 40, [2, 12]), tf.int32)
    x = backbone({"token_ids": tokens, "padding_mask": tf.ones_like(tokens)})
    wanted = backbone.token_embedding(x, reverse=True)
    np.testing.assert_allclose(again.model(tokens), wanted, atol=1e-6)


def test_what_is_refused(tmp_path):
    def refused(message, name):
        with pytest.raises(ValueError, match=message) as error:
            directory.read(f"keras_hub:{name}")
        assert str(error.value).startswith(f"keras_hub:{name}: ")

    refused("is neither a folder nor a preset of KerasHub", "gpt3_large_en")
    refused(
        "is a 'BertBackbone'; a Backbone of Bloom, Falcon, GPT2", "bert_tiny_en_uncased"
    )
    value = {"class_name": "GPTNeoXBackbone", "module": "keras_hub", "config": {}}
    (tmp_path / "config.json").write_text(json.dumps(value))
    refused("is a 'GPTNeoXBackbone'; a Backbone of Bloom", tmp_path)
    value["class_name"] = "GPT2Backbone"
    (tmp_path / "config.json").write_text(json.dumps(value))
    refused("KerasHub cannot read it: ", tmp_path)
    (tmp_path / "config.json").unlink()
    stretched = LLAMA | {"rope_position_scaling_factor": 2.0}
    keras_hub.models.LlamaBackbone(**stretched).save_to_preset(tmp_path)
    refused("rope_position_scaling_factor 2.0, 1 allowed", tmp_path)


@pytest.mark.filterwarnings("ignore:Layer .* does not have")
@pytest.mark.long
def test_quantised_presets_are_refused(tmp_path, monkeypatch):
    backbone = keras_hub.models.GPT2Backbone(**GPT2)
    backbone.save_to_preset(tmp_path)
    backbone.quantize("int8")
    kind = keras_hub.models.GPT2Backbone
    monkeypatch.setattr(kind, "from_preset", lambda name: backbone)
    with pytest.raises(ValueError, match="is of int8; allowed: float32"):
        directory.read(f"keras_hub:{tmp_path}")
