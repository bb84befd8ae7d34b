"""docs/families.md: what the tests of tests/real found, a row for each family."""

import pathlib

from real_families import FAMILIES

PATH = pathlib.Path(__file__).parents[2] / "docs/families.md"
COLUMNS = ("exported", "exact", "chat", "GGUF")
UNTRIED = "not tried"
_HEAD = """\
# Families on their real files

`python -m pytest tests/real -m "long or not long" --write-families` writes this page.
A row is a published tokenizer, with its chat template and its config.json made tiny.
"File" is the package that holds the tokenizer; `tests/real/packages.lock` pins it.

- **Exported**: a model directory with these files loads, and its SavedModel answers
  through TensorFlow's C API. A prompt begins with the ids that transformers gives it.
- **Exact**: the SavedModel gives the ids and texts of the `tokenizers` library. Texts
  are some thousand random ones, pieces of the vocabulary, and a megabyte.
- **Chat**: the signature `chat` gives the model the ids of the template, rendered by
  Jinja. Chats are 300 random ones, and some hundred that have the texts of the template
  itself in one, two or three messages. Chats that no test draws are not proved.
- **GGUF**: `zoo.convert --format=gguf` writes a file, and the file read again has the
  same ids, texts and chat template.

"No" is a failure. Words in quotes are of the error that refuses.

"""


def read() -> dict[str, dict[str, str]]:
    """The cells of the page by family and column."""
    if not PATH.is_file():
        return {}
    lines = PATH.read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    return {
        cells[0]: dict(zip(("file", *COLUMNS), cells[1:], strict=True))
        for cells in rows[2:]
    }


def row(family) -> dict[str, str]:
    """The cells that need no run."""
    note = f"; {family.note}" if family.note else ""
    return {"file": f"{family.package}{note}"}


def write(name: str, cells: dict[str, str]) -> None:
    """Writes the cells of a family, and keeps all others."""
    known = read()
    known.setdefault(name, {}).update(cells)
    names = ("family", "file", *COLUMNS)
    lines = [_line(names), _line(["---"] * len(names))]
    for family in FAMILIES.values():
        found = {**known.get(family.name, {}), **row(family)}
        lines.append(_line([family.name] + [found.get(c, UNTRIED) for c in names[1:]]))
    PATH.write_text(_HEAD + "\n".join(lines) + "\n", encoding="utf-8")


def contradictions(name: str, cells: dict[str, str]) -> str:
    """What the page says otherwise than a run, or ""."""
    known = read().get(name, {})
    wrong = [
        f"docs/families.md: {name}, {column}: {known[column]!r}, but this run found "
        f"{value!r}; --write-families writes it"
        for column, value in cells.items()
        if known.get(column, UNTRIED) not in (value, UNTRIED)
    ]
    return "\n".join(wrong)


def _line(cells):
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
