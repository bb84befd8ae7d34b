"""Presets of KerasHub: tiny ones that the tests save, the same logits and tokens."""

import json

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
BACKBONES = {
    "gpt2": ("GPT2Backbone", GPT2),
    "llama": ("LlamaBackbone", LLAMA),
    "llama3": ("Llama3Backbone", LLAMA | {"rope_max_wavelength": 500}),
    "llama3.1": ("Llama3Backbone", LLAMA | STRETCHED),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_logits(name, tmp_path):
    kind, fields = BACKBONES[name]
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
    theirs = getattr(keras_hub.models, kind.replace("Backbone", "Tokenizer"))(
        vocabulary={token: number for number, token in enumerate(tokens)},
        merges=["t h", "th e", "Ġ the", "1 2"],
    )
    theirs.save_to_preset(tmp_path)
    _, tokenizer, _ = directory.load(f"keras_hub:{tmp_path}")
    text = "the the12"
    assert tokenizer.encode(text) == np.asarray(theirs(text)).tolist()
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.end_token == special[name == "llama3"]
    assert tokenizer.encode(special[-1], special=True) == [len(special) - 1]
    assert len(tokenizer.encode(special[-1])) != 1


def test_what_is_refused(tmp_path):
    def refused(message, name):
        with pytest.raises(ValueError, match=message) as error:
            directory.read(f"keras_hub:{name}")
        assert str(error.value).startswith(f"keras_hub:{name}: ")

    refused("is neither a folder nor a preset of KerasHub", "gpt3_large_en")
    refused("is a 'BertBackbone'; allowed: GPT2Backbone", "bert_tiny_en_uncased")
    value = {"class_name": "OPTBackbone", "module": "keras_hub", "config": {}}
    (tmp_path / "config.json").write_text(json.dumps(value))
    refused("is a 'OPTBackbone'; allowed: GPT2Backbone, Llama", tmp_path)
    value["class_name"] = "GPT2Backbone"
    (tmp_path / "config.json").write_text(json.dumps(value))
    refused("KerasHub cannot read it: ", tmp_path)
    (tmp_path / "config.json").unlink()
    stretched = LLAMA | {"rope_position_scaling_factor": 2.0}
    keras_hub.models.LlamaBackbone(**stretched).save_to_preset(tmp_path)
    refused("rope_position_scaling_factor 2.0, 1 allowed", tmp_path)


@pytest.mark.filterwarnings("ignore:Layer .* does not have")
def test_quantised_presets_are_refused(tmp_path, monkeypatch):
    backbone = keras_hub.models.GPT2Backbone(**GPT2)
    backbone.save_to_preset(tmp_path)
    backbone.quantize("int8")
    kind = keras_hub.models.GPT2Backbone
    monkeypatch.setattr(kind, "from_preset", lambda name: backbone)
    with pytest.raises(ValueError, match="is of int8; allowed: float32"):
        directory.read(f"keras_hub:{tmp_path}")
