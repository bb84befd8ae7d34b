import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import xla_cluster
from zoo.layers.recurrent import Recurrent

KERAS = {
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
    "rnn": keras.layers.SimpleRNN,
}
T, B, E, U = 7, 3, 5, 6


def twins(cell, seed=0):
    """Our layer and that of Keras with the same random weights."""
    ours = Recurrent(cell, E, U)
    theirs = KERAS[cell](U, return_sequences=True, return_state=True)
    theirs.build((B, T, E))
    rng = np.random.default_rng(seed)
    weights = [rng.normal(0, 0.5, w.shape) for w in theirs.weights]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs


def inputs(layer, seed=1):
    rng = np.random.default_rng(seed)
    x_BTE = tf.constant(rng.normal(size=(B, T, E)), tf.float32)
    count = layer.cell.states
    state = [tf.constant(rng.normal(size=(B, U)), tf.float32) for _ in range(count)]
    return x_BTE, state


def ours_with_gradients(layer, x_BTE, state, mask_BT, training):
    with tf.GradientTape() as tape:
        tape.watch((x_BTE, state))
        mask_TB = None if mask_BT is None else tf.transpose(mask_BT)
        x_TBE = tf.transpose(x_BTE, (1, 0, 2))
        y_TBU, last = layer.call(x_TBE, state, mask_TB, training)
        y_BTU = tf.transpose(y_TBU, (1, 0, 2))
        loss = loss_of(y_BTU, last)
    return y_BTU, list(last), tape.gradient(loss, sources(layer, x_BTE, state))


def theirs_with_gradients(layer, x_BTE, state, mask_BT):
    with tf.GradientTape() as tape:
        tape.watch((x_BTE, state))
        y_BTU, *last = layer(x_BTE, initial_state=state, mask=mask_BT)
        loss = loss_of(y_BTU, last)
    return y_BTU, last, tape.gradient(loss, sources(layer, x_BTE, state))


def sources(layer, x_BTE, state):
    return [x_BTE, *state, *[v.value for v in layer.weights]]


def loss_of(y_BTU, last):
    """A loss in which each output and each number of the last state counts."""
    each = tf.reshape(tf.cos(tf.range(T * U, dtype=tf.float32)), (T, U))
    loss = tf.reduce_sum(tf.cast(y_BTU, tf.float32) * each)
    return loss + sum(tf.reduce_sum(s * s) for s in last)


def mask_of(masked):
    return tf.sequence_mask([T, 4, 1], T) if masked else None


def assert_close(ours, theirs, atol=1e-5):
    ours, theirs = tf.nest.flatten(ours), tf.nest.flatten(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=atol, rtol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cell", KERAS)
def test_outputs_state_and_gradients_are_those_of_keras(cell, masked):
    ours, theirs = twins(cell)
    x_BTE, state = inputs(ours)
    mask_BT = mask_of(masked)
    wanted = theirs_with_gradients(theirs, x_BTE, state, mask_BT)
    for training in (False, True):

        @tf.function(autograph=False)
        def run(x_BTE, state, training=training):
            return ours_with_gradients(ours, x_BTE, state, mask_BT, training)

        assert_close(run(x_BTE, state), wanted)


def test_training_works_without_a_graph():
    ours, theirs = twins("lstm")
    x_BTE, state = inputs(ours)
    wanted = theirs_with_gradients(theirs, x_BTE, state, None)
    assert_close(ours_with_gradients(ours, x_BTE, state, None, True), wanted)


@pytest.mark.parametrize("cell", KERAS)
def test_training_takes_shapes_known_only_when_it_runs(cell):
    ours, theirs = twins(cell)
    x_BTE, state = inputs(ours)

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None, None, E]),
            [tf.TensorSpec([None, U])] * len(state),
        ],
    )
    def run(x_BTE, state):
        return ours_with_gradients(ours, x_BTE, state, None, True)

    assert_close(run(x_BTE, state), theirs_with_gradients(theirs, x_BTE, state, None))


def test_clusters_off_means_no_xla_and_an_outer_xla_may_compile_all():
    ours, theirs = twins("lstm")
    x_BTE, state = inputs(ours)
    mask_BT = mask_of(True)
    wanted = theirs_with_gradients(theirs, x_BTE, state, mask_BT)

    def run(x_BTE, state):
        return ours_with_gradients(ours, x_BTE, state, mask_BT, True)

    plain = tf.function(run, autograph=False)
    compiled = tf.function(run, autograph=False, jit_compile=True)
    with xla_cluster.enabled(False):
        assert not compiled_functions(plain.get_concrete_function(x_BTE, state))
        assert_close(plain(x_BTE, state), wanted)
        assert_close(compiled(x_BTE, state), wanted)
    again = tf.function(lambda *args: run(*args), autograph=False)
    assert compiled_functions(again.get_concrete_function(x_BTE, state))


def compiled_functions(concrete):
    """The names of the functions of a graph that XLA compiles."""
    library = concrete.graph.as_graph_def().library.function
    return [f.signature.name for f in library if f.attr["_XlaMustCompile"].b]


def test_the_switch_of_clusters_returns_to_its_earlier_state():
    eager = []
    cluster = xla_cluster.xla_cluster(lambda x: eager.append(tf.executing_eagerly()))

    def is_on():
        cluster(float(len(eager)))  # a new number is traced anew
        return not eager[-1]

    assert is_on()
    with xla_cluster.enabled(False):
        with xla_cluster.enabled(True):
            assert is_on()
        assert not is_on()
        with pytest.raises(KeyError), xla_cluster.enabled(True):
            raise KeyError
        assert not is_on()
    assert is_on()


