"""Folders that appear whole or not at all, and small JSON files read with care."""

import json
import math

import pytest

from zoo import files


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_appears_when_it_is_whole(tmp_path):
    with files.staged(tmp_path / "a/b") as new:
        (new / "x").write_text("1")
        assert not (tmp_path / "a/b").exists()
    assert names(tmp_path / "a") == ["b"] and names(tmp_path / "a/b") == ["x"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_stays_after_an_error(error, tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(error), files.staged(tmp_path / "b") as new:
        (new / "x").write_text("1")
        raise error
    assert names(tmp_path) == ["b"] and not names(tmp_path / "b")


def test_an_older_one_stays_after_an_error(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/old").write_text("old")
    with pytest.raises(OSError), files.staged(tmp_path / "b", replace=True) as new:
        (new / "x").write_text("1")
        raise OSError
    assert names(tmp_path) == ["b"] and names(tmp_path / "b") == ["old"]


def test_replaces_the_whole(tmp_path):
    for name in ("old", "new"):
        with files.staged(tmp_path / "b", replace=True) as new:
            (new / name).write_text(name)
    assert names(tmp_path) == ["b"] and names(tmp_path / "b") == ["new"]


def test_refuses_what_is_not_empty(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("")
    for name in ("file", "full"):
        with pytest.raises(ValueError, match=f"{name}: is not empty"):
            files.refuse_full(tmp_path / name)
        with pytest.raises(ValueError), files.staged(tmp_path / name):
            pass
    files.refuse_full(tmp_path / "absent")
    assert names(tmp_path) == ["file", "full"]


def test_sweep_removes_what_killed_processes_left(tmp_path):
    for name in (".model.123.new", ".model.123.old", "model", ".git"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("")
    files.sweep(tmp_path)
    assert names(tmp_path) == [".git", "model"]
    files.sweep(tmp_path / "absent")


def test_json(tmp_path):
    value = {"a": [1, 2.5, None], "b": "\u00e9\n"}
    files.write_json(tmp_path / "x", value)
    assert files.read_json(tmp_path / "x") == value
    assert (tmp_path / "x").read_bytes().endswith(b"}\n")
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "y", {"a": math.nan})


def test_read_json_refuses(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="x: there is no such file"):
        files.read_json(tmp_path / "x")
    (tmp_path / "x").write_text(json.dumps([1]))
    with pytest.raises(ValueError, match="x: holds a list, expected an object"):
        files.read_json(tmp_path / "x")
    monkeypatch.setattr(files, "_LARGEST_JSON", 2)
    with pytest.raises(ValueError, match="x: larger than 2 bytes"):
        files.read_json(tmp_path / "x")
