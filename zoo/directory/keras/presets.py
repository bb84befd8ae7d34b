"""Presets of KerasHub as models of the zoo.

GPT-2, Llama 2 and 3, Mistral, Qwen 2 and 3, Gemma 2 and 3 are converted to Hugging
Face's config and names. KerasHub is not needed after the conversion. Other text-only
causal models are wrapped in the registry's `keras_hub`, which needs KerasHub.
"""

import inspect
import json
import pathlib
import re
import tempfile

import numpy as np
import tokenizers
from tokenizers.models import BPE

from zoo import files, registry
from zoo.directory.keras import preset_tables
from zoo.directory.pretrained import Pretrained, Tensors
from zoo.generation_config import GenerationConfig
from zoo.models import keras_hub_lm
from zoo.text.importers import byte_level_presets, sentencepiece
from zoo.text.tokenizer import Tokenizer

_LIKE_LLAMA = ("Llama", "Llama3", "Mistral", "Qwen", "Qwen3")
_ALLOWED = sorted({"GPT2", *_LIKE_LLAMA, *keras_hub_lm.KINDS})
# The word rules of byte-level BPE tokenizers, and the SentencePiece tokenizers.
_WORDS = {
    "GPT2": "gpt-2",
    "Llama3": "llama3",
    "OPT": "gpt-2",
    "Qwen": "qwen2",
    "Qwen3": "qwen2",
    "Qwen3Moe": "qwen2",
    "QwenMoe": "qwen2",
}
_SENTENCEPIECE = ("Gemma", "Gemma3", "Llama", "Mistral", "Mixtral", "Phi3")
# The context of the first release, for backbones without a context length.
_CONTEXTS = {
    "Bloom": 2048,
    "Falcon": 2048,
    "Gemma": 8192,
    "Gemma3": 32768,
    "GptOss": 131072,
    "Mixtral": 32768,
    "Qwen3Moe": 40960,
    "QwenMoe": 8192,
}
_FLOATS = ("float32", "float16", "bfloat16")
_LLAMA3_ENDS = ("<|end_of_text|>", "<|eot_id|>")


def read(name: str) -> Pretrained:
    """Reads a preset.

    Args:
      name: the name of a preset, which KerasHub downloads, or a folder that
        `save_to_preset` wrote.

    Raises:
      ValueError: KerasHub is missing, there is no such preset, or its model is not
        supported.
    """
    where = f"keras_hub:{name}"
    keras_hub = _keras_hub(where)
    kind = _kind(keras_hub, name, where)
    try:
        backbone = getattr(keras_hub.models, f"{kind}Backbone").from_preset(name)
    except Exception as error:  # of Keras, of the network
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{where}: KerasHub cannot read it: {first:.200}") from None
    for variable in backbone.weights:
        if variable.dtype not in _FLOATS:
            raise ValueError(
                f"{where}: {variable.path} is of {variable.dtype}; allowed: "
                f"{', '.join(_FLOATS)}."
            )
    if kind == "GPT2":
        config, sources = preset_tables.gpt2(backbone)
    elif kind in _LIKE_LLAMA:
        config, sources = preset_tables.llama(backbone, kind, where)
    elif kind in ("Gemma", "Gemma3") and preset_tables.is_gemma(backbone, kind):
        config, sources = preset_tables.gemma(backbone, kind)
    else:
        config, sources = _wrapped(backbone, kind, where)

    def value(hf_name):
        shape, variables, transposed, axes = sources[hf_name]
        if transposed:
            kernel = np.asarray(variables[0].value)
            kernel = kernel.transpose(axes) if axes else kernel
            return kernel.reshape(shape[::-1]).T
        parts = [np.asarray(v.value) for v in variables]
        if len(parts) == 1:
            return parts[0].reshape(shape)
        rows = shape[0] if len(shape) > 1 else None
        parts = [p.reshape(rows, -1) if rows else p.reshape(-1) for p in parts]
        return np.concatenate(parts, -1)

    shapes = {hf_name: source.shape for hf_name, source in sources.items()}
    tensors = Tensors(shapes, value)
    tokenizer = _tokenizer(keras_hub, name, kind, where)
    return Pretrained(where, config, tensors, tokenizer, GenerationConfig())


