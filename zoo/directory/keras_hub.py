"""Presets of KerasHub, GPT-2 and Llama 2 and 3, as Hugging Face's config and names.

KerasHub is needed to read them, and for nothing afterwards. A preset does not say how
long a text its Llama takes: it is taken from the generation that the model belongs to.
"""

import json
import pathlib
import re
import tempfile

import numpy as np
import tokenizers
from tokenizers import models

from zoo.directory import byte_level, files
from zoo.directory.generation import Generation
from zoo.directory.pretrained import Pretrained, Tensors
from zoo.text import sentencepiece_file
from zoo.text.tokenizer import END, Tokenizer

_ALLOWED = ("GPT2Backbone", "LlamaBackbone", "Llama3Backbone")
_FLOATS = ("float32", "float16", "bfloat16")
_LLAMA3_ENDS = ("<|end_of_text|>", "<|eot_id|>")
_LLAMA_NAMES = {
    "self_attention/query/kernel": "self_attn.q_proj",
    "self_attention/key/kernel": "self_attn.k_proj",
    "self_attention/value/kernel": "self_attn.v_proj",
    "self_attention/attention_output/kernel": "self_attn.o_proj",
    "self_attention_layernorm/scale": "input_layernorm",
    "feedforward_gate_dense/kernel": "mlp.gate_proj",
    "feedforward_intermediate_dense/kernel": "mlp.up_proj",
    "feedforward_output_dense/kernel": "mlp.down_proj",
    "feedforward_layernorm/scale": "post_attention_layernorm",
}
_GPT2_NAMES = {
    "self_attention/attention_output/kernel": "attn.c_proj.weight",
    "self_attention/attention_output/bias": "attn.c_proj.bias",
    "self_attention_layer_norm/gamma": "ln_1.weight",
    "self_attention_layer_norm/beta": "ln_1.bias",
    "feedforward_intermediate_dense/kernel": "mlp.c_fc.weight",
    "feedforward_intermediate_dense/bias": "mlp.c_fc.bias",
    "feedforward_output_dense/kernel": "mlp.c_proj.weight",
    "feedforward_output_dense/bias": "mlp.c_proj.bias",
    "feedforward_layer_norm/gamma": "ln_2.weight",
    "feedforward_layer_norm/beta": "ln_2.bias",
}


def read(name: str) -> Pretrained:
    """Reads a preset.

    Args:
      name: of a preset that KerasHub knows, which is downloaded, or a folder that
        `save_to_preset` wrote.

    Raises:
      ValueError: KerasHub is missing, there is no such preset, or it is of a model
        that is not among those allowed.
    """
    where = f"keras_hub:{name}"
    try:
        import keras_hub
    except ImportError:
        raise ValueError(
            f"{where}: reading it needs the package keras-hub (pip install keras-hub)."
        ) from None
    kind = _kind(keras_hub, name, where)
    try:
        backbone = getattr(keras_hub.models, kind).from_preset(name)
    except Exception as error:  # of Keras, of the network
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{where}: KerasHub cannot read it: {first:.200}") from None
    for variable in backbone.weights:
        if variable.dtype not in _FLOATS:
            raise ValueError(
                f"{where}: {variable.path} is of {variable.dtype}; allowed: "
                f"{', '.join(_FLOATS)}."
            )
    if kind == "GPT2Backbone":
        config, places = _gpt2(backbone)
    else:
        config, places = _llama(backbone, kind, where)

    def value(theirs):
        shape, variables, turned = places[theirs]
        if turned:
            (kernel,) = variables
            return np.asarray(kernel.value).reshape(shape[::-1]).T
        parts = [np.asarray(v.value) for v in variables]
        rows = shape[0] if len(shape) > 1 else None
        parts = [p.reshape(rows, -1) if rows else p.reshape(-1) for p in parts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, -1)

    tensors = Tensors({theirs: place[0] for theirs, place in places.items()}, value)
    tokenizer = None
    if not pathlib.Path(name).is_dir() or (
        pathlib.Path(name, "tokenizer.json").exists()
    ):
        tokenizer = _tokenizer(keras_hub, name, kind, where)
    return Pretrained(where, config, tensors, tokenizer, Generation())


def _kind(keras_hub, name, where) -> str:
    """The class of a preset's backbone, one of those allowed."""
    folder = pathlib.Path(name)
    if folder.is_dir():
        kind = files.read_json(files.inside(folder, "config.json")).get("class_name")
    else:
        backbone = keras_hub.models.Backbone
        kinds = [
            value
            for value in vars(keras_hub.models).values()
            if isinstance(value, type) and issubclass(value, backbone)
            if value is not backbone and name in value.presets
        ]
        if not kinds:
            raise ValueError(f"{where}: is neither a folder nor a preset of KerasHub.")
        # a class lists the presets of those that are made from it, too
        kind = max(kinds, key=lambda value: len(value.__mro__)).__name__
    if kind not in _ALLOWED:
        raise ValueError(f"{where}: is a {kind!r:.80}; allowed: {', '.join(_ALLOWED)}.")
    return kind


