"""Fetches directories from the Hugging Face Hub, with the Hub's own library and cache.

Only the files that a model needs are fetched. The library continues an interrupted
download, and finds cached files without network.
"""

import pathlib
import re

from zoo.directory import adapters, safetensors_file
from zoo.directory.hf import sentence_transformers
from zoo.text.importers import sides

TF_FILE = "tf_model.h5"  # of transformers 4, where a model has no safetensors
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FIRST = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    *sides.OWN,
    safetensors_file.INDEX,
    adapters.CONFIG,
    adapters.BASE,
    *sentence_transformers.NAMES,
)
_LAYOUT = (
    f"config.json, {safetensors_file.FILE} (or {safetensors_file.INDEX} and the files "
    f"that it names, or {TF_FILE}), "
    "tokenizer.json (or vocab.json and merges.txt, tokenizer.model, vocab.txt), and "
    "if there are any tokenizer_config.json and generation_config.json"
)


def is_id(source) -> bool:
    """Returns whether a source can be the name of a repository, owner/name."""
    return isinstance(source, str) and bool(_ID.fullmatch(source))


def fetch(name: str, revision: str | None = None) -> pathlib.Path:
    """Downloads a model into the cache of the Hub.

    Args:
      name: owner/name.
      revision: a branch, a tag or a commit; None is the main branch.

    Returns:
      The folder of the snapshot; all its files are of one commit.

    Raises:
      ValueError: the model is neither on the Hub nor in the cache, or the download
        failed. The message lists the files to provide by hand.
    """
    folder = fetch_tokenizer(name, revision)
    config, weights = "config.json", [safetensors_file.FILE]
    if adapters.is_adapter(folder):
        config, weights = adapters.CONFIG, [adapters.WEIGHTS]
    elif (folder / safetensors_file.INDEX).exists():
        weights = safetensors_file.shards(folder)
    _add(name, folder, weights)
    missing = [n for n in (config, *weights) if not (folder / n).exists()]
    if missing == [safetensors_file.FILE]:
        _add(name, folder, [TF_FILE])
        missing = [] if (folder / TF_FILE).exists() else missing
    if missing:
        reason = f"{folder} has no {missing[0]}"
        if missing[0] in (safetensors_file.FILE, adapters.WEIGHTS):
            reason += "; pickles (*.bin) can run code and are not fetched"
        raise ValueError(_advice(name, reason))
    return folder


def fetch_tokenizer(name: str, revision: str | None = None) -> pathlib.Path:
    """Downloads the small files of a model into the cache: all but its weights.

    Args:
      name, revision: as in `fetch`.

    Returns:
      The folder of the snapshot; all its files are of one commit.

    Raises:
      ValueError: the model is neither on the Hub nor in the cache, or the download
        failed.
    """
    folder = _snapshot(name, revision, _FIRST)
    if not (folder / "tokenizer.json").exists():
        _add(name, folder, [n for n in sides.FILES if n not in _FIRST])
    return folder


def _add(name, folder, wanted):
    """Downloads more files of the commit of a snapshot; a branch could move on."""
    absent = [n for n in wanted if not (folder / n).exists()]
    if absent:
        _snapshot(name, folder.name, absent)


def _snapshot(name, revision, wanted) -> pathlib.Path:
    """Downloads the wanted files, and returns the folder of the snapshot."""
    import huggingface_hub

    try:
        return pathlib.Path(
            huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=list(wanted)
            )
        )
    except Exception as error:  # of the library, of its HTTP client, of the system
        lines = str(error).strip().splitlines() or [""]
        reason = f"{type(error).__name__}: {lines[0]}"
        raise ValueError(_advice(name, reason)) from None


def _advice(name, reason):
    """Returns an error message with the files to provide by hand."""
    return (
        f"{name}: is not a folder, and cannot be fetched from the Hugging Face Hub or "
        f"its cache ({reason}). Without network, give the path of a folder with "
        f"{_LAYOUT}."
    )
