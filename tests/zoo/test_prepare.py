"""The command that trains a tokenizer, and shows what a model would learn."""

import importlib
import json
import pathlib
import re
import subprocess
import sys
import types

import numpy as np
import pytest

from zoo import prepare
from zoo.data import preview
from zoo.data.preparation import recipe
from zoo.text import tokenizer

ROOT = pathlib.Path(__file__).parents[2]


def test_the_command_writes_a_tokenizer_and_counts(tmp_path):
    text = "the cat sat on the mat\r\n" * 10
    (tmp_path / "a.txt").write_bytes(text.encode())
    (tmp_path / "b.txt").write_bytes(b"the end")
    flags = [f"--source=text:{tmp_path}/*.txt", "--vocab_size=262"]
    command = [sys.executable, "-m", "zoo.prepare", f"--output={tmp_path}/out", *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    counts = dict(line.rsplit(None, 1) for line in done.stdout.splitlines())
    assert counts["documents"] == "2"
    clean = text.replace("\r", "").strip()
    assert counts["bytes"] == str(len(clean) + 1 + len("the end"))
    loaded = tokenizer.load(tmp_path / "out")
    tokens = len(loaded.encode(clean)) + len(loaded.encode("the end"))
    assert loaded.vocab_size == 262 and counts["tokens"] == str(tokens)

    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode != 0
    assert "give a new or an empty folder" in again.stderr
    assert "Traceback" not in again.stderr


def test_cleaning_is_optional_and_checked(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a\r\nb")
    spec = f"text:{tmp_path}/a.txt"
    stream = prepare.prepare_tokenizer(spec, str(tmp_path / "raw"), 257, [])
    assert stream.bytes == 4
    with pytest.raises(ValueError, match="cleaning step"):
        prepare.prepare_tokenizer(spec, str(tmp_path / "new"), 257, ["lower"])
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def given(tokenizer, tmp_path_factory):
    """`given(**flags)`: the flags of --show, for a file of prompts."""
    folder = tmp_path_factory.mktemp("show")
    rows = [{"prompt": f"abc {i}", "completion": "cab " * (i % 5)} for i in range(20)]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "a.txt").write_text("abc cab dab " * 30)
    tokenizer.save(folder / "tokenizer")
    usual = {
        "source": f"jsonl:{folder}/a.jsonl",
        "tokenizer": str(folder / "tokenizer"),
        "format": "prompt",
        "fields": [],
        "length": 32,
        "too_long": "error",
        "max_bad_rows": 4,
        "pack": "",
        "show": 2,
        "clean": [],
    }

    def make(**fields):
        fields = {
            k: v.format(place=folder) if isinstance(v, str) else v
            for k, v in fields.items()
        }
        return types.SimpleNamespace(**{**usual, **fields})

    return make


def test_rows_are_shown_with_ids_text_and_weights(given, tokenizer, capsys):
    prepare.show_examples(given())
    out = capsys.readouterr().out
    assert "20 read, 4 bad, 0 dropped, 0 cut" in out  # those without an answer
    assert out.count("example ") == 2 and "segment" not in out
    ids = " ".join(map(str, tokenizer.encode("abc 1")))
    assert f'    weight 0: {ids}\n      "abc 1"\n' in out
    assert '\n      "cab <|endoftext|>"\n' in out


def test_packed_windows_show_their_segments(given, capsys):
    prepare.show_examples(given(pack="best_fit", show=1))
    out = capsys.readouterr().out
    assert "packing best_fit: " in out and "of their places used" in out
    assert out.count("example ") == 1 and "in 2 segments" in out
    assert "  segment 1: " in out and "  segment 2: " in out


def test_windows_of_text_are_shown(given, capsys):
    prepare.show_examples(
        given(format="lm", source="text:{place}/a.txt", length=8, show=3)
    )
    out = capsys.readouterr().out
    assert "documents        1\n" in out
    assert out.count("9 tokens, 8 learnt") == 3
    assert '\n      "<|endoftext|>"\n' in out


def test_texts_with_holes_are_shown(given, capsys, tmp_path):
    names = ["<|endoftext|>", *(f"<extra_id_{i}>" for i in range(4))]
    trained = tokenizer.train(["abc cab dab " * 9], 264, names)
    trained.save(tmp_path / "t5")
    asked = {"format": "span_corruption", "source": "text:{place}/a.txt", "length": 16}
    prepare.show_examples(given(**asked, tokenizer=str(tmp_path / "t5")))
    out = capsys.readouterr().out
    assert "documents        1\n" in out and out.count(" in 2 segments\n") == 2
    source, target = re.findall(r'      "(.*)"\n', out)[:2]
    hole = re.fullmatch(r"(.+)<extra_id_0>(.*)<\|endoftext\|>", source)
    taken = re.fullmatch(r"<extra_id_0>(.+)<extra_id_1><\|endoftext\|>", target)
    assert hole and taken
    assert ("abc cab dab " * 30).startswith(hole[1] + taken[1] + hole[2])
    with pytest.raises(ValueError, match="0 sentinels, and span_corruption needs"):
        prepare.show_examples(given(**asked))


def test_learnt_and_given_tokens_have_their_colours(tokenizer):
    ids = np.array([*tokenizer.encode("abc"), *tokenizer.encode("\x1b[1m\n")])
    weights = np.arange(len(ids)) >= len(tokenizer.encode("abc"))
    text = preview.text(1, [(ids, weights)], tokenizer)
    parts = {text.plain[s.start : s.end]: s.style for s in text.spans}
    assert parts['      "abc"\n'] == preview.GIVEN
    assert parts['      "\\u001b[1m\\n"\n'] == preview.LEARNT


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"show": 0}, "--show: 0, at least 1"),
        ({"length": 0}, "--length: 0, at least 1"),
        ({"tokenizer": ""}, "--tokenizer: none; --show needs one"),
        ({"format": "chats"}, "--format: 'chats'. Did you mean chat?"),
        ({"pack": "best"}, "--pack: 'best'. Did you mean best_fit?"),
        ({"pack": "concat", "format": "lm"}, "--pack: the format lm"),
        ({"max_bad_rows": 3}, "4 bad rows, config.data.max_bad_rows 3 allowed"),
        ({"length": 4}, "tokens, at most 5 allowed"),
    ],
)
def test_what_cannot_be_shown(fields, words, given):
    with pytest.raises(ValueError) as error:
        prepare.show_examples(given(**fields))
    assert words in str(error.value)


