"""Batches: restart by number, and each window or row exactly once an epoch."""

import ast
import itertools
import pathlib
import re
import time

import numpy as np
import pytest

from zoo.data import batches

LENGTH, BATCH = 8, 4
STREAM = np.arange(230, dtype=np.int32) + 1000  # a token is its place + 1000


def take(dataset, count):
    return [
        {name: value.numpy() for name, value in element.items()}
        for element in itertools.islice(dataset, count)
    ]


def assert_equal(got, wanted):
    for one, other in zip(got, wanted, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_batches_have_fixed_shapes_and_targets_one_ahead():
    dataset = batches.lm_batches(STREAM, LENGTH, BATCH, seed=1)
    spec = {
        k: (v.shape.as_list(), v.dtype.name) for k, v in dataset.element_spec.items()
    }
    assert spec == {
        "tokens": ([BATCH, LENGTH], "int32"),
        "targets": ([BATCH, LENGTH], "int32"),
        "weights": ([BATCH, LENGTH], "float32"),
    }
    for batch in take(dataset, 20):
        np.testing.assert_array_equal(batch["targets"], batch["tokens"] + 1)
        assert (batch["weights"] == 1).all()


@pytest.mark.parametrize("shuffle", [True, False])
def test_lm_batches_restart_anywhere(shuffle):
    # 27 windows an epoch and 4 rows a batch: batches straddle the epochs.
    count = 2 * batches.windows_per_epoch(len(STREAM), LENGTH, shuffle) // BATCH + 2
    full = take(
        batches.lm_batches(STREAM, LENGTH, BATCH, seed=5, shuffle=shuffle), count
    )
    for start in range(count):
        rest = batches.lm_batches(
            STREAM, LENGTH, BATCH, seed=5, start=start, shuffle=shuffle
        )
        assert_equal(take(rest, count - start), full[start:])


def test_table_batches_restart_anywhere():
    features = np.arange(33, dtype=np.float32).reshape(11, 3)
    labels = np.arange(11)
    full = take(batches.table_batches(features, labels, 4, seed=2), 8)
    for start in range(8):
        rest = batches.table_batches(features, labels, 4, seed=2, start=start)
        assert_equal(take(rest, 8 - start), full[start:])


def test_a_far_start_is_as_good_as_a_near_one():
    (far,) = take(batches.lm_batches(STREAM, LENGTH, BATCH, 1, start=10**15), 1)
    np.testing.assert_array_equal(far["targets"], far["tokens"] + 1)


@pytest.mark.parametrize("size", [9, 12, 16, 17, 24, 25, 230])
def test_an_epoch_takes_each_window_once(size):
    stream = STREAM[:size]
    windows = batches.windows_per_epoch(size, LENGTH)
    rows = take(batches.lm_batches(stream, LENGTH, 1, seed=3), 3 * windows)
    firsts = np.array([row["tokens"][0, 0] for row in rows]).reshape(3, windows)
    for epoch in firsts:
        shift = epoch.min()
        assert sorted(epoch) == [shift + LENGTH * i for i in range(windows)]
        assert 1000 <= shift < 1000 + LENGTH
        assert epoch.max() + LENGTH <= stream[-1]  # the last target is in the stream


def test_shifts_and_orders_change_with_epoch_and_seed():
    windows = batches.windows_per_epoch(len(STREAM), LENGTH)

    def epochs(seed, count):
        dataset = batches.lm_batches(STREAM, LENGTH, windows, seed=seed)
        return [batch["tokens"][:, 0] - 1000 for batch in take(dataset, count)]

    some = epochs(1, 300)
    assert {epoch.min() for epoch in some} == set(range(LENGTH))
    # The op's own seeding repeats itself after 256 epochs; ours must not.
    orders = {tuple(epoch - epoch.min()) for epoch in some}
    assert len(orders) == 300
    assert tuple(epochs(2, 1)[0]) != tuple(some[0])
    assert tuple(epochs(257, 1)[0]) != tuple(some[0])


def test_shuffled_places_are_uniform():
    # Where epochs put place 0 of 16: chi-square with 15 degrees of freedom.
    features = np.arange(16, dtype=np.float32)[:, None]
    dataset = batches.table_batches(features, np.arange(16), 16, seed=9)
    first = [batch["label"][0] for batch in take(dataset, 1600)]
    counts = np.bincount(first, minlength=16)
    assert ((counts - 100) ** 2 / 100).sum() < 45  # p = 1e-4


def test_unshuffled_windows_come_in_order_without_a_shift():
    windows = batches.windows_per_epoch(len(STREAM), LENGTH, shuffle=False)
    assert windows == (len(STREAM) - 1) // LENGTH
    dataset = batches.lm_batches(STREAM, LENGTH, 1, seed=3, shuffle=False)
    firsts = [batch["tokens"][0, 0] for batch in take(dataset, windows + 1)]
    assert firsts == [1000 + LENGTH * i for i in range(windows)] + [1000]


@pytest.mark.parametrize("stride", [0, 1, 3, LENGTH])
@pytest.mark.parametrize("size", [2, 8, 9, 10, 61])
def test_eval_predicts_each_token_once(size, stride):
    stream = STREAM[:size]
    dataset, count = batches.eval_windows(stream, LENGTH, BATCH, stride)
    made = take(dataset, count + 1)
    assert len(made) == count
    seen = np.concatenate([batch["targets"][batch["weights"] == 1] for batch in made])
    np.testing.assert_array_equal(np.sort(seen), stream[1:])
    for batch in made:
        assert batch["tokens"].shape == (BATCH, LENGTH)
        assert batch["tokens"].dtype == np.int32
        counted = batch["weights"] == 1
        np.testing.assert_array_equal(
            batch["targets"][counted], batch["tokens"][counted] + 1
        )


def test_weights_belong_to_targets():
    weights = STREAM % 3 != 0
    dataset, count = batches.eval_windows(STREAM, LENGTH, BATCH, 3, weights)
    seen = [batch["targets"][batch["weights"] == 1] for batch in take(dataset, count)]
    np.testing.assert_array_equal(
        np.sort(np.concatenate(seen)), STREAM[1:][weights[1:]]
    )
    trained = batches.lm_batches(STREAM, LENGTH, BATCH, seed=1, weights=weights)
    for batch in take(trained, 10):
        np.testing.assert_array_equal(batch["weights"], batch["targets"] % 3 != 0)


def test_eval_gives_context():
    dataset, count = batches.eval_windows(STREAM, LENGTH, 1, stride=2)
    rows = [batch["weights"][0] for batch in take(dataset, count)]
    assert rows[0].sum() == LENGTH
    for row in rows[1:-1]:  # six tokens of context, then the two new ones
        np.testing.assert_array_equal(row, [0] * 6 + [1] * 2)


def test_table_batches_cover_each_epoch():
    features = np.arange(12).reshape(6, 2)
    values = np.linspace(0, 1, 6)
    rows = take(batches.table_batches(features, values, 3, seed=1), 6)
    for a, b in zip(rows[::2], rows[1::2], strict=True):
        seen = np.concatenate([a["features"], b["features"]])
        np.testing.assert_array_equal(seen[seen[:, 0].argsort()], features)
    assert rows[0]["features"].dtype == rows[0]["label"].dtype == np.float32
    np.testing.assert_allclose(rows[0]["label"], rows[0]["features"][:, 0] / 10)
    assert rows[0]["weights"].tolist() == [1, 1, 1]


def test_table_eval_is_one_pass():
    features, labels = np.arange(10).reshape(5, 2), np.arange(5)
    dataset, count = batches.table_eval(features, labels, 3)
    rows = take(dataset, count + 1)
    assert count == len(rows) == 2
    assert np.concatenate([r["weights"] for r in rows]).tolist() == [1] * 5 + [0]
    labels_seen = np.concatenate([r["label"] for r in rows])
    assert labels_seen[:5].tolist() == [0, 1, 2, 3, 4]
    assert rows[0]["label"].dtype == np.int32
    dataset, _ = batches.table_eval(features, labels > 2, 5)
    (row,) = take(dataset, 1)
    assert row["label"].tolist() == [0, 0, 0, 1, 1] and row["label"].dtype == np.int32


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: batches.lm_batches(STREAM[:8], 8, 1, 0), "has 8 tokens.*needs 9"),
        (lambda: batches.lm_batches(STREAM, 0, 1, 0), "length: 0"),
        (lambda: batches.lm_batches(STREAM, 8, 0, 0), "batch: 0"),
        (lambda: batches.lm_batches(STREAM, 8, 1, 0, start=-1), "start: -1"),
        (lambda: batches.lm_batches(-STREAM, 8, 2, 0), "at least 0"),
        (lambda: batches.lm_batches(STREAM.astype(int) * 10**7, 8, 2, 0), "2.31"),
        (lambda: batches.lm_batches(STREAM / 1, 8, 2, 0), "expected integers"),
        (lambda: batches.eval_windows(STREAM[:1], 8, 2), "1 tokens"),
        (lambda: batches.eval_windows(STREAM, 8, 2, weights=STREAM[1:]), "N=230"),
        (lambda: batches.eval_windows(STREAM, 8, 2, 9), "stride: 9"),
        (lambda: batches.table_batches(np.ones((3, 2)), [0, 1], 2, 0), "expected .N=3"),
        (lambda: batches.table_eval(np.ones((0, 2)), [], 2), "no rows"),
        (lambda: batches.table_eval([[1], [np.nan]], [0, 1], 2), "row 1 holds"),
    ],
)
def test_errors_name_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_large_vocabularies_keep_their_ids():
    stream = np.arange(100, dtype=np.int64) + 100_000
    (batch,) = take(batches.lm_batches(stream, 10, 2, seed=0), 1)
    assert batch["tokens"].min() >= 100_000