def _gpt2(backbone):
    config = {
        "model_type": "gpt2",
        "vocab_size": backbone.vocabulary_size,
        "n_positions": backbone.max_sequence_length,
        "n_embd": backbone.hidden_dim,
        "n_layer": backbone.num_layers,
        "n_head": backbone.num_heads,
        "n_inner": backbone.intermediate_dim,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "resid_pdrop": backbone.dropout,
    }
    found = {v.path: v for v in backbone.weights}
    width = backbone.hidden_dim
    outer = {
        "token_embedding/embeddings": "wte.weight",
        "position_embedding/embeddings": "wpe.weight",
        "layer_norm/gamma": "ln_f.weight",
        "layer_norm/beta": "ln_f.bias",
    }
    places = {}
    for path, theirs in outer.items():
        places[theirs] = tuple(found[path].shape), (found[path],), False
    for i in range(backbone.num_layers):
        us = f"transformer_layer_{i}"
        for path, theirs in _GPT2_NAMES.items():
            variable = found[f"{us}/{path}"]
            shape = tuple(variable.shape)
            shape = (width, width) if len(shape) == 3 else shape
            places[f"h.{i}.{theirs}"] = shape, (variable,), False
        for end, theirs in (("kernel", "weight"), ("bias", "bias")):
            paths = [
                f"{us}/self_attention/{x}/{end}" for x in ("query", "key", "value")
            ]
            shape = (width, 3 * width) if end == "kernel" else (3 * width,)
            variables = tuple(found[path] for path in paths)
            places[f"h.{i}.attn.c_attn.{theirs}"] = shape, variables, False
    return config, {f"transformer.{name}": place for name, place in places.items()}


def _llama(backbone, kind, where):
    if backbone.rope_position_scaling_factor != 1:
        raise ValueError(
            f"{where}: rope_position_scaling_factor "
            f"{backbone.rope_position_scaling_factor}, 1 allowed."
        )
    factor = backbone.rope_frequency_adjustment_factor
    context = {"LlamaBackbone": 4096, "Llama3Backbone": 131072 if factor else 8192}
    config = {
        "model_type": "llama",
        "vocab_size": backbone.vocabulary_size,
        "max_position_embeddings": context[kind],
        "hidden_size": backbone.hidden_dim,
        "num_hidden_layers": backbone.num_layers,
        "num_attention_heads": backbone.num_query_heads,
        "num_key_value_heads": backbone.num_key_value_heads,
        "intermediate_size": backbone.intermediate_dim,
        "rms_norm_eps": backbone.layer_norm_epsilon,
        "rope_theta": float(backbone.rope_max_wavelength),
        "tie_word_embeddings": backbone.tie_word_embeddings,
    }
    if factor:
        config["rope_scaling"] = {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": backbone.rope_low_freq_factor,
            "high_freq_factor": backbone.rope_high_freq_factor,
            "original_max_position_embeddings": (
                backbone.rope_pretraining_sequence_length
            ),
        }
    names = {
        "token_embedding/embeddings": "model.embed_tokens.weight",
        "token_embedding/reverse_embeddings": "lm_head.weight",
        "sequence_output_layernorm/scale": "model.norm.weight",
    }
    for i in range(backbone.num_layers):
        for path, theirs in _LLAMA_NAMES.items():
            names[f"transformer_layer_{i}/{path}"] = f"model.layers.{i}.{theirs}.weight"
    places = {}
    for variable in backbone.weights:
        shape = tuple(variable.shape)
        if variable.path.endswith("attention_output/kernel"):
            shape = (shape[0] * shape[1], shape[2])
        elif len(shape) == 3:
            shape = (shape[0], shape[1] * shape[2])
        turned = len(shape) == 2 and not variable.path.endswith("/embeddings")
        shape = shape[::-1] if turned else shape
        places[names[variable.path]] = shape, (variable,), turned
    return config, places


# ------------------------------------------------------------------ tokenizers


def _tokenizer(keras_hub, name, kind, where) -> Tokenizer:
    """The tokenizer of a preset, from the files that KerasHub writes of it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            theirs = getattr(
                keras_hub.models, kind.replace("Backbone", "Tokenizer")
            ).from_preset(name)
            theirs.save_assets(folder)
        except Exception as error:  # of Keras, of TensorFlow Text
            first = (str(error).splitlines() or [""])[0]
            raise ValueError(
                f"{where}: KerasHub cannot read its tokenizer: {first:.200}"
            ) from None
        if kind == "LlamaBackbone":
            settings = {}
            path = str(pathlib.Path(folder, "vocabulary.spm"))
            engine = sentencepiece_file.read(path, settings)
            return Tokenizer(engine.to_str(pretty=True), settings)
        paths = [f"{folder}/{x}" for x in ("vocabulary.json", "merges.txt")]
        vocabulary, merges = models.BPE.read_file(*paths)
    words, settings = "gpt-2", {"bos_token": END, "eos_token": END}
    if kind == "Llama3Backbone":
        words, ends = "llama3", [end for end in _LLAMA3_ENDS if end in vocabulary]
        settings = {"bos_token": "<|begin_of_text|>", "eos_token": _LLAMA3_ENDS[0]}
        settings |= {"add_bos_token": True, "end_tokens": ends}
    engine = byte_level.build(vocabulary, merges, words)
    for token in sorted(vocabulary, key=vocabulary.get):
        if re.fullmatch(r"<\|\w+\|>", token):
            engine.add_special_tokens([tokenizers.AddedToken(token, normalized=False)])
    sentencepiece_file.frame(engine, settings, begins=False)
    return Tokenizer(json.dumps(json.loads(engine.to_str()), indent=2), settings)
