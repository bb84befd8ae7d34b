"""Model directories: the only format in which the zoo writes weights.

    config.json              the family and its fields
    model.safetensors        the weights, float32
    tokenizer.json           for models of text
    tokenizer_config.json
    source_tokenizer.json    and source_tokenizer_config.json, for models whose sources
                             have a tokenizer of their own
    generation_config.json   the defaults of generation
    SHA256SUMS               the digests of all these, see `checksums`
    modules.json, ...        for text encoders, see `hf.sentence_transformers`

If a Hugging Face family can express a model, its directory is one of that family, and
other programs read it. Every other model has the model_type "zoo-<name>", and its
Config in the field "zoo". Nothing in a directory can run code.

Directories of other programs are read too: from the Hub or a folder, with the weights
in one file or in shards, in float32, float16 or bfloat16, and with any of the usual
tokenizer files. GGUF files, files of Keras and checkpoints of TensorFlow are read too.
"""

import math
import os
import pathlib
from typing import Any

import numpy as np

from zoo import files
from zoo.directory import (
    adapters,
    assemble,
    checked_tokenizer,
    checksums,
    config_json,
    folder,
    hub,
    safetensors_file,
)
from zoo.directory.hf import bert, sentence_transformers
from zoo.directory.pretrained import Loaded, Pretrained
from zoo.generation_config import GenerationConfig
from zoo.layers import low_rank
from zoo.text.tokenizer import SOURCE, Tokenizer

__all__ = [
    "GenerationConfig",
    "Loaded",
    "Pretrained",
    "fields_of",
    "load",
    "read",
    "read_tokenizer",
    "save",
]

_PRESET = "keras_hub:"

fields_of = config_json.to_json


