"""Which Parquet files of a data set's folder are which split.

The README of a data set on the Hub may say it, in `configs` of its YAML header. Else
the names of the files do, as the package `datasets` reads them:

    data/train-00000-of-00002.parquet  a split by the start of the name
    default/train/0000.parquet         CONFIG/SPLIT/NUMBER, of the Hub's own conversion
    test.parquet, dev/a.parquet        a split by a word in the name, or in a folder
    a.parquet                          no such word: train
"""

import re
from collections.abc import Sequence
from typing import Any

from zoo.fields import suggest

README = "README.md"
_SHARD = re.compile(r"(?:.*/)?([\w.]+?)-\d{5,}-of-\d{5,}[^/]*\.parquet")
_CONVERSION = re.compile(r"([^/]+)/(?:partial-)?([^/]+)/\d{4}\.parquet")
_WORDS = {
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
    "train": ("train", "training"),
}
_DEFAULT = "default"


def splits(
    paths: Sequence[str], readme: str, config: str, where: str
) -> dict[str, list[str]]:
    """The files of each split.

    Args:
      paths: of the Parquet files inside the folder, sorted.
      readme: the text of the folder's README.md, or "".
      config: the wanted configuration; "" is the only or the default one.
      where: the data set, for messages.

    Returns:
      Split to paths; the order of splits is that of the README or of `datasets`.

    Raises:
      ValueError: an unknown configuration, or several and none is wanted; a pattern of
        the README that names no file.
    """
    configs = _of_readme(paths, readme, where) or _of_names(paths)
    if not config and len(configs) == 1:
        (config,) = configs
    config = config or _DEFAULT
    if config not in configs:
        raise ValueError(
            f"{where}: no configuration {config!r}; name one as hf:NAME/CONFIG."
            f"{suggest(config, configs)}"
        )
    return configs[config]


def _of_names(paths: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Configurations and splits by the names of the files."""
    found: dict[str, dict[str, list[str]]] = {}
    matches = [_CONVERSION.fullmatch(path) for path in paths]
    converted = all(matches)
    for path, match in zip(paths, matches, strict=True):
        config, split = _DEFAULT, _split_of(path)
        if converted and match:
            config, split = match[1], match[2]
        found.setdefault(config, {}).setdefault(split, []).append(path)
    order = ("train", "validation", "test")
    return {
        config: {split: of[split] for split in sorted(of, key=(*order, *of).index)}
        for config, of in found.items()
    }


def _split_of(path: str) -> str:
    """The split of one file by its name."""
    if match := _SHARD.fullmatch(path):
        return match[1]
    *folders, name = path.lower().split("/")
    for part in (name.removesuffix(".parquet"), *reversed(folders)):
        words = re.split(r"[^a-z]+", part)
        for split, known in _WORDS.items():
            if any(word in known for word in words):
                return split
    return "train"


def _of_readme(
    paths: Sequence[str], readme: str, where: str
) -> dict[str, dict[str, list[str]]]:
    """Configurations and splits by the header of the README; empty if it has none."""
    header = re.match(r"---\s*\n(.*?)\n---\s*(?:\n|\Z)", readme, re.DOTALL)
    if not header or "configs:" not in header[1]:
        return {}
    import yaml

    try:
        configs = (yaml.safe_load(header[1]) or {}).get("configs")
    except (yaml.YAMLError, AttributeError, RecursionError) as error:
        line = str(error).splitlines()[0]
        raise ValueError(
            f"{where}: {README}: the header is no YAML ({line})."
        ) from None
    found: dict[str, dict[str, list[str]]] = {}
    for entry in configs if isinstance(configs, list) else []:
        if not isinstance(entry, dict):
            continue
        named = found.setdefault(str(entry.get("config_name", _DEFAULT)), {})
        for split, patterns in _data_files(entry.get("data_files")):
            for pattern in patterns:
                matched = _matching(paths, pattern)
                if not matched and pattern.endswith(".parquet"):
                    raise ValueError(
                        f"{where}: {README}: {pattern!r} names no Parquet file."
                    )
                named.setdefault(split, []).extend(matched)
        if entry.get("default") is True:
            found.setdefault(_DEFAULT, named)
    return {
        config: splits
        for config, splits in found.items()
        if splits and all(splits.values())
    }


def _data_files(value: Any) -> list[tuple[str, list[str]]]:
    """The splits of `data_files` with their patterns, in each form that the Hub has."""
    if isinstance(value, str):
        return [("train", [value])]
    if isinstance(value, dict):
        return [(str(split), _strings(path)) for split, path in value.items()]
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return [("train", value)]
    return [
        (str(entry["split"]), _strings(entry["path"]))
        for entry in (value if isinstance(value, list) else [])
        if isinstance(entry, dict) and {"split", "path"} <= entry.keys()
    ]


def _strings(value: Any) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]


def _matching(paths: Sequence[str], pattern: str) -> list[str]:
    """The paths that a pattern of the README names; `**` crosses folders, `*` not."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.removeprefix("./"))
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    regex = re.compile("".join(known.get(part, re.escape(part)) for part in parts))
    return [path for path in paths if regex.fullmatch(path)]
