"""Fingerprints: what tells whether the data of a run changed.

A fingerprint is a dict from a name to {"size": bytes, "sha256": digest}, for JSON. The
names are paths of files, or the source itself where a package brings the data.
"""

import hashlib
import os
from typing import Any, cast

from zoo.data import compressed, shards, sources, storage, tables

Fingerprint = dict[str, dict[str, int | str]]


def fingerprint(spec: str, split: str = "train") -> Fingerprint:
    """The fingerprint of one split of a source or a table.

    The function reads files whole, in pieces, without decompression. A gigabyte takes
    about 1 s, far less than its tokenization.

    Args:
      spec: of `zoo.data.sources` or `zoo.data.tables`.
      split: of the source.

    Raises:
      ValueError: an unknown source or split, or a missing file.
    """
    kind, _, _ = spec.partition(":")
    if kind == shards.KIND:  # shards.json knows the SHA-256 of each file
        folder = shards.folder_of(spec)
        digest = shards.read(folder, sizes=False).digest(split)
        return {f"{compressed.shown(folder)} {split}": digest}
    if kind == "sklearn":
        table = tables.table(spec)
        return {spec: _content(table.features_NF.tobytes() + table.labels_N.tobytes())}
    files = sources.files(spec, split)
    if files:
        return of_files(files)
    texts = sources.documents(spec, split)
    return {f"{spec} {split}": _content("\0".join(texts).encode())}


def of_run(source: str, valid: str = "") -> Fingerprint:
    """The fingerprint of all data that `zoo.data.splits` reads for a run.

    Args:
      source: a spec of `zoo.data.sources` or `zoo.data.tables`.
      valid: another spec, or empty.

    Raises:
      ValueError: an unknown source, or a missing file.
    """
    found = fingerprint(source)
    if valid:
        return found | fingerprint(valid)
    kind = source.partition(":")[0]
    if kind == shards.KIND:
        splits = tuple(shards.read(shards.folder_of(source), sizes=False).splits)
    else:
        splits = () if kind in tables.KINDS else sources.splits(source)
    if "valid" in splits:
        found |= fingerprint(source, "valid")
    return found


def of_files(paths: dict[str, str]) -> Fingerprint:
    """The fingerprint of files, such as a tokenizer.json, by name.

    Args:
      paths: name to path.

    Raises:
      ValueError: a file that cannot be read.
    """
    found = {}
    for name, path in paths.items():
        with storage.reading(path), storage.open_bytes(path) as file:
            digest = hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
            size = file.seek(0, os.SEEK_END)
        found[name] = {"size": size, "sha256": digest}
    return found


def changes(before: Fingerprint, after: Fingerprint) -> list[str]:
    """What differs between two fingerprints, a line each; empty where all is equal."""
    lines = [f"{name}: is missing" for name in before.keys() - after.keys()]
    lines += [f"{name}: is new" for name in after.keys() - before.keys()]
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        if old["size"] != new["size"]:
            lines.append(f"{name}: {old['size']} bytes became {new['size']}")
        elif old != new:
            lines.append(f"{name}: the content changed")
    return sorted(lines)


def shared(one: Fingerprint, other: Fingerprint) -> list[str]:
    """The names in `one` whose content is in `other` too, under any name."""
    known = {entry["sha256"] for entry in other.values()}
    return [name for name, entry in one.items() if entry["sha256"] in known]


def _content(data: bytes) -> dict[str, int | str]:
    """The entry of what is in memory."""
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
