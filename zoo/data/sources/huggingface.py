"""Data sets in the layouts of the package `datasets` and of the Hugging Face Hub.

    DIR                     what `save_to_disk` writes, or a folder of Parquet files
    OWNER/NAME[@REVISION]   a data set of the Hub, by its Parquet files
    .../CONFIG              one of several configurations

A split may follow behind a colon. No code of a data set runs: a data set that has no
Parquet files is read from the branch where the Hub converts it.
"""

import functools
import glob
import json
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from zoo.data import storage
from zoo.data.compressed import decode, shown
from zoo.data.sources import arrow, hub_layout, parquet
from zoo.data.sources.examples import only_train
from zoo.fields import one_of

_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@[\w./-]+?)?(/[\w.+-]+)?")
_CONVERTED = "refs/convert/parquet"
_HUB = "hub:"  # starts the path of a file that is not downloaded yet


class _Found(NamedTuple):
    """A data set: the kind of its files, their paths by split, and its features."""

    kind: str  # "arrow" or "parquet"
    files: Mapping[str, list[str]]
    features: Any = None  # as in dataset_info.json; None: as in the files


def files(rest: str, split: str) -> tuple[str, dict[str, str]]:
    """The kind of the files of a split, "arrow" or "parquet", and the files in order.

    Files of the Hub are downloaded into its cache, only those of the split.

    Args:
      rest: NAME or NAME:split.
      split: where `rest` has none; "valid" is also a name for "validation". Several may
        be joined by a plus sign.

    Returns:
      The kind; and a name for messages, which no cache folder changes, to the path.

    Raises:
      ValueError: no such data set, configuration or split; or the Hub cannot be
        reached.
    """
    name, own = _parse(rest)
    if own:
        only_train(f"hf:{shown(rest)}", split)
        split = own
    found = _find(name)
    paths: list[str] = []
    for part in split.split("+"):
        if part == "valid" and part not in found.files:
            part = "validation"
        one_of(f"hf:{shown(name)} split", part, found.files)
        paths += found.files[part]
    return found.kind, _local(name, paths)


def splits(rest: str) -> tuple[str, ...]:
    """The names that `files` takes for its split.

    Raises:
      ValueError: as `files`.
    """
    name, own = _parse(rest)
    if own:
        return ("train",)
    known = tuple(_find(name).files)
    return (*known, "valid") if "validation" in known else known


def label_names(rest: str, field: str) -> tuple[str, ...]:
    """The names of the classes that a field of integers stands for; empty if none.

    Raises:
      ValueError: as `files`; or there is no such field.
    """
    name, own = _parse(rest)
    found = _find(name)
    if found.features is not None:
        one_of(f"hf:{shown(name)} field", field, found.features)
        return arrow.class_names(found.features, field)
    _, paths = files(f"{name}:{own or next(iter(found.files))}", "train")
    return parquet.label_names(next(iter(paths.values())), field)


def _parse(rest: str) -> tuple[str, str]:
    """The name, and the split or ""."""
    match = re.fullmatch(r"(.+?)(?::([\w.+-]+))?", rest)
    if not match or not rest.isprintable():
        raise ValueError(f"hf:{shown(rest)}: expected hf:NAME or hf:NAME:split.")
    return match[1], match[2] or ""


def _find(name: str) -> _Found:
    """The data set of a folder, or of the Hub."""
    where = f"hf:{shown(name)}"
    found = _saved(name)
    if found is not None:
        return found
    folder, config = (name, "") if os.path.isdir(name) else os.path.split(name)
    paths = _below(folder) if os.path.isdir(folder) else []
    if paths:
        readme = _text(os.path.join(folder, hub_layout.README)) or ""
        chosen = hub_layout.splits(paths, readme, config, where)
        return _Found(
            "parquet",
            {s: [os.path.join(folder, p) for p in of] for s, of in chosen.items()},
        )
    if os.path.isdir(name) or not _ID.fullmatch(name):
        raise ValueError(
            f"{where}: no data set; a folder with dataset_dict.json or state.json (as "
            "save_to_disk writes them) or *.parquet, or OWNER/NAME of the Hub allowed."
        )
    return _on_hub(name)


def _saved(folder: str) -> _Found | None:
    """What `save_to_disk` wrote to a folder, or None."""
    splits = _json(f"{folder}/dataset_dict.json")
    if splits is not None:
        names = splits.get("splits")
        if not isinstance(names, list) or not names:
            raise ValueError(f"{shown(folder)}/dataset_dict.json: no 'splits'.")
        folders = {str(name): f"{folder}/{name}" for name in names}
    elif _json(f"{folder}/state.json") is not None:
        folders = {"train": folder}
    else:
        return None
    info = _json(f"{next(iter(folders.values()))}/dataset_info.json") or {}
    return _Found(
        "arrow",
        {name: _arrow_files(of) for name, of in folders.items()},
        info.get("features") or {},
    )


