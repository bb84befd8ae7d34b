"""Every command of the README and of docs/ runs, on a tiny model and a tiny text."""

import pathlib
import re
import shlex

import pytest
import readme_tree

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]

# what makes a command of the README small enough for a test
TINY = {
    "configs/dense_": ["--config.epochs=0", "--config.steps=3"],
    "configs/lm_": [
        "--config.steps=3",
        "--config.eval_every=3",
        "--config.save_every=3",
        "--config.optimizer.warmup=1",
        "--config.data.source=text:{text}",
        "--config.data.batch=4",
        "--config.accumulate=1",
        "--config.model.vocab_size=300",
        "--config.model.context=96",
        "--config.model.width=32",
        "--config.model.layers=1",
        "--config.precision=float32",
    ],
    "lm_transformer": ["--config.model.heads=2", "--config.model.mlp_width=64"],
    "lm_gpt2": ["--config.model.heads=2", "--config.model.mlp_width=64"],
    "lm_lstm": ["--config.model.units=32"],
    "lm_gru": ["--config.model.units=32"],
    "zoo.check": ["--calls=5"],
    "zoo.prepare --source": ["--vocab_size=300"],
    "configs/prepare": [
        "--config.source=text:{text}",
        "--config.vocab_size=300",
        "--workers=1",
    ],
}


def commands_of(page: pathlib.Path) -> list[str]:
    """The lines of the page's ```sh blocks, continued lines joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.S | re.M)
    text = "".join(blocks).replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_pages_have_commands():
    assert sum(len(commands_of(page)) for page in PAGES) >= 6


def marked(page):
    """The commands of docs/serving.md take most of a minute."""
    marks = [pytest.mark.long] if page.name == "serving.md" else []
    return pytest.param(page, id=page.name, marks=marks)


@pytest.mark.parametrize("page", [*map(marked, PAGES)])
def test_commands_of_page(page, tmp_path, commands):
    text = tmp_path / "small.txt"
    words = "the king said unto the people and they went up to the city by night"
    lines = [f"{i} {words} {words[i % 40 :]} {i * 7}" for i in range(400)]
    text.write_text("\n".join(lines), "utf-8")
    for link in ("configs", "benchmarks"):
        (tmp_path / link).symlink_to(ROOT / link)
    for command in commands_of(page):
        words = shlex.split(command)
        if words[0] == "make":
            targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
            assert words[1] in targets, command
            continue
        if words[0] != "python" or words[2].startswith("benchmarks"):
            continue
        for key, more in TINY.items():
            if key in command:
                words += [word.format(text=text) for word in more]
        done = commands(words[2], *words[3:], cwd=tmp_path)
        assert done.code == 0, f"{command}\n{done.out}"


def test_the_tree_is_the_tree():
    page = (ROOT / "README.md").read_text("utf-8")
    assert page == readme_tree.with_tree(page), "run tests/helpers/readme_tree.py"
