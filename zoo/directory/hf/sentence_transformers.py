"""The files of sentence-transformers, for models that embed a text as one vector.

    modules.json                 the steps, in order
    1_Pooling/config.json        the kind of pooling
    sentence_bert_config.json    the longest text

Source: Reimers and Gurevych 2019 (arXiv:1908.10084).
"""

import json
import os
import pathlib
from typing import Any

from zoo import files

MODULES = "modules.json"
POOLING = "1_Pooling"
_TRANSFORMER = "sentence_bert_config.json"
_PROMPTS = "config_sentence_transformers.json"
NAMES = (MODULES, f"{POOLING}/config.json", _TRANSFORMER, _PROMPTS)

_STEPS = ("Transformer", "Pooling", "Normalize")
_MODE = "pooling_mode_"
_MODES = {"mean_tokens": "mean", "cls_token": "cls"}


def read(folder) -> dict[str, str]:
    """Reads the pooling and the normalization of a directory.

    Returns:
      The fields `pooling` and `normalization` of a text encoder's Config; {} for a
      directory without modules.json.

    Raises:
      ValueError: a file is broken, or has a step that the Config does not have.
    """
    folder = pathlib.Path(folder)
    if not os.path.lexists(folder / MODULES):
        return {}
    path = files.inside(folder, MODULES)
    steps = _steps(path)
    kinds = [kind for kind, _ in steps]
    if kinds not in (list(_STEPS), list(_STEPS[:2])):
        raise ValueError(
            f"{path}: the steps {', '.join(kinds)}; {', '.join(_STEPS)} allowed, with "
            "or without the last."
        )
    if steps[0][1]:
        raise ValueError(f"{path}: path {steps[0][1]!r} of the first step, '' allowed.")
    for name, field, allowed in (
        (_TRANSFORMER, "do_lower_case", False),
        (_PROMPTS, "default_prompt_name", None),
    ):
        if os.path.lexists(folder / name):
            value = files.read_json(files.inside(folder, name)).get(field)
            if value not in (allowed, None):
                raise ValueError(
                    f"{folder / name}: {field} {value!r}, {allowed} allowed."
                )
    return {
        "pooling": _pooling(folder, steps[1][1]),
        "normalization": "l2" if kinds[2:] else "none",
    }


def write(folder, config) -> None:
    """Writes the files of a text encoder's Config."""
    folder = pathlib.Path(folder)
    steps = _STEPS if config.normalization == "l2" else _STEPS[:2]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{kind}" if i else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(steps)
    ]
    text = json.dumps(modules, indent=2)
    (folder / MODULES).write_text(text + "\n", encoding="utf-8")
    (folder / POOLING).mkdir()
    modes = {_MODE + mode: name == config.pooling for mode, name in _MODES.items()}
    files.write_json(
        folder / POOLING / "config.json",
        {"word_embedding_dimension": config.width, **modes},
    )
    files.write_json(
        folder / _TRANSFORMER,
        {"max_seq_length": config.context, "do_lower_case": False},
    )


def _steps(path) -> list[tuple[str, str]]:
    """Reads the kind and the path of each step."""
    modules = files.read_json(path, list)
    steps = []
    for module in modules:
        fields: Any = module if isinstance(module, dict) else {}
        kind, below = fields.get("type"), fields.get("path")
        if not isinstance(kind, str) or not isinstance(below, str):
            raise ValueError(f"{path}: {module!r} has no type or no path.")
        steps.append((kind.rpartition(".")[2], below))
    return steps


def _pooling(folder, below) -> str:
    """Reads our name of the pooling; older files have a flag for each kind."""
    path = files.inside(folder, "config.json", below=below)
    value = files.read_json(path)
    chosen = [key for key, on in value.items() if key.startswith(_MODE) and on is True]
    modes = {_MODE + mode: name for mode, name in _MODES.items()}
    if "pooling_mode" in value:
        chosen = [value["pooling_mode"]]
        modes = {name: name for name in _MODES.values()}
    if len(chosen) != 1 or chosen[0] not in modes:
        raise ValueError(
            f"{path}: the poolings {', '.join(map(str, chosen)) or 'none'}; one of "
            f"{', '.join(modes)} allowed."
        )
    return modes[chosen[0]]