def read_tokenizer(name: str) -> Tokenizer | None:
    """Reads the tokenizer of a preset; None if its folder has none.

    Raises:
      ValueError: as in `read`.
    """
    where = f"keras_hub:{name}"
    keras_hub = _keras_hub(where)
    return _tokenizer(keras_hub, name, _kind(keras_hub, name, where), where)


def _keras_hub(where):
    """Imports KerasHub, which is an optional package."""
    try:
        import keras_hub
    except ImportError:
        raise ValueError(
            f"{where}: reading it needs the package keras-hub (pip install keras-hub)."
        ) from None
    return keras_hub


def _wrapped(backbone, kind, where):
    """Returns the config and the tensors of a model that KerasHub computes."""
    names = inspect.signature(type(backbone).__init__).parameters
    settings = {k: v for k, v in backbone.get_config().items() if k in names}
    settings.pop("dtype", None)
    dropout = float(settings.pop("dropout", 0.0))
    context = settings.get("max_sequence_length") or _CONTEXTS[kind]
    try:
        config = registry.config(
            "keras_hub", kind=kind, settings=settings, context=context, dropout=dropout
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    weights = backbone.weights
    sources = {
        path: preset_tables.Source(tuple(v.shape), (v,), False)
        for path, v in zip(keras_hub_lm.paths(weights), weights, strict=True)
    }
    config = {"model_type": "zoo-keras_hub", "zoo": registry.to_fields(config)}
    return config, sources


def _kind(keras_hub, name, where) -> str:
    """Returns the kind of a preset: "GPT2" for a `GPT2Backbone`."""
    folder = pathlib.Path(name)
    if folder.is_dir():
        kind = files.read_json(files.inside(folder, "config.json")).get("class_name")
        kind = kind if isinstance(kind, str) else ""
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
        # A class lists the presets of its subclasses too.
        kind = max(kinds, key=lambda value: len(value.__mro__)).__name__
    if kind.removesuffix("Backbone") not in _ALLOWED:
        raise ValueError(
            f"{where}: is a {kind!r:.80}; a Backbone of {', '.join(_ALLOWED)} allowed."
        )
    return kind.removesuffix("Backbone")


# ------------------------------------------------------------------ tokenizers


def _tokenizer(keras_hub, name, kind, where) -> Tokenizer | None:
    """Builds the tokenizer of a preset from the files that KerasHub writes."""
    folder = pathlib.Path(name)
    if folder.is_dir() and not (folder / "tokenizer.json").exists():
        return None
    if kind not in _WORDS and kind not in _SENTENCEPIECE:
        raise ValueError(
            f"{where}: the word rule of a {kind} tokenizer is not known; "
            f"allowed: {', '.join(sorted([*_WORDS, *_SENTENCEPIECE]))}."
        )
    with tempfile.TemporaryDirectory() as folder:
        try:
            preset = getattr(keras_hub.models, f"{kind}Tokenizer").from_preset(name)
            preset.save_assets(folder)
        except Exception as error:  # of Keras, of TensorFlow Text
            first = (str(error).splitlines() or [""])[0]
            raise ValueError(
                f"{where}: KerasHub cannot read its tokenizer: {first:.200}"
            ) from None
        settings = {"eos_token": preset.end_token}
        if getattr(preset, "start_token", None):
            settings["bos_token"] = preset.start_token
        if kind in _SENTENCEPIECE:
            path = str(pathlib.Path(folder, "vocabulary.spm"))
            engine = sentencepiece.read(path, settings)
            return Tokenizer(engine.to_str(pretty=True), settings)
        paths = [f"{folder}/{x}" for x in ("vocabulary.json", "merges.txt")]
        vocabulary, merges = BPE.read_file(*paths)
    if kind == "Llama3":
        ends = [end for end in _LLAMA3_ENDS if end in vocabulary]
        settings["end_tokens"] = ends
    engine = byte_level_presets.build(vocabulary, merges, _WORDS[kind])
    special = set(preset.special_tokens)
    for token in sorted(vocabulary, key=vocabulary.__getitem__):
        if token in special or re.fullmatch(r"<\|\w+\|>", token):
            engine.add_special_tokens([tokenizers.AddedToken(token, normalized=False)])
    # GPT-2's start token is its end token, and its texts have no start token.
    settings["add_bos_token"] = kind in ("Llama3", "OPT")
    sentencepiece.add_start_and_end(engine, settings, start=False)
    return Tokenizer(json.dumps(json.loads(engine.to_str()), indent=2), settings)