def test_a_cluster_takes_tuples_and_none_and_gives_what_its_function_gives():
    seen = []

    def f(x, pair, nothing):
        seen.append(nothing)
        return tf.tanh(x) * pair[0] + pair[1], x

    args = tf.constant([1.0, -2.0]), (tf.constant(3.0), tf.constant(0.5)), None
    assert_close(xla_cluster.xla_cluster(f)(*args), f(*args))
    assert seen == [None, None]


@pytest.mark.parametrize("cell", KERAS)
def test_bfloat16_is_near_float32_and_gradients_are_float32(cell):
    exact, _ = twins(cell)
    rounded = Recurrent(cell, E, U, dtype="mixed_bfloat16")
    rounded.set_weights(exact.get_weights())
    x_BTE, state = inputs(exact)

    def run(layer, training):
        f = tf.function(ours_with_gradients, autograph=False)
        return f(layer, x_BTE, state, mask_of(True), training)

    y, last, gradients = run(exact, True)
    for training in (False, True):  # both paths
        y16, last16, gradients16 = run(rounded, training)
        assert y16.dtype == tf.bfloat16
        assert {s.dtype for s in last16} == {tf.float32}
        np.testing.assert_allclose(tf.cast(y16, tf.float32), y, atol=0.05)
        assert_close(last16, last, atol=0.05)
        for a, b in zip(gradients16, gradients, strict=True):
            assert a.dtype == tf.float32
            assert tf.norm(a - b) < 0.03 * tf.norm(b)


@pytest.mark.parametrize("cell", KERAS)
def test_steps_are_the_sequence(cell):
    layer, _ = twins(cell)
    x_BTE, state = inputs(layer)
    y_TBU, last = layer.call(tf.transpose(x_BTE, (1, 0, 2)), state)
    for t in range(T):
        state = layer.step(x_BTE[:, t], state)
        assert_close(state[0], y_TBU[t], atol=1e-6)
    assert_close(state, last, atol=1e-6)


@pytest.mark.parametrize("cell", KERAS)
def test_a_masked_step_keeps_state_and_output_bit_for_bit(cell):
    layer, _ = twins(cell)
    x_BTE, state = inputs(layer)
    x_TBE, mask_TB = tf.transpose(x_BTE, (1, 0, 2)), tf.transpose(mask_of(True))
    y_TBU, last = layer.call(x_TBE, state, mask_TB)
    short_TBU, short = layer.call(x_TBE[:4], state, mask_TB[:4])
    np.testing.assert_array_equal(y_TBU[:4], short_TBU)
    for t in range(4, T):
        np.testing.assert_array_equal(y_TBU[t, 1:], y_TBU[3, 1:])
    for a, b in zip(last, short, strict=True):
        np.testing.assert_array_equal(a[1:], b[1:])


@pytest.mark.parametrize("units", [13, 16])
@pytest.mark.parametrize("cell", KERAS)
def test_the_bits_of_a_row_depend_on_no_other_row_and_on_no_place(cell, units):
    layer = Recurrent(cell, E, units)
    rng = np.random.default_rng(5)
    x_TBE = rng.normal(size=(T, 3, E)).astype("float32")

    @tf.function(autograph=False)
    def run(x_TBE):
        y_TBU, state = layer.call(x_TBE)
        return y_TBU[-1], layer.step(x_TBE[0], state)[0]

    first = [a.numpy()[0] for a in run(x_TBE)]
    for place in range(3):
        others = rng.normal(size=(T, 3, E)).astype("float32")
        others[:, place] = x_TBE[:, 0]
        for a, b in zip(first, run(others), strict=True):
            np.testing.assert_array_equal(a, b.numpy()[place])


@pytest.mark.parametrize("cell", KERAS)
def test_initial_weights_are_those_of_keras_in_kind(cell):
    keras.utils.set_random_seed(0)
    layer = Recurrent(cell, E, U, name="rnn_0")
    keras.utils.set_random_seed(0)
    again = Recurrent(cell, E, U, name="rnn_0")
    for a, b in zip(layer.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    names = ["rnn_0/kernel", "rnn_0/recurrent_kernel", "rnn_0/bias"]
    assert [v.path for v in layer.weights] == names
    theirs = KERAS[cell](U)
    theirs.build((B, T, E))
    assert [w.shape for w in layer.weights] == [w.shape for w in theirs.weights]
    np.testing.assert_array_equal(layer.get_weights()[2], theirs.get_weights()[2])
    kernel_UZ = layer.recurrent_kernel.numpy()
    np.testing.assert_allclose(kernel_UZ @ kernel_UZ.T, np.eye(U), atol=1e-5)


def test_an_inference_graph_holds_core_ops_only():
    layer, _ = twins("lstm")
    run = tf.function(lambda x: layer.call(x), autograph=False)
    concrete = run.get_concrete_function(tf.TensorSpec([None, None, E]))
    assert not compiled_functions(concrete)
    graph = concrete.graph.as_graph_def()
    ops = {n.op for n in graph.node}
    ops |= {n.op for f in graph.library.function for n in f.node_def}
    assert "StatelessWhile" in ops
    assert not [op for op in ops if "Xla" in op or "PyFunc" in op]


def test_refuses_an_unknown_cell_and_a_wrong_width():
    with pytest.raises(ValueError, match="Recurrent.cell: 'lstn'.*mean lstm"):
        Recurrent("lstn", E, U)
    with pytest.raises(ValueError, match=r"x: shape \(2, 3, 4\), expected \[T, B, E=5"):
        Recurrent("gru", E, U).call(tf.zeros((2, 3, 4)))