def test_a_folder_or_examples(commands, tmp_path):
    done = commands("zoo.prepare", "--source=kjv", f"--output={tmp_path}/a", "--show=1")
    assert done.errors == ["error: --output, --show: give one of the two."]
    done = commands("zoo.prepare", "--source=kjv")
    assert done.errors[0].startswith("error: --output: none; give a new or an empty")


def test_a_recipe_becomes_shards(commands, corpus, tmp_path):
    recipe = [
        "--config=configs/prepare.py",
        f"--config.source=text:{corpus}",
        "--config.stages=('trim',)",
        "--config.vocab_size=300",
        f"--output={tmp_path}/out",
        "--workers=1",
    ]
    done = commands("zoo.prepare", *recipe, cwd=ROOT)
    assert done.code == 0, done.out
    assert re.search(r"^train +1 documents, \d+ characters", done.out, re.M)
    assert (tmp_path / "out/shards.json").exists()
    done = commands("zoo.prepare", *recipe, "--config.seed=1", cwd=ROOT)
    assert "recipe.seed: 0 -> 1. Give a new folder" in done.errors[0]


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--config=configs/prepare.py", "--vocab_size=9"], "--vocab_size: not with"),
        (["--config=configs/prepare.py"], "--output: none"),
        (["--config=configs/none.py"], "configs/none.py: there is no such file"),
        (["--config=configs/lm_gru.py", "--output=x"], "not a Recipe"),
        (["--config=configs/prepare.py", "--config.nea=1"], "Did you mean near?"),
        (["--workers=2", "--source=kjv", "--output=x"], "--workers: needs --config"),
        (["--output=x"], "--source: none; give one"),
    ],
)
def test_forms_are_not_mixed(flags, words, commands):
    done = commands("zoo.prepare", *flags, cwd=ROOT)
    assert done.code == 1 and words in done.errors[0]


def test_worker_processes_need_no_tensorflow():
    names = "zoo.prepare, zoo.data.preparation.runner"
    code = f"import sys, {names}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("prepare*.py")))
def test_recipes_of_configs_are_right(path, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("text")
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"configs.{path.stem}")
    made = module.get_config()
    if "mojibake" in made.stages:
        pytest.importorskip("ftfy")
    assert recipe.from_json(recipe.to_json(made)) == made
    assert f"zoo.prepare --config=configs/{path.name}" in module.__doc__
