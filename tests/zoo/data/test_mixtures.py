"""Mixtures: exact counts of each source, and a position that is one integer."""

import collections
import itertools

import numpy as np
import pytest

from zoo.data import batches, mixtures, splits
from zoo.data.batches import pipeline
from zoo.data.formats import Rows


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


def ragged(counts, seed=0):
    """Rows of 1 to 30 tokens, of sources that follow each other; row i has tokens i."""
    count = sum(counts)
    lengths = np.random.default_rng(seed).integers(1, 31, count)
    starts = np.cumsum([0, *lengths]).astype(np.int64)
    return np.repeat(np.arange(count), lengths).astype(np.int32) + 4, starts


def made(kind, start, take, counts=(40, 9), shares=(3, 1), batch=4):
    """Batches of labelled texts, of hidden tokens, or of groups, from a number on."""
    tokens, starts = ragged(counts)
    more = dict(counts=counts, shares=shares)
    if kind == "labelled":
        labels = np.arange(sum(counts), dtype=np.int32)
        dataset = batches.labelled_batches(
            tokens, starts, labels, batch, 2, start, **more
        )
    elif kind == "masked":
        masking = batches.Masking(0.15, 3, [0, 1, 2, 3], 60)
        dataset = batches.masked_batches(
            tokens, starts, masking, batch, 2, start, **more
        )
    else:
        groups = np.arange(sum(counts) + 1)  # of one text each
        dataset = batches.pair_batches(tokens, starts, groups, batch, 2, start, **more)
    return list(dataset.take(take).as_numpy_iterator())


def rows_of(kind, batch):
    """The number of each row of a batch of `made`."""
    if kind == "labelled":
        assert batch["weights"].all()
        assert (batch["tokens"][:, 0] == batch["label"] + 4).all()
        return batch["label"].tolist()
    first = batch["targets"] if kind == "masked" else batch["tokens"][:, 0]
    return (first[:, 0] - 4).tolist()


@pytest.mark.parametrize("kind", ["labelled", "masked", "pairs"])
def test_labels_masks_and_pairs_have_the_exact_counts(kind):
    whole = [rows_of(kind, batch) for batch in made(kind, 0, 48)]
    # labelled rows are sorted by length within 16 batches, the others never
    exact = 16 if kind == "labelled" else 1
    for i in range(0, 48, exact):
        chunk = sum(whole[i : i + exact], [])
        assert sum(row >= 40 for row in chunk) == exact
    rows = sum(whole, [])
    seen = collections.Counter(rows)
    assert set(seen) == set(range(49))
    # 144 rows of the first source are 3.6 of its epochs, 48 of the second 5.3
    assert {seen[row] for row in range(40)} == {3, 4}
    assert {seen[row] for row in range(40, 49)} == {5, 6}
    assert len(set(map(str, whole))) > 44  # of few rows, some batches come again


@pytest.mark.parametrize("kind", ["labelled", "masked", "pairs"])
def test_a_mixed_batch_is_a_function_of_its_number(kind):
    whole = made(kind, 0, 20)
    for start in (1, 15, 16, 19):
        (batch,) = made(kind, start, 1)
        for name, value in batch.items():
            np.testing.assert_array_equal(value, whole[start][name])


@pytest.mark.parametrize("kind", ["labelled", "masked", "pairs"])
def test_one_source_has_the_batches_of_no_mixture(kind):
    one = made(kind, 3, 5, (30,), (1,))
    tokens, starts = ragged((30,))
    if kind == "labelled":
        dataset = batches.labelled_batches(
            tokens, starts, np.arange(30, dtype=np.int32), 4, 2, 3
        )
    elif kind == "masked":
        masking = batches.Masking(0.15, 3, [0, 1, 2, 3], 60)
        dataset = batches.masked_batches(tokens, starts, masking, 4, 2, 3)
    else:
        dataset = batches.pair_batches(tokens, starts, np.arange(31), 4, 2, 3)
    plain = list(dataset.take(5).as_numpy_iterator())
    for left, right in zip(one, plain, strict=True):
        for name, value in left.items():
            np.testing.assert_array_equal(value, right[name])


def test_an_epoch_of_a_source_hides_other_tokens():
    hidden = collections.defaultdict(set)
    for batch in made("masked", 0, 48):
        for row, length, weights in zip(
            rows_of("masked", batch), batch["lengths"], batch["weights"], strict=True
        ):
            if row >= 40 and length > 12:
                hidden[row].add(weights[:length].tobytes())
    assert hidden and all(len(masks) > 3 for masks in hidden.values())


def test_rows_are_joined_with_their_labels_numbers_and_groups():
    def rows(first, groups):
        tokens = np.arange(first, first + 5, dtype=np.int32)
        return Rows(
            tokens,
            np.ones(5, np.float32),
            np.array([0, 2, 5]),
            {"read": 3, "bad": 1},
            np.array([first, first + 1], np.int32),
            (0, 2),
            groups,
        )

    joined = mixtures.join_rows([rows(0, None), rows(10, None)])
    assert joined.tokens.tolist() == [*range(5), *range(10, 15)]
    assert joined.starts.tolist() == [0, 2, 5, 7, 10]
    assert joined.labels.tolist() == [0, 1, 10, 11]
    assert joined.numbers == (0, 2, 3, 5) and joined.groups is None
    assert joined.counts == {"read": 6, "bad": 2}
    pair = mixtures.join_rows(
        [rows(0, np.array([0, 2])), rows(10, np.array([0, 1, 2]))]
    )
    assert pair.groups.tolist() == [0, 2, 3, 4]


def test_integer_labels_mean_the_same_in_all_sources(monkeypatch):
    names = {"tfds:a": ("no", "yes"), "tfds:b": ("yes", "no"), "jsonl:c": ()}
    monkeypatch.setattr(mixtures.sources, "label_names", lambda spec, _: names[spec])

    def of(*specs):
        return mixtures.label_names([mixtures.Part(1, spec) for spec in specs], "label")

    assert of("jsonl:c") == () and of("jsonl:c", "tfds:a") == ("no", "yes")
    with pytest.raises(ValueError) as error:
        of("tfds:a", "jsonl:c", "tfds:b")
    assert "integer labels otherwise (tfds:a: no, yes; tfds:b: yes, no)" in str(
        error.value
    )


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
