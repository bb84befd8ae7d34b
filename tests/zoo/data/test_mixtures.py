"""Mixtures: exact counts of each source, and a position that is one integer."""

import collections
import itertools

import numpy as np
import pytest

from zoo.data import batches, mixtures, splits
from zoo.data.batches import pipeline


def test_weights_become_whole_shares():
    def shares(*entries):
        return [part.share for part in mixtures.parts("kjv", entries)]

    assert mixtures.parts("text:a") == [(1, "text:a")]
    assert mixtures.parts("", ["3 kjv", "1 text:a b.txt"]) == [
        (3, "kjv"),
        (1, "text:a b.txt"),
    ]
    assert shares("0.7 kjv", "0.3 text:a") == [7, 3]
    assert shares("60 kjv", "30 text:a", "10 text:b") == [6, 3, 1]
    assert shares("1/3 kjv", "2/3 text:a") == [1, 2]


@pytest.mark.parametrize(
    "source, entries, words",
    [
        ("text:a", ["1 kjv"], "config.data.source: 'text:a' beside"),
        ("kjv", ["kjv"], "config.data.mixture: 'kjv', a weight above 0"),
        ("kjv", ["1"], "'1', a weight above 0 and a source"),
        ("kjv", ["0 kjv"], "'0 kjv', a weight"),
        ("kjv", ["-1 kjv"], "'-1 kjv', a weight"),
        ("kjv", ["nan kjv"], "'nan kjv', a weight"),
        ("kjv", ["1/0 kjv"], "'1/0 kjv', a weight"),
        ("kjv", ["1 kjv", "2 kjv"], "'kjv' twice"),
        ("kjv", ["0.12345 kjv", "1 text:a"], "a pattern of 22469 rows, at most 10000"),
    ],
)
def test_what_is_refused(source, entries, words):
    with pytest.raises(ValueError) as error:
        mixtures.parts(source, entries)
    assert words in str(error.value)


def draws(counts, shares, batch, seed=0, start=0, shuffle=True):
    """The draws of a mixture: batches of (source, epoch, place)."""

    def rows(source_B, epoch_B, place_B):
        return {"source": source_B, "epoch": epoch_B, "place": place_B}

    dataset = pipeline.endless_mixture(
        rows, counts, shares, batch, seed, start, shuffle
    )
    for found in dataset.as_numpy_iterator():
        yield list(zip(*(found[n].tolist() for n in found), strict=True))


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_pattern_has_the_exact_counts_and_every_epoch_each_row_once(shuffle):
    counts, shares = (7, 40, 3), (3, 5, 2)
    found = list(itertools.islice(draws(counts, shares, 4, 1, 0, shuffle), 105))
    rows = [row for batch in found for row in batch]  # 42 patterns
    orders = set()
    for first in range(0, len(rows), 10):
        pattern = rows[first : first + 10]
        sources = [source for source, _, _ in pattern]
        assert collections.Counter(sources) == {0: 3, 1: 5, 2: 2}
        orders.add(tuple(sources))
    assert len(orders) > 30 if shuffle else len(orders) == 1
    for source, count in enumerate(counts):
        own = [(epoch, place) for s, epoch, place in rows if s == source]
        assert len(own) == len(set(own)) == 42 * shares[source]
        epochs = collections.Counter(epoch for epoch, _ in own)
        full = len(own) // count
        assert all(epochs[epoch] == count for epoch in range(full))
        assert epochs[full] == len(own) % count
    places = [[p for s, e, p in rows if s == 1 and e == epoch] for epoch in (0, 1)]
    assert (places[0] != places[1]) == shuffle


def test_the_number_of_a_batch_decides_it():
    whole = list(itertools.islice(draws((7, 40), (1, 3), 3), 30))
    assert whole[19:] == list(itertools.islice(draws((7, 40), (1, 3), 3, start=19), 11))
    other = list(itertools.islice(draws((7, 40), (1, 3), 3, seed=5), 30))
    assert whole != other


def test_one_source_is_drawn_as_without_a_mixture():
    dataset = pipeline.endless(
        lambda epoch_B, place_B: {"epoch": epoch_B, "place": place_B}, 9, 4, 2, 3, True
    )
    plain = [
        list(zip(x["epoch"].tolist(), x["place"].tolist(), strict=True))
        for x in itertools.islice(dataset.as_numpy_iterator(), 12)
    ]
    mixed = itertools.islice(draws((9,), (1,), 4, seed=2, start=3), 12)
    assert plain == [[row[1:] for row in batch] for batch in mixed]


def test_windows_stay_inside_their_stream():
    tokens = np.concatenate([np.arange(100), 1000 + np.arange(57)])
    dataset = batches.lm_batches(tokens, 10, 4, seed=1, starts=[0, 100], shares=[1, 3])
    windows = []
    for batch in itertools.islice(dataset.as_numpy_iterator(), 50):
        for inputs, targets in zip(batch["tokens"], batch["targets"], strict=True):
            assert (np.diff(inputs) == 1).all() and (targets == inputs + 1).all()
            windows.append(int(inputs[0]))
    assert sum(first >= 1000 for first in windows) == 150
    assert len(set(windows)) > 40  # shifts move them
    with pytest.raises(ValueError, match="has 7 tokens"):
        batches.lm_batches(tokens, 10, 4, seed=1, starts=[0, 150], shares=[1, 1])


def test_padded_rows_are_mixed_one_by_one():
    lengths = [3] * 20 + [30] * 5
    starts = np.cumsum([0, *lengths]).astype(np.int64)
    tokens = np.repeat(np.arange(25), lengths).astype(np.int32) + 1
    weights = np.ones(len(tokens), np.float32)
    dataset = batches.row_batches(
        tokens, weights, starts, 8, seed=0, counts=(20, 5), shares=(3, 1)
    )
    seen = collections.Counter()
    for batch in itertools.islice(dataset.as_numpy_iterator(), 10):
        ids = batch["tokens"][:, 0]
        assert sum(ids > 20) == 2
        assert batch["tokens"].shape == (8, 29)  # the longest row
        assert (batch["weights"].sum(1) == np.where(ids > 20, 29, 2)).all()
        seen.update(ids.tolist())
    assert len(seen) == 25 and seen[21] == 4


def test_what_is_held_out_comes_from_every_source(tmp_path):
    for name in "ab":
        text = "\n".join(f"{name}{i}" for i in range(50))
        (tmp_path / f"{name}.txt").write_text(text)
    entries = [f"1 text:{tmp_path}/a.txt", f"2 text:{tmp_path}/b.txt"]
    parts = mixtures.parts("kjv", entries)
    training, held_out = mixtures.split(splits.documents, parts, hold_out=0.1)
    assert [texts[0][0] for texts in training] == ["a", "b"]
    assert [text[0] for text in held_out] == ["a", "b"]
    valid = f"text:{tmp_path}/a.txt"
    training, held_out = mixtures.split(splits.documents, parts, valid, 0.1)
    assert len(held_out) == 1 and held_out[0].startswith("a0")
    names = mixtures.fingerprint(parts)
    assert sorted(names) == [f"{tmp_path}/a.txt", f"{tmp_path}/b.txt"]
