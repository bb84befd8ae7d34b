"""Folders that appear whole or not at all, and small JSON files read with care."""

import contextlib
import json
import math
import os
import pathlib
import resource

import numpy as np
import pytest
import safetensors.numpy

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


def test_read_json_refuses(tmp_path):
    with pytest.raises(ValueError, match="x: there is no such file"):
        files.read_json(tmp_path / "x")
    (tmp_path / "x").write_text(json.dumps([1]))
    with pytest.raises(ValueError, match="x: holds a list, expected an object"):
        files.read_json(tmp_path / "x")
    with pytest.raises(ValueError, match="x: larger than 2 bytes"):
        files.read_json(tmp_path / "x", largest=2)


# ---- errors of the system ----


@contextlib.contextmanager
def little_room():
    """Lets this process write no file above 100 bytes, as a full disk would."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def one_line(error):
    """The message of an error, which is no traceback and has no second line."""
    assert isinstance(error.value, ValueError) and isinstance(error.value, OSError)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_that_cannot_grow(tmp_path):
    with pytest.raises(files.FileError) as error, little_room():
        with files.staged(tmp_path / "b") as new:
            files.write_json(new / "x.json", "x" * 200)
    assert str(tmp_path) in one_line(error) and "File too large" in str(error.value)
    with pytest.raises(files.FileError) as error, little_room():
        with files.staged_file(tmp_path / "c") as new:
            new.write_bytes(bytes(200))
    assert "File too large" in one_line(error)
    assert not names(tmp_path)


def test_an_error_of_safetensors(tmp_path):
    arrays = {"x": np.zeros(99, np.float32)}
    with pytest.raises(files.FileError) as error, little_room():
        with files.staged(tmp_path / "b") as new:
            safetensors.numpy.save_file(arrays, new / "x.safetensors")
    assert f"{tmp_path / 'b'}: " in one_line(error) and "too large" in str(error.value)
    assert not names(tmp_path)


@pytest.mark.parametrize("write", [files.staged, files.staged_file])
def test_a_parent_that_is_a_file(write, tmp_path):
    (tmp_path / "file").write_text("")
    for check in (
        lambda path: files.check_room(path, 0),
        lambda path: enter(write, path),
    ):
        with pytest.raises(files.FileError) as error:
            check(tmp_path / "file/a/b")
        assert str(tmp_path / "file") in one_line(error)
    assert names(tmp_path) == ["file"]


def enter(write, path):
    with write(path):
        pass


def test_room_is_checked_before_the_work(tmp_path, monkeypatch):
    files.check_room(tmp_path / "a/b", 1000)
    with pytest.raises(files.FileError) as error:
        files.check_room(tmp_path / "a/b", 2**62)
    assert f"{tmp_path / 'a/b'}: needs 4,611,686,018,427,387,904 bytes" in one_line(
        error
    )
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(files.FileError, match=f"{tmp_path}: is not writable"):
        files.check_room(tmp_path / "a/b", 0)


def test_a_json_file_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "x.json").write_text("{}")

    def broken(path):
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(pathlib.Path, "read_bytes", broken)
    with pytest.raises(files.FileError) as error:
        files.read_json(tmp_path / "x.json")
    assert one_line(error) == f"{tmp_path / 'x.json'}: Input/output error."
