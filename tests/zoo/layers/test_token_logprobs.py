"""The log-probabilities and entropies of a head in chunks, against whole logits."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import token_logprobs

N, D, V = 10, 6, 17
TARGETS = tf.constant([0, 16, 3, 3, 5, 8, 1, 2, 11, 9])
# what stands above in a loss: of both signs, and 0
ABOVE = tf.constant([1.0, 0.0, -0.5, 2.0, 1.0, -3.0, 0.0, 1.0, 0.25, 1.0])
ABOVE_ENTROPY = tf.constant([0.0, 1.0, 0.5, -2.0, 1.0, 1.5, 0.0, 0.3, -0.7, 1.0])


def inputs(bias):
    x = tf.random.stateless_normal([N, D], [1, 1])
    weight = tf.random.stateless_normal([V, D], [2, 2])
    return [x, weight, tf.random.stateless_normal([V], [3, 3])] if bias else [x, weight]


def ours(targets, x, weight, bias=None, **options):
    return token_logprobs.token_logprobs(x, weight, bias, targets, **options)


def plain(targets, x, weight, bias=None, softcap=0.0, temperature=1.0):
    logits = tf.matmul(tf.cast(x, tf.float32), weight, transpose_b=True)
    if bias is not None:
        logits = logits + bias
    if softcap:
        logits = softcap * tf.tanh(logits / softcap)
    log_p = tf.nn.log_softmax(logits / temperature)
    logp = tf.reduce_sum(tf.one_hot(targets, V) * log_p, -1)
    return logp, -tf.reduce_sum(tf.exp(log_p) * log_p, -1)


def values_and_grads(f, given, rows=N, **options):
    with tf.GradientTape() as tape:
        tape.watch(given)
        logp, entropy = f(TARGETS[:rows], *given, **options)
        loss = tf.reduce_sum(ABOVE[:rows] * logp + ABOVE_ENTROPY[:rows] * entropy)
    return (logp, entropy), tape.gradient(loss, given)


def graph_of(given):
    """A graph for any number of rows."""
    specs = [tf.TensorSpec([None, D])] + [tf.TensorSpec(x.shape) for x in given[1:]]

    def traced(targets, *given, **options):
        @tf.function(
            autograph=False, input_signature=[tf.TensorSpec([None], tf.int32), *specs]
        )
        def graph(targets, *given):
            return ours(targets, *given, **options)

        return graph(targets, *given)

    return traced


@pytest.mark.parametrize("rows", [N, 7, 1, 0])
@pytest.mark.parametrize("chunk", [1024, 4])
@pytest.mark.parametrize("softcap, temperature", [(0.0, 1.0), (2.0, 0.7)])
@pytest.mark.parametrize("bias", [False, True])
def test_is_that_of_whole_logits(bias, softcap, temperature, chunk, rows, monkeypatch):
    monkeypatch.setattr(token_logprobs, "_CHUNK", chunk)
    given = [inputs(bias)[0][:rows], *inputs(bias)[1:]]
    options = {"softcap": softcap, "temperature": temperature}
    wanted, wanted_grads = values_and_grads(plain, given, rows, **options)
    for f in (ours, graph_of(given)):  # a known and an unknown number of rows
        values, grads = values_and_grads(f, given, rows, **options)
        for value, other in zip(values, wanted, strict=True):
            assert value.dtype == tf.float32 and value.shape == (rows,)
            np.testing.assert_allclose(value, other, rtol=1e-5, atol=1e-6)
        for grad, other in zip(grads, wanted_grads, strict=True):
            assert not rows or np.abs(other).max() > 0.1
            np.testing.assert_allclose(grad, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("output", [0, 1])
def test_gradients_are_finite_differences(output):
    given = inputs(True)
    options = {"softcap": 3.0, "temperature": 0.8}

    def exact(*given):
        """The sum of one output in float64."""
        x, weight, bias = given
        logits = 3.0 * np.tanh((x @ weight.T + bias) / 3.0) / 0.8
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        if output:
            return -(np.exp(log_p) * log_p).sum()
        return log_p[np.arange(N), TARGETS.numpy()].sum()

    with tf.GradientTape() as tape:
        tape.watch(given)
        loss = tf.reduce_sum(ours(TARGETS, *given, **options)[output])
    arrays = [x.numpy().astype(np.float64) for x in given]
    assert float(loss) == pytest.approx(exact(*arrays), rel=1e-5)
    for i, grad in enumerate(tape.gradient(loss, given)):
        flat, numeric = arrays[i].reshape(-1), np.zeros(arrays[i].size)
        for j in range(flat.size):
            for step in (1e-5, -1e-5):
                flat[j] += step
                numeric[j] += exact(*arrays) / (2 * step)
                flat[j] -= step
        np.testing.assert_allclose(np.reshape(grad, -1), numeric, rtol=1e-4, atol=1e-5)


def test_normalises_over_the_rows_that_pad_a_vocabulary():
    x, weight = inputs(False)
    padded = tf.concat([weight, tf.zeros([3, D])], 0)
    logits = np.matmul(x, padded, dtype=np.float64, axes=[(0, 1), (1, 0), (0, 1)])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    logp, _ = ours(TARGETS, x, padded)
    np.testing.assert_allclose(np.exp(logp), p[np.arange(N), TARGETS], rtol=1e-5)
    assert np.all(logp < ours(TARGETS, x, weight)[0])


def test_is_finite_where_the_target_has_no_probability():
    x, weight = tf.constant([[200.0]]), tf.constant([[1.0], [-1.0], [0.0]])
    with tf.GradientTape() as tape:
        tape.watch([x, weight])
        logp, entropy = ours(tf.constant([1]), x, weight)
        loss = logp[0] + entropy[0]
    assert float(logp[0]) == pytest.approx(-400.0) and float(entropy[0]) == 0.0
    dx, dweight = tape.gradient(loss, [x, weight])
    np.testing.assert_allclose(dx, [[-2.0]])
    np.testing.assert_allclose(dweight, [[-200.0], [200.0], [0.0]])


def test_bfloat16_features_give_float32_results():
    x, weight, bias = inputs(True)
    given = [tf.cast(x, tf.bfloat16), weight, bias]
    values, grads = values_and_grads(ours, given)
    wanted, wanted_grads = values_and_grads(plain, [x, weight, bias])
    assert [g.dtype for g in grads] == [tf.bfloat16, tf.float32, tf.float32]
    for value, other in zip(values, wanted, strict=True):
        assert value.dtype == tf.float32
        np.testing.assert_allclose(value, other, atol=0.06)
    for grad, other in zip(grads[1:], wanted_grads[1:], strict=True):
        np.testing.assert_allclose(grad, other, atol=0.2)


def test_the_logits_of_an_unknown_number_of_rows_exist_in_chunks_only():
    x, weight = inputs(False)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, D])])
    def graph(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            logp, _ = ours(tf.zeros_like(x[:, 0], tf.int32), x, weight)
        return tape.gradient(logp, x)

    outputs = [
        y
        for op in graph.get_concrete_function().graph.get_operations()
        for y in op.outputs
    ]
    two = [y.shape.as_list() for y in outputs if y.shape.rank == 2]
    assert [None, D] in two and not [s for s in two if s[1] == V]
