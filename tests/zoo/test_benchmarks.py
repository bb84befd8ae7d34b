"""The benchmarks import names that exist, also in the programs that they start."""

import ast
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
    """Whether a module has the name, or is there at all where the name is empty."""
    try:
        found = importlib.import_module(module)
        if name and not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True


def used(text):
    """(module, name) of each `module.name` of an imported module of the project."""
    tree = ast.parse(text)
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and exists(node.module, ""):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name.startswith(("zoo.", "trainers.")) and exists(name, ""):
                    modules[alias.asname or alias.name] = name
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            modules.pop(node.id, None)  # a variable of the same name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in modules:
                yield modules[node.value.id], node.attr


def test_there_are_benchmarks():
    assert {"training.py", "tokenizer.py"} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_imports_exist(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    every = [*imported(text), *used(text)]
    assert [one for one in every if not exists(*one)] == []


def test_a_missing_name_is_seen():
    text = 'CLIENT = """\nfrom zoo.saved_model import nothing\n"""'
    ((module, name),) = imported(text)
    assert not exists(module, name)
    text = "from zoo.data import sources as s\ns.documents, s.nothing, t.other"
    assert list(used(text)) == [
        ("zoo.data.sources", "documents"),
        ("zoo.data.sources", "nothing"),
    ]
    assert list(imported("from zoo.x import (\n    a,\n    b as c,\n)")) == [
        ("zoo.x", "a"),
        ("zoo.x", "b"),
    ]
