import dataclasses
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import registry
from zoo.models import recurrent_lm
from zoo.models.recurrent_lm import Config, RecurrentLM

NAMES = ("lstm_lm", "gru_lm", "rnn_lm")
V, B, T = 29, 3, 8
SMALL = {"vocab_size": V, "width": 12, "units": 12, "context": T}
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build(name="lstm_lm", **fields):
    keras.utils.set_random_seed(7)
    return registry.build(name, **{**SMALL, **fields})


def tokens(seed=0, batch=B):
    return np.random.default_rng(seed).integers(0, V, (batch, T)).astype("int32")


def gradients(model, tokens_BT, training):
    @tf.function(autograph=False)
    def run(tokens_BT):
        variables = [v.value for v in model.trainable_variables]
        with tf.GradientTape() as tape:
            logits = model.logits(model.features(tokens_BT[:, :-1], training=training))
            loss = LOSS(tokens_BT[:, 1:], logits)
        return [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]

    return run(tf.constant(tokens_BT))


@pytest.mark.parametrize("name", NAMES)
def test_maps_tokens_to_float32_logits_with_plain_names_for_weights(name):
    model = build(name, layers=1)
    assert isinstance(model, RecurrentLM) and model.built
    assert registry.name_of(model.config) == name
    logits = model(tokens())
    assert logits.shape == (B, T, V) and logits.dtype == tf.float32
    assert model.features(tokens()).shape == (B, T, 12)
    assert [v.path for v in model.weights] == [
        "embedding/weight",
        "rnn_0/kernel",
        "rnn_0/recurrent_kernel",
        "rnn_0/bias",
        "head/weight",
        "head/bias",
    ]
    assert model.weights[-2].shape == (V, 12)


def test_is_the_stack_of_keras_layers():
    model = build(width=10, layers=2)
    theirs = keras.Sequential(
        [
            keras.layers.Embedding(V, 10),
            keras.layers.LSTM(12, return_sequences=True),
            keras.layers.LSTM(12, return_sequences=True),
            keras.layers.Dense(V),
        ]
    )
    theirs.build((None, T))
    weights = model.get_weights()
    theirs.set_weights([*weights[:-2], weights[-2].T, weights[-1]])
    np.testing.assert_allclose(model(tokens()), theirs(tokens()), atol=1e-6)


def test_the_head_is_what_logits_apply():
    for tied in (False, True):
        model = build(tied_head=tied)
        x_BTD = model.features(tokens())
        weight_VD, bias_V = model.head()
        assert weight_VD.dtype == tf.float32 and (bias_V is None) == tied
        wanted = tf.einsum("btd,vd->btv", x_BTD, weight_VD)
        np.testing.assert_allclose(model.logits(x_BTD), wanted, atol=1e-6)
        np.testing.assert_allclose(model.logits(x_BTD[:, 0]), wanted[:, 0], atol=1e-6)
    np.testing.assert_array_equal(weight_VD, model.weights[0].numpy())
    assert len(model.weights) == 7


@pytest.mark.parametrize("name", NAMES)
def test_no_position_sees_what_comes_later(name):
    model, a, b = build(name), tokens(), tokens()
    b[:, 5:] = (b[:, 5:] + 1) % V
    before, after = model(a).numpy(), model(b).numpy()
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert (before[:, 5:] != after[:, 5:]).any(-1).all()


@pytest.mark.parametrize("name", NAMES)
def test_start_and_step_give_the_logits_of_the_whole_text(name):
    model, tokens_BT, lengths = build(name), tokens(), np.array([5, 1, 3], "int32")
    wanted = model(tokens_BT).numpy()
    padded = np.where(np.arange(5) < lengths[:, None], tokens_BT[:, :5], V - 1)
    logits, state = model.start(tf.constant(padded), tf.constant(lengths), 64)
    assert {(*s.shape, s.dtype) for s in state} == {(B, 12, tf.float32)}
    assert len(state) == 2 * model.recurrent[0].cell.states
    rows = np.arange(B)
    for i in range(3):
        at = lengths - 1 + i
        np.testing.assert_allclose(logits, wanted[rows, at], atol=1e-6)
        logits, state = model.step(tf.constant(tokens_BT[rows, at + 1]), state)