FEATURES = np.ones((6, 2), np.float32)


@pytest.mark.parametrize(
    "make",
    [
        lambda: batches.lm_batches(STREAM, LENGTH, BATCH, seed=1),
        lambda: batches.lm_batches(STREAM, LENGTH, BATCH, seed=1, shuffle=False),
        lambda: batches.eval_windows(STREAM, LENGTH, BATCH)[0],
        lambda: batches.table_batches(FEATURES, np.ones(6), BATCH, seed=1),
        lambda: batches.table_eval(FEATURES, np.ones(6), BATCH)[0],
    ],
)
def test_autotuning_is_off(make):
    # With autotuning, a finite pass ends up to twice as late (TensorFlow 2.21).
    assert make().options().autotune.enabled is False


def test_all_data_sets_are_made_where_autotuning_is_off():
    root = pathlib.Path(__file__).parents[3]
    makers = {
        path.relative_to(root).as_posix()
        for folder in ("zoo", "trainers")
        for path in (root / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and re.search(r"data\.Dataset\.|as_dataset$", ast.unparse(node.func))
    }
    assert makers == {"zoo/data/batches/pipeline.py", "zoo/data/sources/tfds.py"}


def test_a_batch_costs_little():
    stream = np.random.default_rng(0).integers(0, 4096, 1_000_000)
    dataset = iter(batches.lm_batches(stream, 256, 32, seed=1))
    next(dataset)
    begin = time.process_time()  # of all threads; tests run side by side
    for _ in range(400):
        next(dataset)
    assert (time.process_time() - begin) / 400 < 2e-3  # measured: 0.4 ms
