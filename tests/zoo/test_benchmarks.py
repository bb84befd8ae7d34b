"""The benchmarks import names that exist, also in the programs that they start."""

import importlib
import pathlib
import re

import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"
FILES = sorted(path.name for path in FOLDER.glob("*.py") if path.stat().st_size)
_IMPORT = re.compile(r"from ((?:zoo|trainers|configs)[\w.]*) import (\(?[\w, \n]+)")


def imported(text):
    """(module, name) of each import from the project, strings included."""
    for module, names in _IMPORT.findall(text):
        names = names[1:] if names.startswith("(") else names.splitlines()[0]
        for name in names.split(","):
            if name.strip():
                yield module, name.split(" as ")[0].strip()


def exists(module, name):
    try:
        return hasattr(importlib.import_module(module), name) or bool(
            importlib.import_module(f"{module}.{name}")
        )
    except ModuleNotFoundError:
        return False


def test_there_are_benchmarks():
    assert {"training.py", "tokenizer.py"} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_imports_exist(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert [one for one in imported(text) if not exists(*one)] == []


def test_a_missing_name_is_seen():
    text = 'CLIENT = """\nfrom zoo.saved_model import nothing\n"""'
    ((module, name),) = imported(text)
    assert not exists(module, name)
    assert list(imported("from zoo.x import (\n    a,\n    b as c,\n)")) == [
        ("zoo.x", "a"),
        ("zoo.x", "b"),
    ]
