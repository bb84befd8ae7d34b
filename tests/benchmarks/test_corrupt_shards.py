"""A few of the 1,000 ways in which `benchmarks.corrupt_shards` damages shards."""

import random

import pytest

from benchmarks import corrupt_shards
from zoo.data import shards


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("shards")
    return [corrupt_shards.make(place / x, i) for i, x in enumerate("ab")]


@pytest.mark.parametrize("kind", corrupt_shards.KINDS)
def test_damage_is_an_error_or_an_exact_count(folders, tmp_path, monkeypatch, kind):
    whole, other = folders
    monkeypatch.setattr(corrupt_shards, "KINDS", {kind: corrupt_shards.KINDS[kind]})
    for seed in range(4):
        copy = tmp_path / str(seed)
        _, answer = corrupt_shards.once(whole, other, copy, random.Random(seed))
        assert "FAILED" not in answer, answer


def test_a_reader_that_sees_nothing_fails(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "read", lambda *_, **__: shards_of(folders[0]))
    monkeypatch.setattr(
        corrupt_shards, "KINDS", {"cut": corrupt_shards.KINDS["a file is cut"]}
    )
    _, answer = corrupt_shards.once(*folders, tmp_path / "x", random.Random(0))
    assert answer.startswith("FAILED: no error for")


def shards_of(folder, read=shards.read):
    return read(folder)
