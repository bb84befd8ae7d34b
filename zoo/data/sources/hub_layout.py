"""Which Parquet files of a data set's folder are which split.

The README of a data set on the Hub may say it, in `configs` of its YAML header. Else
the names of the files do. The first of these rules that fits a file decides for all,
as in the package `datasets`; what the rule does not fit is left out:

    default/train/0000.parquet         CONFIG/SPLIT/NUMBER, of the Hub's own conversion
    data/train-00000-of-00002.parquet  any name of a split
    dev/a.parquet                      a folder with a word for a split in its name
    my_test.parquet                    a file with such a word in its name
    a.parquet                          train
"""

import re
from collections.abc import Sequence
from typing import Any

from zoo.fields import suggest

README = "README.md"
_SHARD = re.compile(r"data/(\w+(?:\.\w+)*)-\d{5}-of-\d{5}[^/]*\.parquet")
_CONVERSION = re.compile(r"([^/]+)/(?:partial-)?([^/]+)/\d{4}\.parquet")
_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_NO_WORDS = re.compile("[-._ 0-9]+")
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
    if all(matches):
        for path, match in zip(paths, matches, strict=True):
            config, split = match.groups() if match else ("", "")
            found.setdefault(config, {}).setdefault(split, []).append(path)
    else:
        rules = (_of_shard, _of_folder, _of_file, lambda path: "train")
        named = ([(rule(path), path) for path in paths] for rule in rules)
        for split, path in next(pairs for pairs in named if any(s for s, _ in pairs)):
            if split:
                found.setdefault(_DEFAULT, {}).setdefault(split, []).append(path)
    return {
        config: {split: of[split] for split in sorted(of, key=[*_WORDS, *of].index)}
        for config, of in found.items()
    }


def _of_shard(path: str) -> str:
    """The split that a numbered file names; "" if none."""
    match = _SHARD.fullmatch(path)
    return match[1] if match else ""


def _of_folder(path: str) -> str:
    """The split that the innermost folder with a word for one names; "" if none."""
    return next(filter(None, map(_of_word, reversed(path.split("/")[:-1]))), "")


def _of_file(path: str) -> str:
    """The split that the name of the file has a word for; "" if none."""
    return _of_word(path.rpartition("/")[2])


def _of_word(name: str) -> str:
    words = set(_NO_WORDS.split(name))
    return next((split for split in _WORDS if words & {*_WORDS[split]}), "")


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
