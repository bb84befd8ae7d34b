"""Packing: every input once, windows that are full, and examples that stay apart."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import zoo
from trainers.objectives import LanguageModel
from zoo.data import batches


def rows_of(lengths, seed=0):
    """Rows of these many tokens; a third of the tokens, the first ones, are given."""
    starts = np.cumsum([0, *lengths]).astype(np.int64)
    tokens = np.random.default_rng(seed).integers(1, 40, starts[-1]).astype(np.int32)
    weights = np.concatenate([np.arange(n) * 3 >= n for n in lengths])
    return tokens, weights.astype(np.float32), starts


LENGTHS = [9, 2, 17, 5, 5, 3, 12, 7, 2, 10, 16, 4, 6]
LENGTH = 16


def take(dataset, count):
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def pieces(batch):
    """(tokens, target, weights, positions) of each segment of a batch."""
    found = []
    for row in range(len(batch["tokens"])):
        segments = batch["segments"][row]
        for number in range(1, segments.max() + 1):
            at = segments == number
            names = ("tokens", "targets", "weights", "positions")
            found.append([batch[name][row][at].tolist() for name in names])
    return found


@pytest.mark.parametrize("how", batches.PACKINGS)
def test_an_epoch_has_every_input_once(how):
    tokens, weights, starts = rows_of(LENGTHS)
    packed = batches.pack(starts, LENGTH, how)
    (count,) = packed.windows
    epochs = take(batches.packed_batches(tokens, weights, packed, 1, seed=3), 2 * count)
    wanted = sorted(
        (t, x, w)
        for a, b in itertools.pairwise(starts)
        for t, x, w in zip(
            tokens[a : b - 1], tokens[a + 1 : b], weights[a + 1 : b], strict=True
        )
    )
    orders = []
    for epoch in (epochs[:count], epochs[count:]):
        found = [piece for batch in epoch for piece in pieces(batch)]
        assert all(piece[3] == list(range(len(piece[0]))) for piece in found)
        triples = [x for piece in found for x in zip(*piece[:3], strict=True)]
        assert sorted(triples) == wanted
        if how == "best_fit":
            whole = [tokens[a:b].tolist() for a, b in itertools.pairwise(starts)]
            assert sorted([*p[0], p[1][-1]] for p in found) == sorted(whole)
        orders.append([batch["tokens"].tolist() for batch in epoch])
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1])
    for batch in epochs:
        padding = batch["segments"] == 0
        assert all(not x[padding].any() for x in batch.values())
        assert {x.dtype.name for x in batch.values()} == {"int32", "float32"}
        assert {x.shape for x in batch.values()} == {(1, LENGTH)}


def test_the_number_of_a_batch_decides_it():
    tokens, weights, starts = rows_of(LENGTHS)
    packed = batches.pack(starts, LENGTH, "best_fit")
    whole = take(batches.packed_batches(tokens, weights, packed, 3, seed=1), 9)
    parts = take(batches.packed_batches(tokens, weights, packed, 3, 1, start=5), 4)
    for ours, other in zip(whole[5:], parts, strict=True):
        for name in ours:
            np.testing.assert_array_equal(ours[name], other[name])


def test_one_pass_has_every_input_once():
    tokens, weights, starts = rows_of(LENGTHS)
    packed = batches.pack(starts, LENGTH, "best_fit")
    found = take(batches.packed_eval(tokens, weights, packed, 4), 99)
    assert len(found) == -(-packed.windows[0] // 4)
    total = sum(batch["weights"].sum() for batch in found)
    firsts = weights[starts[:-1]].sum()
    assert total == weights.sum() - firsts


def test_the_example_of_the_module():
    starts = np.cumsum([0, 4, 3, 2, 3]).astype(np.int64)  # inputs: 3, 2, 1, 2
    best = batches.pack(starts, 4, "best_fit")
    assert best.slots.tolist() == [0, 3, 4, 6] and best.first.tolist() == [0, 7, 4, 9]
    assert best.windows == (2,) and best.efficiency == 1
    cut = batches.pack(starts, 4, "concat")
    assert cut.slots.tolist() == [0, 3, 4, 5, 6]
    assert cut.first.tolist() == [0, 4, 5, 7, 9] and cut.sizes.tolist() == [
        3,
        1,
        1,
        1,
        2,
    ]


def test_windows_have_rows_of_one_source():
    _, _, starts = rows_of(LENGTHS)
    for how in batches.PACKINGS:
        packed = batches.pack(starts, LENGTH, how, counts=(4, 9))
        apart = [batches.pack(starts[a:b], LENGTH, how) for a, b in ((0, 5), (4, 14))]
        assert packed.windows == (*apart[0].windows, *apart[1].windows)
        assert packed.first.tolist() == [x for p in apart for x in p.first]


def test_a_row_that_does_not_fit_is_refused():
    starts = np.array([0, 18], np.int64)
    with pytest.raises(ValueError, match="a row has 17 inputs, at most 16"):
        batches.pack(starts, LENGTH, "best_fit")
    with pytest.raises(ValueError, match="packing: 'best'. Did you mean best_fit"):
        batches.pack(starts, LENGTH, "best")
    assert batches.pack(starts, LENGTH, "concat").sizes.tolist() == [16, 1]


@pytest.mark.parametrize("name", ["transformer_lm", "lstm_lm"])
def test_packed_and_padded_rows_have_the_same_loss_and_gradients(name):
    tf.keras.utils.set_random_seed(0)
    fields = {"vocab_size": 40, "context": LENGTH, "width": 16, "layers": 2}
    own = {"heads": 2} if name == "transformer_lm" else {"units": 16}
    model = zoo.build(name, **fields, **own)
    tokens, weights, starts = rows_of(LENGTHS)
    packed = batches.pack(starts, LENGTH, "best_fit")
    count = packed.windows[0]
    objective = LanguageModel()
    variables = [v.value for v in model.trainable_variables]

    def sums(dataset):
        total, grads = 0.0, [0.0] * len(variables)
        for batch in dataset:
            with tf.GradientTape() as tape:
                loss = objective.loss({"policy": model}, batch, training=True)
            new = map(tf.convert_to_tensor, tape.gradient(loss.sum, variables))
            grads = [a + b for a, b in zip(grads, new, strict=True)]
            total += loss.sum
        return total, grads

    ours, ours_grads = sums(
        batches.packed_batches(tokens, weights, packed, 1, seed=0).take(count)
    )
    wanted, wanted_grads = sums(batches.eval_rows(tokens, weights, starts, 4))
    np.testing.assert_allclose(ours, wanted, rtol=1e-5)
    for v, a, b in zip(variables, ours_grads, wanted_grads, strict=True):
        scale = np.abs(b).max()
        assert scale > 0
        np.testing.assert_allclose(a / scale, b / scale, atol=1e-5, err_msg=v.name)


def test_given_tokens_have_no_gradient():
    tf.keras.utils.set_random_seed(0)
    model = zoo.build(
        "transformer_lm", vocab_size=40, context=LENGTH, width=16, layers=1, heads=2
    )
    tokens, weights, starts = rows_of(LENGTHS)
    packed = batches.pack(starts, LENGTH, "concat")
    batch = next(iter(batches.packed_batches(tokens, weights, packed, 4, seed=0)))
    with tf.GradientTape() as tape:
        x_BTD = model.features(
            batch["tokens"], True, batch["segments"], batch["positions"]
        )
        logits_BTV = model.logits(x_BTD)
        tape.watch(logits_BTV)
        loss_BT = tf.nn.sparse_softmax_cross_entropy_with_logits(
            batch["targets"], logits_BTV
        )
        total = tf.reduce_sum(loss_BT * batch["weights"])
    grads_BTV = tape.gradient(total, logits_BTV).numpy()
    masked_BT = batch["weights"].numpy() == 0
    assert masked_BT.any() and not grads_BTV[masked_BT].any()
    assert grads_BTV[~masked_BT].any()


@pytest.mark.parametrize("length", [512, 1024])
def test_windows_of_many_rows_are_full(length):
    lengths = np.random.default_rng(0).lognormal(5.2, 0.4, 7000).astype(int) + 2
    starts = np.cumsum([0, *np.minimum(lengths, length)]).astype(np.int64)
    for how, least in (("best_fit", 0.97), ("concat", 0.995)):
        packed = batches.pack(starts, length, how)
        assert packed.efficiency >= least
        used = f"{100 * packed.efficiency:.2f} % of their places used"
        assert used in packed.about(how) and f"windows of {length}" in packed.about(how)
