"""Reads the files of a model directory."""

import functools
import os
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

from absl import logging

from zoo import files
from zoo.directory import checksums, hf, safetensors_file
from zoo.directory.hf import bert, sentence_transformers
from zoo.directory.pretrained import Pretrained
from zoo.generation_config import GenerationConfig
from zoo.text.importers import sides
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
    path = files.inside(folder, CONFIG)
    checksums.check(folder, CONFIG)
    config = files.read_json(path)
    if "auto_map" in config:
        raise ValueError(
            f"{folder / CONFIG}: auto_map {config['auto_map']!r} asks for code "
            "of the folder's own, and none of it is run here."
        )
    if config.get("model_type") in list(hf.ENCODERS):
        config[bert.SENTENCE] = sentence_transformers.read(folder)
    try:
        tensors = _tensors(folder, config)
    except ValueError:
        _check_weights(folder)  # a wrong digest explains any other error
        raise
    shapes = getattr(tensors, "shapes", {})
    settings = _optional(folder, GENERATION)
    defaults, where, first = settings, folder / GENERATION, 0
    if config.get("model_type") in list(hf.SEQ2SEQ):
        first = 1  # an answer follows the start token
        if not os.path.lexists(where):  # older files have the defaults here
            defaults, where = config, path
        start = settings.get("decoder_start_token_id")
        if start is not None:  # where transformers 5 writes it
            config.setdefault("decoder_start_token_id", start)
        config = hf.with_tensors(config, tensors, shapes)
    unused = hf.unused_fields(config)
    if unused:
        warnings.warn(
            f"{path}: the fields {', '.join(unused)} are not used, as in transformers.",
            stacklevel=3,
        )
    checksums.warn(folder, (GENERATION, *sides.FILES))
    generation = GenerationConfig.from_json(defaults, str(where), first)
    tokenizers = _tokenizers_reader(folder, config, settings)
    return Pretrained(
        str(folder),
        config,
        tensors,
        lambda: tokenizers()[0],
        generation,
        lambda: _check_weights(folder),
        lambda: tokenizers()[1],
    )


def read_tokenizer(folder: pathlib.Path) -> Tokenizer | None:
    """Reads the tokenizer of a folder, which needs no config.json and no weights.

    Returns:
      The tokenizer, of targets where sources have their own; None if there is none.

    Raises:
      ValueError: a file is broken, or needs code of the folder.
    """
    config, settings = _optional(folder, CONFIG), _optional(folder, GENERATION)
    return _tokenizers_reader(folder, config, settings)()[0]


def _tokenizers_reader(
    folder, config, settings
) -> Callable[[], tuple[Tokenizer | None, Tokenizer | None]]:
    """Checks the files of the tokenizers, and returns a function that reads them once.

    Args:
      folder: the model directory.
      config, settings: its config.json and its generation_config.json.
    """
    for name in sides.FILES:
        if os.path.lexists(folder / name):
            files.inside(folder, name)
    end_ids = [
        *_end_ids(config, folder / CONFIG),
        *_end_ids(settings, folder / GENERATION),
    ]
    named = [n for n in _SETTINGS if os.path.lexists(folder / n)]

    marian = config.get("model_type") == "marian"

    @functools.cache
    def tokenizers():
        found, source = sides.load(str(folder), end_ids, marian)
        if found is None and named:
            warnings.warn(
                f"{folder}: has no tokenizer, although {named[0]} names tokens; add "
                f"{TOKENIZERS}.",
                stacklevel=2,
            )
        elif found is None and rows(folder) is not None:  # a model of text
            logging.warning("%s: has no tokenizer: none of %s.", folder, TOKENIZERS)
        return found, source

    return tokenizers


def rows(folder: pathlib.Path) -> int | None:
    """Returns `vocab_size` of a folder's config.json, or None."""
    config = _optional(folder, CONFIG)
    own = config.get("zoo")
    own = own if isinstance(own, dict) else {}
    body = own.get("body")  # of a `headed` model
    fields = config | own | (body if isinstance(body, dict) else {})
    number = fields.get("vocab_size")
    return number if type(number) is int else None


def _tensors(folder, config):
    """Opens the weights of a model directory: safetensors, or else tf_model.h5."""
    names = (safetensors_file.FILE, safetensors_file.INDEX)
    if not any(os.path.lexists(folder / name) for name in names):
        from zoo.directory.tensorflow import checkpoint

        if os.path.lexists(folder / checkpoint.H5):
            return checkpoint.h5(folder, config.get("model_type"))
    return safetensors_file.read(folder)


def _check_weights(folder):
    """Compares the weights with their digest."""
    if os.path.lexists(folder / safetensors_file.FILE):
        checksums.check(folder, safetensors_file.FILE)


def _optional(folder, name) -> dict[str, Any]:
    """Reads a JSON file of the folder; {} if there is none."""
    if not os.path.lexists(folder / name):
        return {}
    return files.read_json(files.inside(folder, name))


def _end_ids(value, path) -> list[int]:
    """Returns `eos_token_id` as a list; it may be a number, a list or absent."""
    ids = value.get("eos_token_id")
    ids = [] if ids is None else ids if isinstance(ids, list) else [ids]
    for number in ids:
        if type(number) is not int or not 0 <= number < 2**31:
            raise ValueError(f"{path}: eos_token_id {number!r}, a token id allowed.")
    return ids
