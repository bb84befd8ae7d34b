"""docs/families.md has the families of the tests, and these are those of the code."""

import pathlib
import re

import real_table
from real_families import FAMILIES
from real_packages import locked

from zoo.directory import hf

MODELS_LOCK = pathlib.Path(__file__).parents[1] / "models.lock"


def test_the_page_has_the_families_of_the_tests():
    known = real_table.read()
    assert list(known) == list(FAMILIES)
    for name, family in FAMILIES.items():
        assert known[name]["file"] == real_table.row(family)["file"]
        assert known[name].keys() == {"file", *real_table.COLUMNS}


def test_every_family_that_is_read_has_a_row():
    tried = {f.config["model_type"] for f in FAMILIES.values() if f.named}
    error = "model_type"
    try:
        hf.from_hf({"model_type": "none"}, "test")
    except ValueError as found:
        error = str(found)
    read = re.findall(r"[a-z]+[0-9]*(?:_[a-z]+)?", error.split(":")[-1])
    # no file of a published encoder-decoder was tried yet
    assert tried | hf.SEQ2SEQ.keys() == set(read)


def test_cells_say_what_a_run_can_find():
    for name, cells in real_table.read().items():
        refused = FAMILIES[name].refused
        for column in real_table.COLUMNS:
            words = refused.get(column)
            if words and cells[column] != real_table.UNTRIED:
                assert words in cells[column]
            elif not words:
                found = r"yes(, refuses \d+ of \d+)?|no|-|not tried"
                assert re.fullmatch(found, cells[column]), (name, column)


def test_packages_are_pinned():
    pinned = {line.split("==")[0] for line in MODELS_LOCK.read_text().splitlines()}
    assert {f.package for f in FAMILIES.values()} <= {*locked(), *pinned}


def test_a_page_keeps_the_rows_of_tests_that_did_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(real_table, "PATH", tmp_path / "families.md")
    real_table.write("GPT-2", {"exact": "yes"})
    real_table.write("OPT", {"exported": "yes", "exact": "no"})
    found = real_table.read()
    assert list(found) == list(FAMILIES)
    assert found["GPT-2"]["exact"] == "yes" and found["OPT"]["exact"] == "no"
    assert found["GPT-2"]["exported"] == found["Phi 1, 1.5, 2"]["chat"] == "not tried"
    assert not real_table.contradictions("GPT-2", {"exact": "yes", "chat": "-"})
    assert "'no'" in real_table.contradictions("OPT", {"exact": "yes"})
