"""Augmentation: what may change, how much, and by which draws."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from trainers import feeds
from trainers.objectives import LanguageModel
from trainers.roles import Start
from trainers.run import Data, Run
from zoo.data import augmentation
from zoo.data.augmentation import Augmentation, augment
from zoo.data.batches.labelled import labelled_batches
from zoo.models import transformer_lm

FIRST, LAST = 901, 902
T = 20
LENGTHS = np.array([20, 12, 5, 3, 2, 0] * 50, np.int32)


def texts():
    """Rows of distinct ids, between a first and a last special token."""
    tokens_BT = np.zeros((len(LENGTHS), T), np.int32)
    for row, length in zip(tokens_BT, LENGTHS, strict=True):
        if length:
            row[:length] = [FIRST, *range(10, 8 + length), LAST]
    return tokens_BT


def changed(number=0, seed=1, **shares):
    tokens_BT, lengths_B = augment(
        texts(), LENGTHS, (seed, number), Augmentation(**shares), 1, 1
    )
    return tokens_BT.numpy(), lengths_B.numpy()


def test_dropout_deletes_a_share_and_keeps_the_order():
    tokens_BT, lengths_B = changed(token_dropout=0.3)
    assert tokens_BT.dtype == lengths_B.dtype == np.int32
    for old, new, row in zip(LENGTHS, lengths_B, tokens_BT, strict=True):
        assert not row[new:].any()
        if old <= 2:
            assert new == old
            continue
        inner = row[1 : new - 1]
        assert row[0] == FIRST and row[new - 1] == LAST and len(inner) >= 1
        assert (np.diff(inner) > 0).all() and set(inner) <= set(range(10, 8 + old))
    long = LENGTHS == 20
    share = 1 - (lengths_B[long] - 2).mean() / 18
    assert share == pytest.approx(0.3, abs=0.05)
    assert len(set(lengths_B[long])) > 3


def test_one_token_stays():
    _, lengths_B = changed(token_dropout=0.999)
    np.testing.assert_array_equal(lengths_B, np.minimum(LENGTHS, 3))


def test_swap_moves_two_spans_of_equal_length():
    tokens_BT, lengths_B = changed(span_swap=0.4)
    np.testing.assert_array_equal(lengths_B, LENGTHS)
    moved = collections.defaultdict(list)
    for old, row, before in zip(LENGTHS, tokens_BT, texts(), strict=True):
        assert sorted(row) == sorted(before)
        if old:
            assert row[0] == FIRST and row[old - 1] == LAST
        at = np.flatnonzero(row != before)
        moved[old].append(len(at))
        half = len(at) // 2
        assert len(at) % 2 == 0
        for left, right in ((at[:half], at[half:]), (at[half:], at[:half])):
            np.testing.assert_array_equal(row[left], before[right])
            assert (np.diff(left) == 1).all()
    assert np.mean(moved[20]) == pytest.approx(0.4 * 18, rel=0.1)
    assert np.mean(moved[5]) == pytest.approx(0.4 * 3, rel=0.4)
    assert set(moved[5]) == {0, 2} and set(moved[3]) == set(moved[0]) == {0}


def test_places_are_spread():
    """Every inner place is moved about as often as any other in the middle."""
    total_T = np.zeros(T)
    for number in range(20):
        tokens_BT, _ = changed(number, span_swap=0.2)
        long = LENGTHS == 20
        total_T += (tokens_BT[long] != texts()[long]).sum(0)
    assert total_T[0] == total_T[19] == 0
    assert total_T[1:19].min() > 0.3 * total_T[1:19].max()


def test_draws_depend_on_seed_and_number_only():
    both = {"token_dropout": 0.2, "span_swap": 0.2}
    first, again = changed(7, **both), changed(7, **both)
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0] != changed(8, **both)[0]).any()
    assert (first[0] != changed(7, seed=2, **both)[0]).any()
    graph = tf.function(
        lambda number: augment(
            texts(), LENGTHS, (1, number), Augmentation(0.2, 0.2), 1, 1
        )
    )
    np.testing.assert_array_equal(graph(tf.constant(7, tf.int64))[0], first[0])
    rows = {tuple(row) for row in first[0][LENGTHS == 20]}
    assert len(rows) > 40  # rows draw for themselves


def test_batches_of_a_pipeline_resume():
    change = augmentation.changer(("token_dropout=0.2",), 3, 1, 1)
    rows = [row[:length] for row, length in zip(texts(), LENGTHS, strict=True)]
    tokens = np.concatenate(rows).astype(np.int32)
    starts = np.cumsum([0, *map(len, rows)])
    labels = np.arange(len(rows), dtype=np.int32)

    def batches(start, change=change):
        dataset = labelled_batches(
            tokens, starts, labels, len(rows), 3, start, change=change
        )
        return [
            {k: v.numpy() for k, v in batch.items()}
            for batch in dataset.take(5 - start)
        ]

    whole, plain = batches(0), batches(0, change=None)
    for left, right in zip(whole[3:], batches(3), strict=True):
        np.testing.assert_array_equal(left["tokens"], right["tokens"])
    for batch, same in zip(whole, plain, strict=True):
        np.testing.assert_array_equal(batch["label"], same["label"])
        assert batch["lengths"].sum() < same["lengths"].sum()
    # a later epoch changes the same text in another way
    row = [batch["tokens"][batch["label"] == 0].tobytes() for batch in whole]
    assert len(set(row)) > 3


@pytest.mark.parametrize(
    "entries, words",
    [
        (("token_drop=0.1",), "Did you mean token_dropout?"),
        (("token_dropout=1",), "at least 0 and below 1 allowed"),
        (("token_dropout",), "at least 0 and below 1 allowed"),
        (("span_swap=x",), "at least 0 and below 1 allowed"),
        (("span_swap=0.1", "span_swap=0.2"), "given twice"),
    ],
)
def test_entries_that_are_wrong(entries, words):
    with pytest.raises(ValueError, match="config.data.augment") as error:
        augmentation.parse(entries)
    assert words in str(error.value)


def test_a_language_model_is_refused():
    sizes = {"vocab_size": 300, "context": 16, "width": 8, "layers": 1, "heads": 2}
    config = transformer_lm.Config(**sizes)
    run = Run(
        model=config,
        objective=LanguageModel(),
        data=Data(augment=("token_dropout=0.1",)),
        steps=1,
    )
    with pytest.raises(ValueError, match="config.data.augment: .* only texts with one"):
        feeds.make(run, Start(config))
