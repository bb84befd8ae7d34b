"""Writes the tree of the README from the first lines of the docstrings.

python tests/helpers/readme_tree.py
"""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[2]
BEGIN, END = "<!-- tree -->\n```\n", "```\n<!-- /tree -->"
FOLDERS = {
    "configs": "one experiment a file, with its command and its result",
    "benchmarks": "side by side with the peers",
    "tests": "as the folders above",
    "docs": "architecture, data, tasks, alignment, serving, beam, families, figures",
    "deploy": "files for TensorFlow Serving, and three clients",
}
WIDTH = 34


def summary(path: pathlib.Path) -> str:
    """The first line of a module's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return text.split("\n")[0].split(": python")[0].rstrip(".:")


def lines_of(folder: pathlib.Path, depth: int) -> list[str]:
    """A folder and what is in it, files before folders."""

    def line(name, comment):
        return f"{'  ' * depth}{name}".ljust(WIDTH) + comment

    about = folder / "__init__.py"
    lines = [line(f"{folder.name}/", summary(about) if depth else "").rstrip()]
    depth += 1
    for path in sorted(folder.glob("*.py")):
        if path.name not in ("__init__.py", "__main__.py"):
            lines.append(line(path.name, summary(path)).rstrip())
    for path in sorted(folder.iterdir()):
        if (path / "__init__.py").is_file():
            lines += lines_of(path, depth)
    return lines


def tree() -> str:
    """The whole tree, one line a file."""
    lines = [*lines_of(ROOT / "zoo", 0), *lines_of(ROOT / "trainers", 0)]
    lines += [f"{name}/".ljust(WIDTH) + about for name, about in FOLDERS.items()]
    return "".join(f"{line}\n" for line in lines)


def with_tree(readme: str) -> str:
    """The README with the tree of today."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}{tree()}{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    page = ROOT / "README.md"
    page.write_text(with_tree(page.read_text("utf-8")), "utf-8")
