"""Model directories: the only format in which the zoo writes weights.

    config.json              the family and its fields
    model.safetensors        the weights, float32
    tokenizer.json           for models of text
    tokenizer_config.json
    generation_config.json   the defaults of generation
    modules.json, ...        for text encoders, see `hf.sentence_transformers`

If a Hugging Face family can express a model, its directory is one of that family, and
other programs read it. Every other model has the model_type "zoo-<name>", and its
Config in the field "zoo". Nothing in a directory can run code.

Directories of other programs are read too: from the Hub or a folder, with the weights
in one file or in shards, in float32, float16 or bfloat16, and with any of the usual
tokenizer files. GGUF files, files of Keras and checkpoints of TensorFlow are read too.
"""

import functools
import os
import pathlib
from typing import Any

import numpy as np

from zoo import files
from zoo.directory import assemble, config_json, hf, hub, safetensors_file
from zoo.directory.hf import bert, sentence_transformers
from zoo.directory.pretrained import Loaded, Pretrained
from zoo.generation_config import GenerationConfig
from zoo.text.importers import hf_files

__all__ = [
    "GenerationConfig",
    "Loaded",
    "Pretrained",
    "fields_of",
    "load",
    "read",
    "save",
]

_PRESET = "keras_hub:"

fields_of = config_json.to_json


def save(directory, model, tokenizer=None, generation=None, replace=False) -> None:
    """Writes a model directory. After an error, no part of it stays.

    Args:
      directory: a folder that is absent or empty, unless `replace`.
      model: a model of the registry.
      tokenizer: a `Tokenizer`; None for a model of features.
      generation: a `GenerationConfig`; None writes its defaults.
      replace: whether to replace an older model directory.

    Raises:
      ValueError: the folder is not empty.
    """
    config = config_json.to_json(model.config)
    mappings = assemble.weight_mappings(model, config["model_type"])
    variables = assemble.by_path(model)
    shapes = {}
    for mapping in mappings:
        sizes = mapping.shapes(tuple(variables[mapping.path].shape))
        shapes |= dict(zip(mapping.hf_names, sizes, strict=True))

    def arrays():
        for mapping in mappings:
            value = np.asarray(variables[mapping.path].value, np.float32)
            yield from mapping.to_hf(value).items()

    special_ids = {} if tokenizer is None else _special_ids(tokenizer)
    config |= special_ids
    with files.staged(directory, replace) as folder:
        if config.pop(bert.SENTENCE, None):
            sentence_transformers.write(folder, model.config)
        files.write_json(folder / "config.json", config)
        safetensors_file.write(folder / safetensors_file.FILE, shapes, arrays())
        if tokenizer is not None:
            tokenizer.save(folder)
            value = (generation or GenerationConfig()).to_json(tokenizer.end_id)
            value["eos_token_id"] = special_ids["eos_token_id"]
            files.write_json(folder / "generation_config.json", value)


def load(source, revision: str | None = None) -> Loaded:
    """Reads a pretrained model and builds it; the model computes in float32.

    Args:
      source, revision: see `read`.

    Raises:
      ValueError: a file is missing or broken; the family is unknown; or a tensor is
        missing, unknown, not finite, or of another shape.
    """
    return assemble.assemble(read(source, revision))


