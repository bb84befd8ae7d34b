"""Fingerprints: they change with the data, and only with the data."""

import json
import os

import pytest

from zoo.data import fingerprints


@pytest.fixture
def corpus(tmp_path):
    for name, text in (("a.txt", "one"), ("b.txt", "two"), ("c.txt", "three")):
        (tmp_path / name).write_text(text)
    return f"text:{tmp_path}/[abd].txt"


def test_files_that_change_are_named(corpus, tmp_path):
    before = fingerprints.of_run(corpus, f"text:{tmp_path}/c.txt")
    assert json.loads(json.dumps(before)) == before
    os.utime(tmp_path / "a.txt", (0, 0))
    assert before == fingerprints.of_run(corpus, f"text:{tmp_path}/c.txt")
    (tmp_path / "a.txt").write_text("onE")
    (tmp_path / "b.txt").rename(tmp_path / "d.txt")
    (tmp_path / "c.txt").write_text("longer")
    after = fingerprints.of_run(corpus, f"text:{tmp_path}/c.txt")
    assert fingerprints.changes(before, after) == [
        f"{tmp_path}/a.txt: the content changed",
        f"{tmp_path}/b.txt: is missing",
        f"{tmp_path}/c.txt: 5 bytes became 6",
        f"{tmp_path}/d.txt: is new",
    ]
    assert not fingerprints.changes(after, after)
    # The same content under another name is the same data.
    assert fingerprints.shared(after, before) == [f"{tmp_path}/d.txt"]


def test_a_table_and_a_source_of_a_package(tmp_path):
    (tmp_path / "t.csv").write_text("a,label\n1,2\n")
    (entry,) = fingerprints.of_run(f"csv:{tmp_path}/t.csv#label").values()
    assert entry["size"] == 12 and len(entry["sha256"]) == 64
    assert list(fingerprints.of_run("sklearn:iris")) == ["sklearn:iris"]
    assert set(fingerprints.of_run("kjv")) == {"kjv train", "kjv valid"}
    test = fingerprints.fingerprint("kjv", "test")
    assert not fingerprints.shared(test, fingerprints.of_run("kjv"))


def test_other_files_such_as_a_tokenizer(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    found = fingerprints.of_files({"tokenizer": f"{tmp_path}/tokenizer.json"})
    assert list(found) == ["tokenizer"] and found["tokenizer"]["size"] == 2
    with pytest.raises(ValueError, match="no.json: No such file or directory"):
        fingerprints.of_files({"tokenizer": f"{tmp_path}/no.json"})


@pytest.mark.parametrize(
    "spec, split, message",
    [
        ("text:no/such.txt", "train", "no such file"),
        ("kjb", "train", "Did you mean kjv"),
        ("text:FILE", "valid", "only 'train' allowed"),
    ],
)
def test_errors(tmp_path, spec, split, message):
    (tmp_path / "a").write_text("a")
    with pytest.raises(ValueError, match=message):
        fingerprints.fingerprint(spec.replace("FILE", f"{tmp_path}/a"), split)
