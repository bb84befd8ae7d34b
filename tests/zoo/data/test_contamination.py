"""N-grams of evaluation sources in training documents."""

import json

import numpy as np
import pytest

from zoo.data.preparation import ngrams, words

RHYME = "one two three four five six seven eight nine ten eleven twelve thirteen ends"


@pytest.fixture
def table(tmp_path):
    """`table(texts)`: the folder of the n-grams of evaluation texts."""

    def make(*texts):
        path = tmp_path / "evaluation.jsonl"
        path.write_text("\n".join(json.dumps({"text": text}) for text in texts))
        ngrams.build(tmp_path / "table", [f"jsonl:{path}"], 13)
        return tmp_path / "table"

    return make


def report(folder, training, samples=2):
    """The entry of the only source, for training texts in two units."""
    found = ngrams.load(folder)
    half = len(training) // 2

    def hits():
        for first, part in ((0, training[:half]), (half, training[half:])):
            yield found.find(words.words(part)) + np.array([first, 0])

    (entry,) = ngrams.report(
        folder, hits, lambda number: (f"place {number}", training[number]), samples
    )
    return entry


def test_documents_with_a_common_ngram_are_counted(table):
    evaluation = [
        f"Start! {RHYME.upper()} and another end.",
        RHYME.replace("seven", "7"),
        "too short",
        "一二三四五六七八九十百千万億兆",
        "a b c d e f g h",
    ]
    training = [
        "nothing",
        f"before, {RHYME.replace(' ', ', ')}",
        f"{RHYME} again",
        "数：一二三四五六七八九十百千万！",
        "A b c d e f g h",
        "a b c d e f g h i",
    ]
    entry = report(table(*evaluation), training)
    assert entry["documents"] == 5 and entry["short"] == 1
    assert entry["contaminated"] == 3 and entry["share"] == 0.75
    assert entry["training_documents"] == 4 and entry["common_ngrams"] == 0
    first, second = entry["samples"]
    assert first["ngram"] == RHYME.upper().removesuffix(" ENDS")
    assert first["place"].endswith("line 1") and first["training"] == "place 1"
    assert second["ngram"] == "一二三四五六七八九十百千万"


@pytest.mark.parametrize("copies, contaminated", [(10, 1), (11, 0)])
def test_phrases_of_many_documents_do_not_count(copies, contaminated, table):
    entry = report(table(RHYME), [f"{i} {RHYME}" for i in range(copies)], samples=0)
    assert entry["contaminated"] == contaminated and entry["samples"] == []
    assert entry["common_ngrams"] == 2 - 2 * contaminated


def test_no_evaluation_text_is_long_enough(table):
    entry = report(table("short", ""), ["short", RHYME])
    assert entry["contaminated"] == 0 and entry["share"] == 0 and entry["short"] == 2
