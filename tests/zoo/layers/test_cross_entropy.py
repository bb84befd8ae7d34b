"""The head and its loss in one, against the plain loss of whole logits."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import cross_entropy

N, D, V = 10, 6, 17
TARGETS = tf.constant([0, 16, 3, 3, 5, 8, 1, 2, 11, 9])
WEIGHTS = tf.constant([1.0, 0.0, 0.5, 2.0, 1.0, 1.0, 0.0, 1.0, 0.25, 1.0])


def inputs(bias):
    x = tf.random.stateless_normal([N, D], [1, 1])
    weight = tf.random.stateless_normal([V, D], [2, 2])
    return [x, weight, tf.random.stateless_normal([V], [3, 3])] if bias else [x, weight]


def ours(x, weight, bias=None, **options):
    return cross_entropy.linear_cross_entropy(
        x, weight, bias, TARGETS, WEIGHTS, **options
    )


def plain(x, weight, bias=None, softcap=0.0, smoothing=0.0):
    logits = tf.matmul(x, weight, transpose_b=True)
    if bias is not None:
        logits = logits + bias
    if softcap:
        logits = softcap * tf.tanh(logits / softcap)
    target = tf.one_hot(TARGETS, V) * (1 - smoothing) + smoothing / V
    losses = -tf.reduce_sum(target * tf.nn.log_softmax(logits), -1)
    return tf.reduce_sum(WEIGHTS * losses)


def value_and_grads(f, given, **options):
    with tf.GradientTape() as tape:
        tape.watch(given)
        loss = 3.0 * f(*given, **options)  # the gradient from above is not 1
    return loss, tape.gradient(loss, given)


@pytest.mark.parametrize("chunk", [1024, 4, 1])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("softcap", [0.0, 2.0])
@pytest.mark.parametrize("bias", [False, True])
def test_is_the_plain_loss(bias, softcap, smoothing, chunk, monkeypatch):
    monkeypatch.setattr(cross_entropy, "CHUNK", chunk)
    options = {"softcap": softcap, "smoothing": smoothing}
    loss, grads = value_and_grads(ours, inputs(bias), **options)
    wanted, wanted_grads = value_and_grads(plain, inputs(bias), **options)
    assert float(loss) == pytest.approx(float(wanted), rel=1e-6)
    for grad, other in zip(grads, wanted_grads, strict=True):
        assert np.abs(other).max() > 0.1
        np.testing.assert_allclose(grad, other, atol=1e-5)


def of_unknown_rows(bias, **options):
    """A graph of the loss and its gradients for any number of rows."""
    given = inputs(bias)
    specs = [tf.TensorSpec([None, D])] + [tf.TensorSpec(x.shape) for x in given[1:]]
    specs += [tf.TensorSpec([None], tf.int32), tf.TensorSpec([None])]

    @tf.function(autograph=False, input_signature=specs)
    def graph(*given):
        *given, targets, weights = given
        with tf.GradientTape() as tape:
            tape.watch(given)
            bias_V = given[2] if bias else None
            loss = 3.0 * cross_entropy.linear_cross_entropy(
                given[0], given[1], bias_V, targets, weights, **options
            )
        return loss, tape.gradient(loss, given)

    return graph


@pytest.mark.parametrize("rows", [N, 7, 1])
@pytest.mark.parametrize("bias", [False, True])
def test_an_unknown_number_of_rows_gives_the_same_in_chunks(bias, rows, monkeypatch):
    monkeypatch.setattr(cross_entropy, "CHUNK", 4)
    options = {"softcap": 2.0, "smoothing": 0.1}
    given = [inputs(bias)[0][:rows], *inputs(bias)[1:]]
    graph = of_unknown_rows(bias, **options)
    loss, grads = graph(*given, TARGETS[:rows], WEIGHTS[:rows])

    def first_rows(x, *rest, **options):
        return cross_entropy.linear_cross_entropy(
            x,
            *rest,
            *([] if bias else [None]),
            TARGETS[:rows],
            WEIGHTS[:rows],
            **options,
        )

    wanted, wanted_grads = value_and_grads(first_rows, given, **options)
    assert float(loss) == pytest.approx(float(wanted), rel=1e-6)
    for grad, other in zip(grads, wanted_grads, strict=True):
        np.testing.assert_allclose(grad, other, atol=1e-5)


def test_no_rows_give_no_loss():
    graph = of_unknown_rows(False)
    x, weight = inputs(False)
    loss, (dx, dweight) = graph(x[:0], weight, TARGETS[:0], WEIGHTS[:0])
    assert float(loss) == 0 and dx.shape == (0, D) and not np.any(dweight)


def test_the_logits_of_an_unknown_number_of_rows_exist_in_chunks_only():
    """Two shapes of batches make TensorFlow trace a graph of unknown shapes."""
    seen = []

    @tf.function(autograph=False, reduce_retracing=True)
    def graph(x):
        seen.append(x.shape[0])
        return cross_entropy.linear_cross_entropy(
            x, weight, None, tf.zeros_like(x[:, 0], tf.int32), tf.ones_like(x[:, 0])
        )

    x, weight = inputs(False)
    graph(x)
    graph(x[:7])
    assert seen == [N, None]
    whole = graph.get_concrete_function(x[:5]).graph
    outputs = [y for op in whole.get_operations() for y in op.outputs]
    assert any(y.shape.rank == 2 for y in outputs)
    assert not [y for y in outputs if y.shape.rank == 2 and y.shape.as_list()[1] == V]


def test_is_finite_where_the_target_has_no_probability():
    x = tf.constant([[200.0]])
    weight = tf.constant([[1.0], [-1.0], [0.0]])
    loss = cross_entropy.linear_cross_entropy(
        x, weight, None, tf.constant([1]), tf.constant([1.0])
    )
    assert float(loss) == pytest.approx(400.0)


def test_bfloat16_products_give_a_float32_loss():
    x, weight = inputs(False)
    loss, grads = value_and_grads(ours, [tf.cast(x, tf.bfloat16), weight])
    wanted, _ = value_and_grads(plain, [x, weight])
    assert loss.dtype == tf.float32 and grads[1].dtype == tf.float32
    assert float(loss) == pytest.approx(float(wanted), rel=0.02)


def test_bfloat16_does_not_round_the_weights_of_rows():
    random = np.random.default_rng(3)
    x = tf.cast(random.normal(size=(512, 16)), tf.bfloat16)
    weight = tf.cast(random.normal(size=(64, 16)), tf.float32)
    targets = tf.constant(random.integers(64, size=512), tf.int32)
    equal = tf.fill([512], 0.3)  # 0.26 % more in bfloat16

    def loss(x, weight, part):
        return cross_entropy.linear_cross_entropy(x, weight, None, targets, part)

    _, ones = value_and_grads(loss, [x, weight, tf.ones(512)])
    _, parts = value_and_grads(loss, [x, weight, equal])
    for one, part in zip(ones[:2], parts[:2], strict=True):
        one, part = (np.asarray(tf.cast(g, tf.float32)).ravel() for g in (one, part))
        assert part @ one / (one @ one) == pytest.approx(0.3, rel=1e-3)
