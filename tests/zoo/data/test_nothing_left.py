"""A preparation that drops every training document says what each stage did."""

import json

import pytest

from zoo.data.preparation import Recipe, run
from zoo.data.sources import kjv


@pytest.mark.parametrize(
    "fields, words",
    [
        (
            {"stages": ("trim", "gopher_quality")},
            "empty 4 -> 3 (no character 1); trim 3 -> 2 (no character left 1); "
            "gopher_quality 2 -> 0 (too few words 2); exact 0 -> 0; "
            "split: train 0, valid 0, test 0.",
        ),
        (
            {"stages": ("trim",), "valid": 0.5, "test": 0.4999},
            "trim 3 -> 2 (no character left 1); exact 2 -> 1 (an earlier document 1); "
            "split: train 0, valid 1, test 0.",
        ),
    ],
)
def test_without_a_training_document_all_counts_are_shown(fields, words, tmp_path):
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"text": text}) for text in ("", "\n", "one", "one "))
        + "\nno JSON"
    )
    spec = f"jsonl:{tmp_path}/a.jsonl"
    with pytest.raises(ValueError) as error:
        run(Recipe(source=spec, max_bad_rows=1, **fields), str(tmp_path / "out"))
    start = "No training document is left. Documents in -> out of each stage: "
    assert str(error.value).startswith(f"{start}5 rows, 1 of them bad; ")
    assert str(error.value).endswith(words)


def test_lines_may_take_all_training_documents(tmp_path, monkeypatch):
    books = {
        "train": {"A": "one", "B": "two"},
        "valid": {"C": "one\ntwo"},
        "test": {"D": "!"},
    }
    monkeypatch.setattr(kjv, "books", lambda split: books[split])
    with pytest.raises(
        ValueError, match="train 2, valid 1, test 1; lines: no training"
    ):
        run(Recipe(stages=(), lines=1), str(tmp_path / "out"))
