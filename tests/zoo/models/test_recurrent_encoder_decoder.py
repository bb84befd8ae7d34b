"""The recurrent encoder-decoder with additive attention."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import directory, lora, models
from zoo.directory import assemble
from zoo.lora_config import Lora

V, SOURCE_V = 23, 19
SMALL = {"vocab_size": V, "context": 12, "width": 12, "units": 10}
STYLES = {
    "gru": {"source_vocab_size": SOURCE_V, "start_id": 3},
    "lstm": {"cell": "lstm", "layers": 2, "tied_head": True},
}
LENGTHS = tf.constant([9, 4, 1])


def ids(shape, seed, limit):
    return tf.random.stateless_uniform(shape, (seed, 1), 0, limit, tf.int32)


SOURCE, TARGET = ids([3, 9], 0, SOURCE_V), ids([3, 6], 1, V)


def build(style, **fields):
    made = models.build(
        "recurrent_encoder_decoder", **{**SMALL, **STYLES[style], **fields}
    )
    for i, v in enumerate(made.trainable_weights):
        noise = tf.random.stateless_normal(v.shape, (i, 7), stddev=0.3)
        v.assign(tf.convert_to_tensor(v.value) + noise)
    return made


@pytest.fixture(scope="module", params=STYLES)
def model(request):
    return build(request.param)


def inputs(model):
    return tf.concat([tf.fill([3, 1], model.config.start_id), TARGET], 1)


def logits_of(model, rows=slice(None), places=9):
    source, lengths = SOURCE[rows, :places], LENGTHS[rows]
    return model(inputs(model)[rows], source=source, source_lengths=lengths)


def test_start_and_step_are_the_full_pass(model):
    full = logits_of(model)
    assert full.dtype == tf.float32 and full.shape == (3, 7, V)
    logits, state = model.start(SOURCE, LENGTHS, 9 + 6)
    got = [logits]
    for token in tf.unstack(TARGET, axis=1):
        before = state[: model.fixed_state]
        logits, state = model.step(token, state)
        assert all(a is b for a, b in zip(before, state, strict=False))
        assert all(x.shape[0] == 3 for x in state)
        got.append(logits)
    np.testing.assert_allclose(tf.stack(got, 1), full, atol=1e-5)


def test_rows_of_one_source_may_share_its_tensors(model):
    _, state = model.start(SOURCE, LENGTHS, 15)
    token_R = ids([6], 4, V)
    twice = [tf.repeat(x, 2, 0) for x in state]
    shared = [*state[: model.fixed_state], *twice[model.fixed_state :]]
    got, wanted = (model.step(token_R, given)[0] for given in (shared, twice))
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_rows_and_padding_have_no_influence(model):
    first = logits_of(model)
    padded = tf.where(tf.sequence_mask(LENGTHS, 9), SOURCE, ids([3, 9], 5, SOURCE_V))
    other = model(inputs(model), source=padded, source_lengths=LENGTHS)
    np.testing.assert_array_equal(first, other)
    alone = logits_of(model, slice(1, 2), places=4)
    np.testing.assert_allclose(alone[0], first[1], atol=1e-5)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(w, name, x, h):
    """A step of a GRU whose reset comes after the product."""
    bias, recurrent_bias = w[f"{name}/bias"]
    xz, xr, xn = np.split(x @ w[f"{name}/kernel"] + bias, 3)
    hz, hr, hn = np.split(h @ w[f"{name}/recurrent_kernel"] + recurrent_bias, 3)
    z, n = sigmoid(xz + hz), np.tanh(xn + sigmoid(xr + hr) * hn)
    return z * h + (1 - z) * n


def linear(w, name, x):
    return x @ w[f"{name}/weight"].T + w[f"{name}/bias"]


def by_hand(w, source, tokens):
    """The logits of one row, as Bahdanau et al. write them."""
    x = w["source_embedding/weight"][source]
    ways = []
    for name, order in (("forward_0", x), ("backward_0", x[::-1])):
        h, found = np.zeros(10), []
        for e in order:
            h = gru(w, name, e, h)
            found.append(h)
        ways.append(found)
    annotations = np.concatenate([ways[0], ways[1][::-1]], 1)
    s = np.tanh(linear(w, "initial", ways[1][-1]))
    keys, logits = linear(w, "alignment/key", annotations), []
    for token in tokens:
        energy = np.tanh(w["alignment/query/weight"] @ s + keys) @ w["alignment/score"]
        weights = np.exp(energy) / np.exp(energy).sum()
        e, context = w["embedding/weight"][token], weights @ annotations
        s = gru(w, "decoder", np.concatenate([e, context]), s)
        read = np.tanh(linear(w, "readout", np.concatenate([s, context, e])))
        logits.append(linear(w, "head", read))
    return np.stack(logits)


def test_it_is_the_paper_by_hand():
    made = build("gru")
    weights = {path: v.numpy() for path, v in assemble.by_path(made).items()}
    full = logits_of(made)
    for row in (0, 1):
        source = SOURCE[row, : int(LENGTHS[row])].numpy()
        wanted = by_hand(weights, source, inputs(made)[row].numpy())
        np.testing.assert_allclose(full[row], wanted, atol=1e-5)


def losses(model, source, lengths, target, steps):
    """Cross-entropy of each step of training; the graph is that of the Step."""
    start = tf.fill([target.shape[0], 1], model.config.start_id)
    given = tf.concat([start, target[:, :-1]], 1)
    optimizer = keras.optimizers.Adam(0.02)
    variables = lora.learning(model) or model.trainable_variables
    optimizer.build(variables)

    @tf.function(autograph=False)
    def run():
        with tf.GradientTape() as tape:
            x = model.features(given, True, source, lengths)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(target, model.logits(x))
            )
        grads = tape.gradient(loss, [v.value for v in variables])
        assert all(g is not None for g in grads)
        optimizer.apply([tf.convert_to_tensor(g) for g in grads], variables)
        return loss

    return [float(run()) for _ in range(steps)]


def test_it_learns_to_copy():
    keras.utils.set_random_seed(3)
    made = models.build("recurrent_encoder_decoder", **{**SMALL, "units": 24})
    source = ids([32, 5], 8, V)
    found = losses(made, source, tf.fill([32], 5), source, 60)
    assert found[0] > 3 and found[-1] < 1, found[::10]


@pytest.mark.long
def test_dropout_and_bfloat16(float32):
    made = build("gru", dropout=0.3)
    keras.config.set_dtype_policy("mixed_bfloat16")
    rounded = type(made)(made.config)
    rounded.set_weights(made.get_weights())
    x = rounded.features(inputs(made), False, SOURCE, LENGTHS)
    assert x.dtype == tf.bfloat16
    np.testing.assert_allclose(rounded.logits(x), logits_of(made), atol=0.1)
    noisy = rounded.features(inputs(made), True, SOURCE, LENGTHS)
    assert 0.15 < np.mean(noisy == 0) < 0.45
    found = losses(rounded, SOURCE, LENGTHS, TARGET, 8)
    assert np.isfinite(found).all() and found[-1] < found[0]


@pytest.mark.long
def test_adapters_learn_and_merge():
    made = build("gru")
    before = made.get_weights()
    lora.add(made, Lora(rank=2))
    found = losses(made, SOURCE, LENGTHS, TARGET, 4)
    assert found[-1] < found[0]
    learnt = {v.path for v in lora.learning(made)}
    for name in ("alignment/query", "decoder/kernel", "backward_0/recurrent_kernel"):
        assert any(name in path for path in learnt), (name, learnt)
    frozen = [v.numpy() for v in made.weights if v.path not in learnt]
    assert all(map(np.array_equal, frozen, before))
    merged = lora.merged(made)
    np.testing.assert_allclose(logits_of(merged), logits_of(made), atol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras, numpy 2
def test_it_is_saved_and_loaded(model, tmp_path):
    directory.save(tmp_path / "m", model)
    model.save(tmp_path / "m.keras")
    for again in (
        directory.load(tmp_path / "m").model,
        keras.saving.load_model(tmp_path / "m.keras"),
    ):
        assert isinstance(again, type(model))
        assert again.config == model.config
        np.testing.assert_array_equal(logits_of(again), logits_of(model))


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"cell": "rnn"}, "recurrent_encoder_decoder.cell: 'rnn'"),
        ({"units": 0}, "units: 0, at least 1"),
        ({"start_id": V}, "start_id: 23, below 23"),
        ({"dropout": 1.0}, "dropout: 1.0"),
    ],
)
def test_a_wrong_field_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        models.build("recurrent_encoder_decoder", **{**SMALL, **fields})
