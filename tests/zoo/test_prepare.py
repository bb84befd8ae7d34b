"""The command that trains a tokenizer."""

import subprocess
import sys

import pytest

from zoo import prepare
from zoo.text import tokenizer


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
