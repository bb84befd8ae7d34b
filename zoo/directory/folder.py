"""Reads the files of a model directory."""

import os
import pathlib
import warnings
from typing import Any

from zoo import files
from zoo.directory import hf, safetensors_file
from zoo.directory.hf import bert, sentence_transformers
from zoo.directory.pretrained import Pretrained
from zoo.generation_config import GenerationConfig
from zoo.text.importers import hf_files
from zoo.text.tokenizer import Tokenizer

_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")
CONFIG = "config.json"
GENERATION = "generation_config.json"
TOKENIZERS = "tokenizer.json, vocab.json and merges.txt, tokenizer.model or vocab.txt"


def read(folder: pathlib.Path) -> Pretrained:
    """Reads a model directory. Weights and tokenizer are read when they are needed.

    Raises:
      ValueError: a file is missing or broken, or needs code of the folder.
    """
    config = files.read_json(files.inside(folder, CONFIG))
    if "auto_map" in config:
        raise ValueError(
            f"{folder / CONFIG}: auto_map {config['auto_map']!r} asks for code "
            "of the folder's own, and none of it is run here."
        )
    if config.get("model_type") in list(hf.ENCODERS):
        config[bert.SENTENCE] = sentence_transformers.read(folder)
    tensors = _tensors(folder, config)
    path = folder / GENERATION
    generation = GenerationConfig.from_json(_optional(folder, GENERATION), str(path))
    _check_files(folder)
    _check_end_ids(folder)
    return Pretrained(
        str(folder), config, tensors, lambda: read_tokenizer(folder), generation
    )


def read_tokenizer(folder: pathlib.Path) -> Tokenizer | None:
    """Reads the tokenizer of a folder, which needs no config.json and no weights.

    Returns:
      None if the folder has no tokenizer.

    Raises:
      ValueError: a file is broken, or needs code of the folder.
    """
    _check_files(folder)
    tokenizer = hf_files.load(str(folder), _check_end_ids(folder))
    settings = [n for n in _SETTINGS if os.path.lexists(folder / n)]
    if tokenizer is None and (settings or "eos_token_id" in _optional(folder, CONFIG)):
        warnings.warn(
            f"{folder}: has no tokenizer, although {(settings or [CONFIG])[0]} names "
            f"tokens; add {TOKENIZERS}.",
            stacklevel=2,
        )
    return tokenizer


def rows(folder: pathlib.Path) -> int | None:
    """Returns `vocab_size` of a folder's config.json, or None."""
    config = _optional(folder, CONFIG)
    own = config.get("zoo")
    number = (config | (own if isinstance(own, dict) else {})).get("vocab_size")
    return number if type(number) is int else None


def _tensors(folder, config):
    """Opens the weights of a model directory: safetensors, or else tf_model.h5."""
    names = (safetensors_file.FILE, safetensors_file.INDEX)
    if not any(os.path.lexists(folder / name) for name in names):
        from zoo.directory.tensorflow import checkpoint

        if os.path.lexists(folder / checkpoint.H5):
            return checkpoint.h5(folder, config.get("model_type"))
    return safetensors_file.read(folder)


def _optional(folder, name) -> dict[str, Any]:
    """Reads a JSON file of the folder; {} if there is none."""
    if not os.path.lexists(folder / name):
        return {}
    return files.read_json(files.inside(folder, name))


def _check_files(folder):
    """Checks that each tokenizer file is a regular file inside the folder."""
    for name in hf_files.FILES:
        if os.path.lexists(folder / name):
            files.inside(folder, name)


def _check_end_ids(folder) -> list[int]:
    """Returns `eos_token_id` of both JSON files; each is a number, a list or absent."""
    found = []
    for name in (CONFIG, GENERATION):
        ids = _optional(folder, name).get("eos_token_id")
        for number in ids if isinstance(ids, list) else [] if ids is None else [ids]:
            if type(number) is not int or not 0 <= number < 2**31:
                raise ValueError(
                    f"{folder / name}: eos_token_id {number!r}, a token id allowed."
                )
            found.append(number)
    return found