def read(source, revision: str | None = None) -> Pretrained:
    """Reads the files of a pretrained model, without building the model.

    Args:
      source: a model directory; a file *.gguf, *.keras or *.weights.h5; a folder with
        a checkpoint of TensorFlow; owner/name on the Hugging Face Hub; or
        keras_hub:NAME, the name or folder of a preset of KerasHub.
      revision: a branch, a tag or a commit on the Hub; None is the main branch.

    Raises:
      ValueError: there is no such source, or a file of it is missing or broken.
    """
    preset = str(source).partition(_PRESET)[2] if _is_preset(source) else ""
    path = pathlib.Path(source)
    on_hub = not preset and not path.exists() and hub.is_id(source)
    if revision is not None and not on_hub:
        raise ValueError(f"revision {revision!r}: {source} is not a name on the Hub.")
    if preset:
        from zoo.directory.keras import presets

        return presets.read(preset)
    if on_hub:
        return _folder(hub.fetch(source, revision))
    if path.is_dir():
        return _folder(path) if _has_config(path) else _gpt2_checkpoint(path)
    if not path.exists():
        raise ValueError(f"{path}: there is no such model directory.")
    if path.suffix == ".gguf":
        from zoo.directory.gguf import reader as gguf

        return gguf.read(path)
    if path.name.endswith((".keras", ".weights.h5")):
        from zoo.directory.keras import files as keras_files

        return keras_files.read(path)
    safetensors_file.refuse_pickle(path)
    raise ValueError(
        f"{path}: is a file; a model directory, a file *.gguf, *.keras or "
        "*.weights.h5, or owner/name on the Hugging Face Hub allowed."
    )


def _is_preset(source) -> bool:
    return isinstance(source, str) and source.startswith(_PRESET)


def _has_config(folder) -> bool:
    """Returns False only for a folder in the layout that GPT-2 was published in."""
    names = ("config.json", "hparams.json")
    return [os.path.lexists(folder / name) for name in names] != [False, True]


def _gpt2_checkpoint(folder) -> Pretrained:
    from zoo.directory.tensorflow import checkpoint

    return checkpoint.read(folder)


def _folder(folder: pathlib.Path) -> Pretrained:
    """Reads a model directory."""
    config = files.read_json(files.inside(folder, "config.json"))
    if "auto_map" in config:
        raise ValueError(
            f"{folder / 'config.json'}: auto_map {config['auto_map']!r} asks for code "
            "of the folder's own, and none of it is run here."
        )
    if config.get("model_type") in list(hf.ENCODERS):
        config[bert.SENTENCE] = sentence_transformers.read(folder)
    tensors = _tensors(folder, config)
    settings, generation = {}, GenerationConfig()
    if os.path.lexists(folder / "generation_config.json"):
        path = files.inside(folder, "generation_config.json")
        settings = files.read_json(path)
        generation = GenerationConfig.from_json(settings, str(path))
    for name in hf_files.FILES:
        if os.path.lexists(folder / name):
            files.inside(folder, name)
    end_ids = [
        *_end_ids(config, folder / "config.json"),
        *_end_ids(settings, folder / "generation_config.json"),
    ]
    tokenizer = functools.partial(hf_files.load, str(folder), end_ids)
    return Pretrained(str(folder), config, tensors, tokenizer, generation)


def _tensors(folder, config):
    """Opens the weights of a model directory: safetensors, or else tf_model.h5."""
    names = (safetensors_file.FILE, safetensors_file.INDEX)
    if not any(os.path.lexists(folder / name) for name in names):
        from zoo.directory.tensorflow import checkpoint

        if os.path.lexists(folder / checkpoint.H5):
            return checkpoint.h5(folder, config.get("model_type"))
    return safetensors_file.read(folder)


def _end_ids(value, path) -> list[int]:
    """Returns `eos_token_id` as a list; it may be a number, a list or absent."""
    ids = value.get("eos_token_id")
    ids = [] if ids is None else ids if isinstance(ids, list) else [ids]
    for number in ids:
        if type(number) is not int or not 0 <= number < 2**31:
            raise ValueError(f"{path}: eos_token_id {number!r}, a token id allowed.")
    return ids


def _special_ids(tokenizer) -> dict[str, Any]:
    """Returns the fields `bos_token_id` and `eos_token_id` of a config.json."""
    token = tokenizer.config.get("bos_token")
    name = token["content"] if isinstance(token, dict) else token
    ids = tokenizer.encode(name, special=True) if name else []
    ends = tokenizer.end_ids
    return {
        "bos_token_id": ids[0] if len(ids) == 1 else tokenizer.end_id,
        "eos_token_id": ends if ends[1:] else ends[0],
    }