def _arrow_files(folder: str) -> list[str]:
    """The data files of one split, by its state.json."""
    where = f"{shown(folder)}/state.json"
    state = _json(f"{folder}/state.json")
    if state is None:
        raise ValueError(f"{where}: no such file.")
    for key in ("_indices_files", "_indices_data_files"):
        if state.get(key):
            raise ValueError(
                f"{where}: {key!r}, rows in an order of their own, are not read; save "
                "the data set again with a newer `datasets`."
            )
    try:
        names = [entry["filename"] for entry in state["_data_files"]]
    except (KeyError, TypeError):
        raise ValueError(f"{where}: no '_data_files' with a 'filename' each.") from None
    for name in names:
        if not isinstance(name, str) or os.path.basename(name) != name:
            raise ValueError(f"{where}: {name!r}, a file of the same folder allowed.")
    return [f"{folder}/{name}" for name in names]


@functools.lru_cache(maxsize=64)
def _on_hub(name: str) -> _Found:
    """The Parquet files of a data set of the Hub, at one commit, not yet downloaded.

    Kept, because a branch could move on between two calls.
    """
    match = _ID.fullmatch(name)
    assert match is not None  # `_find` has checked it
    owner_name, revision, config = (group or "" for group in match.groups())
    where = f"hf:{shown(name)}"
    for wanted in (revision.lstrip("@") or None, _CONVERTED):
        commit, listed = _list(where, owner_name, wanted)
        paths = sorted(path for path in listed if path.endswith(".parquet"))
        if paths:
            break
        if revision:
            raise ValueError(f"{where}: the revision has no Parquet file.")
    else:
        raise ValueError(
            f"{where}: neither the data set nor its branch {_CONVERTED} has a Parquet "
            "file."
        )
    readme = ""
    if hub_layout.README in listed:
        folder = _download(where, owner_name, commit, [hub_layout.README])
        readme = _text(f"{folder}/{hub_layout.README}") or ""
    chosen = hub_layout.splits(paths, readme, config.lstrip("/"), where)
    start = f"{_HUB}{owner_name}@{commit}/"
    return _Found(
        "parquet", {s: [start + path for path in of] for s, of in chosen.items()}
    )


def _local(name: str, paths: list[str]) -> dict[str, str]:
    """Names to paths of this machine; what is on the Hub is downloaded."""
    if not paths or not paths[0].startswith(_HUB):
        return {shown(path): path for path in paths}
    owner_name, _, rest = paths[0].removeprefix(_HUB).partition("@")
    commit = rest.partition("/")[0]
    inner = [path.removeprefix(f"{_HUB}{owner_name}@{commit}/") for path in paths]
    folder = _download(f"hf:{shown(name)}", owner_name, commit, inner)
    return {f"hf:{owner_name}/{path}": os.path.join(folder, path) for path in inner}


def _list(where: str, owner_name: str, revision: str | None) -> tuple[str, list[str]]:
    """The commit of a revision, and the names of its files."""
    import huggingface_hub

    try:
        info = huggingface_hub.HfApi().dataset_info(owner_name, revision=revision)
    except Exception as error:  # of the library, of its HTTP client, of the system
        if revision == _CONVERTED and "RevisionNotFound" in type(error).__name__:
            return "", []
        raise _unreachable(where, error) from None
    return info.sha or "", [file.rfilename for file in info.siblings or []]


def _download(where: str, owner_name: str, commit: str, names: list[str]) -> str:
    """The folder of the cache that holds files of a commit."""
    import huggingface_hub

    try:
        # the names are patterns for the library, where brackets have a meaning
        return huggingface_hub.snapshot_download(
            owner_name,
            repo_type="dataset",
            revision=commit,
            allow_patterns=[glob.escape(name) for name in names],
        )
    except Exception as error:  # of the library, of its HTTP client, of the system
        raise _unreachable(where, error) from None


def _unreachable(where: str, error: Exception) -> ValueError:
    """The error about a data set that the Hub does not give."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ValueError(
        f"{where}: is no folder, and cannot be fetched from the Hugging Face Hub "
        f"({type(error).__name__}: {shown(reason)}). Without network, download the "
        "data set elsewhere and name its folder."
    )


def _below(folder: str) -> list[str]:
    """The Parquet files in a folder, as paths inside it, sorted."""
    found = glob.glob("**/*.parquet", root_dir=folder, recursive=True)
    return sorted(path.replace(os.sep, "/") for path in found)


def _text(path: str) -> str | None:
    """The text of a small file, or None where there is none."""
    if not storage.exists(path):
        return None
    with storage.open_bytes(path) as file:
        return decode(file.read(), shown(path))


def _json(path: str) -> dict[str, Any] | None:
    """The object of a small file, or None where there is no file."""
    text = _text(path)
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{shown(path)}: not JSON ({error}).") from None
    if not isinstance(found, dict):
        raise ValueError(f"{shown(path)}: expected a JSON object.")
    return found
