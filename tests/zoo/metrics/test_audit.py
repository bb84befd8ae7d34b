"""Text repeated from the training data, beside a search of all places."""

import numpy as np
import pytest

from zoo.metrics import audit


def test_it_finds_what_a_search_of_all_places_finds():
    rng = np.random.default_rng(0)
    train = rng.integers(0, 4, 300)
    for n in (1, 3, 5):
        seen = audit.SeenNgrams(train, n)
        known = {tuple(train[i : i + n]) for i in range(len(train) - n + 1)}
        found = []
        for _ in range(200):
            text = rng.integers(0, 5, 8).tolist()
            wanted = any(tuple(text[i : i + n]) in known for i in range(9 - n))
            assert seen.repeats(text) == wanted
            found.append(wanted)
        assert n == 1 or len(set(found)) == 2


def test_equal_hashes_do_not_decide(monkeypatch):
    monkeypatch.setattr(
        audit, "_hashes", lambda tokens, n: np.zeros(len(tokens) - n + 1, np.uint64)
    )
    seen = audit.SeenNgrams(np.array([1, 2, 3, 4]), 2)
    assert seen.repeats([9, 3, 4]) and not seen.repeats([4, 3, 2, 1])


def test_the_share_of_prompts():
    seen = audit.SeenNgrams(np.arange(50), 10)
    texts = [list(range(5, 16)), list(range(5, 14)), [7] * 20, []]
    assert audit.memorised(texts, seen).tolist() == [1, 0, 0, 0]


def test_preferred():
    more, less = np.array([-1.0, -5.0, -2.0]), np.array([-2.0, -4.0, -2.0])
    assert audit.preferred(more, less).tolist() == [1, 0, 0.5]


@pytest.mark.parametrize("n, words", [(0, "n: 0, at least 1"), (9, "at least n=9")])
def test_what_is_refused(n, words):
    with pytest.raises(ValueError, match=words):
        audit.SeenNgrams(np.arange(5), n)