def test_a_row_decodes_to_the_same_bits_whoever_shares_its_batch():
    model = build(units=13, width=13)
    start = tf.function(lambda a, b: model.start(a, b, 0), autograph=False)
    step = tf.function(model.step, autograph=False)

    def run(tokens_BT, lengths, row):
        logits, state = start(tokens_BT, lengths)
        more, _ = step(tokens_BT[:, 0], state)
        return logits.numpy()[row], more.numpy()[row]

    first = run(tokens(), np.array([4, 8, 2], "int32"), 0)
    for place in range(B):
        batch, lengths = tokens(place + 1), np.array([8, 1, 5], "int32")
        batch[place], lengths[place] = tokens()[0], 4
        batch[place, 4:] = 0
        for a, b in zip(first, run(batch, lengths, place), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_training_and_inference_paths_have_the_same_gradients(name):
    model = build(name)
    ours, plain = (gradients(model, tokens(), training) for training in (True, False))
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_dropout_acts_in_training_only_and_its_seed_is_a_variable():
    model = build(dropout=0.5)
    quiet = model.features(tokens())
    np.testing.assert_array_equal(quiet, model.features(tokens(), training=False))
    seeds = [v for v in model.variables if v.path.endswith("seed_generator_state")]
    assert len(seeds) == 1 and len(model.variables) == len(model.weights) + 1
    before = seeds[0].numpy()
    loud = model.features(tokens(), training=True).numpy()
    assert (loud == 0).mean() == pytest.approx(0.5, abs=0.15)
    assert (model.features(tokens(), training=True).numpy() != loud).any()
    seeds[0].assign(before)
    np.testing.assert_array_equal(model.features(tokens(), training=True), loud)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras, numpy 2
def test_fit_learns_a_cycle_and_a_saved_model_says_the_same(tmp_path):
    model = build("gru_lm", layers=1, dropout=0.1)
    tokens_BT = (np.arange(T + 1) + np.arange(16)[:, None]).astype("int32") % V
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        model.compile("adam", LOSS, jit_compile=True)
    model.compile(keras.optimizers.Adam(0.03), LOSS)
    x, y = tokens_BT[:, :-1], tokens_BT[:, 1:]
    history = model.fit(x, y, epochs=40, batch_size=16, verbose=0).history["loss"]
    assert history[0] > 3 and history[-1] < 0.5
    lines = []
    model.summary(print_fn=lines.append)
    assert f"{model.count_params():,}" in "\n".join(lines)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.config == model.config and again.name == model.name
    np.testing.assert_array_equal(again.predict(x, verbose=0), model(x))
    assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


def test_a_seed_gives_the_same_weights():
    for a, b in zip(build().get_weights(), build().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_policy_reaches_every_layer(float32):
    model = build()
    keras.config.set_dtype_policy("mixed_bfloat16")
    rounded = RecurrentLM(model.config)
    rounded.set_weights(model.get_weights())
    assert rounded.features(tokens()).dtype == tf.bfloat16
    assert rounded(tokens()).dtype == tf.float32
    np.testing.assert_allclose(rounded(tokens()), model(tokens()), atol=1e-3)
    for a, b in zip(
        gradients(rounded, tokens(), True),
        gradients(model, tokens(), True),
        strict=True,
    ):
        assert a.dtype == tf.float32 and tf.norm(a - b) < 0.03 * tf.norm(b)
    again = RecurrentLM.from_config(rounded.get_config())
    assert again.recurrent[1].compute_dtype == "bfloat16"


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("lstm_lm", {"units": 0}, r"lstm_lm.units: 0, at least 1"),
        ("gru_lm", {"layers": 0}, r"gru_lm.layers: 0, at least 1"),
        ("rnn_lm", {"dropout": 1.0}, r"rnn_lm.dropout: 1.0"),
        ("lstm_lm", {"dropout": -0.1}, r"lstm_lm.dropout: -0.1"),
        (
            "lstm_lm",
            {"tied_head": True, "width": 8, "units": 9},
            r"lstm_lm.tied_head: width 8 and units 9",
        ),
        ("lstm_lm", {"unit": 3}, r"lstm_lm.unit.*mean units"),
    ],
)
def test_refuses_bad_fields_by_name(name, fields, message):
    with pytest.raises(ValueError, match=message):
        registry.config(name, **fields)


def test_refuses_an_unknown_cell():
    with pytest.raises(ValueError, match="recurrent_lm.cell: 'ltsm'.*mean lstm"):
        Config(cell="ltsm")


def test_config_survives_json_fields():
    config = registry.config("gru_lm", units=3, tied_head=False)
    fields = registry.to_fields(config)
    assert fields.pop("name") == "gru_lm" and fields == dataclasses.asdict(config)
    assert recurrent_lm.Config(**fields) == config


@pytest.mark.long
def test_two_replicas_sum_to_the_gradient_of_one():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REPLICAS)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) < 1e-5


REPLICAS = """
    import numpy as np
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    import keras

    from zoo import registry
    from zoo.models import recurrent_lm

    x = np.random.default_rng(0).integers(0, 29, (8, 9)).astype("int32")
    losses = keras.losses.SparseCategoricalCrossentropy(True, reduction="sum")

    def gradients(x):
        with tf.GradientTape() as tape:
            logits = model.logits(model.features(x[:, :-1], training=True))
            loss = losses(x[:, 1:], logits)
        sources = [v.value for v in model.trainable_variables]
        return [tf.convert_to_tensor(g) for g in tape.gradient(loss, sources)]

    def replica(x):
        context = tf.distribute.get_replica_context()
        return context.all_reduce("sum", gradients(x))

    with strategy.scope():
        model = registry.build("lstm_lm", vocab_size=29, width=12, units=12)
        parts = strategy.experimental_distribute_values_from_function(
            lambda c: tf.constant(x[4 * c.replica_id_in_sync_group :][:4])
        )
        run = tf.function(lambda x: strategy.run(replica, (x,)), autograph=False)
        both = [strategy.experimental_local_results(g)[0] for g in run(parts)]
    one = gradients(tf.constant(x))
    print(max(float(tf.reduce_max(tf.abs(a - b))) for a, b in zip(both, one)))

    with strategy.scope():
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(True))
        data = tf.data.Dataset.from_tensor_slices((x[:, :-1], x[:, 1:])).batch(4)
        model.fit(data, verbose=0, shuffle=False)
    print(max(float(tf.reduce_max(tf.abs(a - b))) for a, b in zip(both, one)))
"""
