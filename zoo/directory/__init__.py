"""Model directories: the zoo's only weight format.

    config.json              the family and its fields
    model.safetensors        the weights, float32
    tokenizer.json           for models of text
    tokenizer_config.json
    generation_config.json   the defaults of generation
    modules.json, ...        for text encoders, see `sentence_files`

A model that a Hugging Face family can express is written as one, so that other programs
read it unchanged. Every other model has the model_type "zoo-<name>" and its Config in
the field "zoo". Nothing in a directory can run code.

Directories of others are read as well: from the Hub or a folder, with the weights in
one file or in shards, in float32, float16 or bfloat16, and with any of the usual files
of a tokenizer. Files of other formats are read where their suffix says what they are.
"""

import functools
import os
import pathlib
from typing import Any

import numpy as np

from zoo import files, models, registry
from zoo.directory import hf, hub, safetensors_file
from zoo.directory.hf import bert, sentence_transformers
from zoo.directory.pretrained import Loaded, Pretrained, assemble, by_path, table
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


def save(directory, model, tokenizer=None, generation=None, replace=False) -> None:
    """Writes a model directory, whole or not at all.

    Args:
      directory: absent or empty, unless `replace`.
      model: a model of the registry.
      tokenizer: a `Tokenizer`; needed by models of text.
      generation: a `GenerationConfig`; its defaults where None.
      replace: whether an older model directory is swapped for this one.

    Raises:
      ValueError: the folder is not empty.
    """
    config = fields_of(model.config)
    rows, variables = table(model, config["model_type"]), by_path(model)
    shapes = {}
    for row in rows:
        wanted = row.shapes(tuple(variables[row.ours].shape))
        shapes |= dict(zip(row.theirs, wanted, strict=True))

    def arrays():
        for row in rows:
            value = np.asarray(variables[row.ours].value, np.float32)
            yield from row.to_theirs(value).items()

    ends = {}
    if tokenizer is not None:
        ends = _ends(tokenizer)
        config |= ends
    with files.staged(directory, replace) as folder:
        if config.pop(bert.SENTENCE, None):
            sentence_transformers.write(folder, model.config)
        files.write_json(folder / "config.json", config)
        safetensors_file.write(folder / safetensors_file.FILE, shapes, arrays())
        if tokenizer is not None:
            tokenizer.save(folder)
            said = (generation or GenerationConfig()).to_json(tokenizer.end_id)
            said["eos_token_id"] = ends["eos_token_id"]
            files.write_json(folder / "generation_config.json", said)


def fields_of(config) -> dict[str, Any]:
    """What config.json says of a model's Config."""
    if isinstance(config, models.transformer_lm.Config | models.text_encoder.Config):
        fields = hf.to_hf(config)
        if fields is not None:
            return fields
    name = registry.name_of(config)
    return {"model_type": f"zoo-{name}", "zoo": registry.to_fields(config)}


def load(source, revision: str | None = None) -> Loaded:
    """Reads a pretrained model into one that computes in float32.

    Args:
      source: as of `read`.
      revision: as of `read`.

    Raises:
      ValueError: a file is missing or not what it should be, the family is unknown,
        or a tensor is missing, extra, of another shape, or not finite.
    """
    return assemble(read(source, revision))


def read(source, revision: str | None = None) -> Pretrained:
    """Reads what a source holds, without building its model.

    Args:
      source: a model directory, a file *.gguf, *.keras or *.weights.h5, a folder with
        a checkpoint of TensorFlow, owner/name on the Hugging Face Hub, or keras_hub:
        and the name or folder of a preset of KerasHub.
      revision: for the Hub: a branch, a tag or a commit.

    Raises:
      ValueError: there is no such source, or its files are not what they should be.
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
        return _folder(path) if _has_config(path) else _first_gpt2(path)
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
    """False only for a folder as GPT-2's authors published theirs."""
    there = [os.path.lexists(folder / n) for n in ("config.json", "hparams.json")]
    return there != [False, True]


def _first_gpt2(folder) -> Pretrained:
    from zoo.directory.tensorflow import checkpoint

    return checkpoint.read(folder)


def _folder(folder: pathlib.Path) -> Pretrained:
    config = files.read_json(files.inside(folder, "config.json"))
    if "auto_map" in config:
        raise ValueError(
            f"{folder / 'config.json'}: auto_map {config['auto_map']!r} asks for code "
            "of the folder's own, and none of it is run here."
        )
    if config.get("model_type") in list(hf.ENCODERS):
        config[bert.SENTENCE] = sentence_transformers.read(folder)
    tensors = _tensors(folder, config)
    said, generation = {}, GenerationConfig()
    if os.path.lexists(folder / "generation_config.json"):
        path = files.inside(folder, "generation_config.json")
        said = files.read_json(path)
        generation = GenerationConfig.from_json(said, str(path))
    for name in hf_files.FILES:
        if os.path.lexists(folder / name):
            files.inside(folder, name)
    end_ids = [
        *_end_ids(config, folder / "config.json"),
        *_end_ids(said, folder / "generation_config.json"),
    ]
    tokenizer = functools.partial(hf_files.load, str(folder), end_ids)
    return Pretrained(str(folder), config, tensors, tokenizer, generation)


def _tensors(folder, config):
    names = (safetensors_file.FILE, safetensors_file.INDEX)
    if not any(os.path.lexists(folder / name) for name in names):
        from zoo.directory.tensorflow import checkpoint

        if os.path.lexists(folder / checkpoint.H5):
            return checkpoint.h5(folder, config.get("model_type"))
    return safetensors_file.read(folder)


def _end_ids(value, path) -> list[int]:
    """The tokens that end a text: `eos_token_id` is a number, a list or absent."""
    ids = value.get("eos_token_id")
    ids = [] if ids is None else ids if isinstance(ids, list) else [ids]
    for number in ids:
        if type(number) is not int or not 0 <= number < 2**31:
            raise ValueError(f"{path}: eos_token_id {number!r}, a token id allowed.")
    return ids


def _ends(tokenizer) -> dict[str, Any]:
    """The ids of the first token of a text, and of those that end one."""

    def number(token):
        name = token["content"] if isinstance(token, dict) else token
        ids = tokenizer.encode(name, special=True) if name else []
        return ids[0] if len(ids) == 1 else tokenizer.end_id

    ends = tokenizer.end_ids
    return {
        "bos_token_id": number(tokenizer.config.get("bos_token")),
        "eos_token_id": ends if ends[1:] else ends[0],
    }