def save(
    directory,
    model,
    tokenizer=None,
    generation=None,
    replace=False,
    source_tokenizer=None,
) -> None:
    """Writes a model directory. After an error, no part of it stays.

    Low-rank adapters are merged into the weights.

    Args:
      directory: a folder that is absent or empty, unless `replace`.
      model: a model of the registry.
      tokenizer: a `Tokenizer`; None for a model of features.
      generation: a `GenerationConfig`; None writes its defaults.
      replace: whether to replace an older model directory.
      source_tokenizer: the `Tokenizer` of sources; None is that of targets.

    Raises:
      ValueError: the folder is not empty, or cannot be written; or a tokenizer of
        sources is missing, or the model has no sources.
    """
    checked_tokenizer.refuse_source(model.config, tokenizer, source_tokenizer)
    config = config_json.to_json(model.config)
    mappings = assemble.weight_mappings(model, config["model_type"])
    variables = assemble.by_path(model)
    shapes = {}
    for mapping in mappings:
        sizes = mapping.shapes(tuple(variables[mapping.path].shape))
        shapes |= dict(zip(mapping.hf_names, sizes, strict=True))

    added = low_rank.adapters(model)

    def arrays():
        for mapping in mappings:
            variable = variables[mapping.path]
            value = variable.value
            if id(variable) in added:
                value = added[id(variable)].added(value)
            value = np.asarray(value, np.float32)
            yield from mapping.to_hf(value).items()

    files.check_room(directory, 4 * sum(map(math.prod, shapes.values())))
    special_ids = {} if tokenizer is None else _special_ids(tokenizer)
    config |= special_ids
    if tokenizer is not None and hasattr(model.config, "labels"):
        # By its id, transformers finds the last token of a text.
        config.setdefault("pad_token_id", _special_id(tokenizer, "pad_token"))
    with files.staged(directory, replace) as new:
        if config.pop(bert.SENTENCE, None):
            sentence_transformers.write(new, model.config)
        files.write_json(new / "config.json", config)
        safetensors_file.write(new / safetensors_file.FILE, shapes, arrays())
        if tokenizer is not None:
            tokenizer.save(new)
            if source_tokenizer is not None:
                source_tokenizer.save(new, SOURCE)
            value = (generation or GenerationConfig()).to_json(tokenizer.end_id)
            value["eos_token_id"] = special_ids["eos_token_id"]
            if model.config.task == "seq2seq":
                # without these, transformers generates nothing
                value["decoder_start_token_id"] = model.config.start_id
                value["pad_token_id"] = model.config.padding_id
            files.write_json(new / folder.GENERATION, value)
        checksums.write(
            new, sorted(path.name for path in new.iterdir() if path.is_file())
        )


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
      source: a model directory; a folder of LoRA adapters, which are merged into
        their base model; a file *.gguf, *.keras or *.weights.h5; a folder with a
        checkpoint of TensorFlow; owner/name on the Hugging Face Hub; or keras_hub:NAME,
        the name or folder of a preset of KerasHub.
      revision: a branch, a tag or a commit on the Hub; None is the main branch.

    Raises:
      ValueError: there is no such source, or a file of it is missing or broken.
    """
    return checked_tokenizer.checked(_read(source, revision))


def _read(source, revision) -> Pretrained:
    """Reads a source of any kind; its tokenizer is not checked yet."""
    kind = _kind(source, revision)
    if kind == "preset":
        from zoo.directory.keras import presets

        return presets.read(source.removeprefix(_PRESET))
    if kind == "hub":
        path = hub.fetch(source, revision)
        kind = "adapter" if adapters.is_adapter(path) else "folder"
    else:
        path = pathlib.Path(source)
    if kind == "adapter":
        return adapters.read(path, _read)
    if kind == "folder":
        return folder.read(path)
    if kind == "checkpoint":
        from zoo.directory.tensorflow import checkpoint

        return checkpoint.read(path)
    if kind == "gguf":
        from zoo.directory.gguf import reader as gguf

        return gguf.read(path)
    from zoo.directory.keras import files as keras_files

    return keras_files.read(path)


def read_tokenizer(source, revision: str | None = None) -> Tokenizer:
    """Reads the tokenizer of a pretrained model, and no weights.

    Args:
      source: as in `read`, or a folder that has tokenizer files only.
      revision: as in `read`.

    Raises:
      ValueError: there is no such source, a file of it is broken, or it has no
        tokenizer.
    """
    found, rows = _tokenizer(source, revision)
    if found is None:
        raise ValueError(f"{source}: has no tokenizer; {folder.TOKENIZERS} allowed.")
    return checked_tokenizer.check(found, rows, str(source))


def _tokenizer(source, revision) -> tuple[Tokenizer | None, int | None]:
    """Reads the tokenizer of a source, and the number of rows of its model."""
    kind = _kind(source, revision)
    if kind == "preset":
        from zoo.directory.keras import presets

        return presets.read_tokenizer(source.removeprefix(_PRESET)), None
    path = pathlib.Path(source)
    if kind == "hub":
        path = hub.fetch_tokenizer(source, revision)
        kind = "adapter" if adapters.is_adapter(path) else "folder"
    if kind == "adapter":
        found, rows = _tokenizer(*adapters.base_of(path))
        return folder.read_tokenizer(path) or found, rows
    if kind == "gguf":
        from zoo.directory.gguf import reader as gguf

        return gguf.read_tokenizer(path), None
    if kind == "keras":
        if path.suffix == ".keras":
            return None, None
        path = path.parent
    elif kind != "folder":
        return checked_tokenizer.called(_read(source, None).tokenizer), None
    return folder.read_tokenizer(path), folder.rows(path)


def _kind(source, revision) -> str:
    """Returns the format of a source, and refuses what has none."""
    preset = isinstance(source, str) and source.startswith(_PRESET)
    path = pathlib.Path(source)
    on_hub = not preset and not os.path.lexists(path) and hub.is_id(source)
    if revision is not None and not on_hub:
        raise ValueError(f"revision {revision!r}: {source} is not a name on the Hub.")
    if preset:
        return "preset"
    if on_hub:
        return "hub"
    if path.is_dir() and adapters.is_adapter(path):
        return "adapter"
    if path.is_dir():
        return "folder" if _has_config(path) else "checkpoint"
    if not path.exists():
        raise ValueError(f"{path}: there is no such model directory.")
    if not path.is_file():
        raise ValueError(f"{path}: is not a regular file or a directory.")
    if path.suffix == ".gguf":
        return "gguf"
    if path.name.endswith((".keras", ".weights.h5")):
        return "keras"
    safetensors_file.refuse_pickle(path)
    raise ValueError(
        f"{path}: is a file; a model directory, a file *.gguf, *.keras or "
        "*.weights.h5, or owner/name on the Hugging Face Hub allowed."
    )


def _has_config(path) -> bool:
    """Returns False only for a folder in the layout that GPT-2 was published in."""
    names = ("config.json", "hparams.json")
    return [os.path.lexists(path / name) for name in names] != [False, True]


def _special_ids(tokenizer) -> dict[str, Any]:
    """Returns the fields `bos_token_id` and `eos_token_id` of a config.json."""
    ends = tokenizer.end_ids
    return {
        "bos_token_id": _special_id(tokenizer, "bos_token"),
        "eos_token_id": ends if ends[1:] else tokenizer.end_id,
    }


def _special_id(tokenizer, field) -> int:
    """Returns the id of a token that the settings name, or else the end token's."""
    token = tokenizer.config.get(field)
    name = token["content"] if isinstance(token, dict) else token
    ids = tokenizer.encode(name, special=True) if name else []
    return ids[0] if len(ids) == 1 else tokenizer.end_id
