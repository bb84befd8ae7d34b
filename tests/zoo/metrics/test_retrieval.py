"""Recall and reciprocal ranks."""

import pytest

from zoo.metrics import retrieval

RANKED = [["a", "b", "c"], ["d", "e", "f"], ["g"], []]
RELEVANT = [["b"], ["f", "d", "x", "y"], ["z"], ["q"]]


def test_recall():
    assert retrieval.recalls_at_k(RANKED, RELEVANT, 1).tolist() == [0, 0.25, 0, 0]
    assert retrieval.recalls_at_k(RANKED, RELEVANT, 5).tolist() == [1, 0.5, 0, 0]
    assert retrieval.recall_at_k(RANKED, RELEVANT, 5) == pytest.approx(1.5 / 4)


def test_reciprocal_ranks():
    assert retrieval.reciprocal_ranks(RANKED, RELEVANT).tolist() == [0.5, 1, 0, 0]
    assert retrieval.mean_reciprocal_rank(RANKED, RELEVANT) == pytest.approx(1.5 / 4)


@pytest.mark.parametrize(
    "ranked, relevant, k, words",
    [
        ([], [], 1, "queries: 0"),
        ([["a"]], [], 1, "queries: 1 with results, 0"),
        ([["a"]], [[]], 1, "query 0: relevant"),
        ([["a"]], ["a"], 1, "query 0: relevant 'a'"),
        ([["a"]], [["a"]], 0, "k: 0, at least 1"),
    ],
)
def test_what_is_refused(ranked, relevant, k, words):
    with pytest.raises(ValueError, match=words):
        retrieval.recall_at_k(ranked, relevant, k)
