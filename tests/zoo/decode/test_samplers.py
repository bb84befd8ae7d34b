"""Samplers against a reference of their own, and their independence of batch mates."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.decode import sampling

LOGITS = np.array([2.0, -1.0, 0.5, 1.9, 0.0, -3.0, 1.0, 0.5], np.float32)
OFF = {
    "max_new_tokens": 1,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "seed": 0,
}
KINDS = dict.fromkeys(OFF, tf.float32) | {
    "max_new_tokens": tf.int32,
    "top_k": tf.int32,
    "seed": tf.int64,
}


def knobs(rows, **values):
    """Knobs of so many rows; a value is one for all, or one a row."""
    given = {**OFF, **values}
    return sampling.Knobs(
        **{
            name: tf.constant(np.broadcast_to(given[name], [rows]), KINDS[name])
            for name in OFF
        }
    )


def probabilities(logits, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """What is left of softmax after each filter in turn, one token at a time."""
    z = np.asarray(logits, np.float64) / temperature
    p = np.exp(z - z.max())
    p /= p.sum()
    order = sorted(range(len(p)), key=lambda i: (-p[i], i))
    if top_k:
        for i in order[top_k:]:
            p[i] = 0
        p /= p.sum()
    mass, kept = 0.0, []
    for i in order:
        if mass >= top_p and top_p < 1:
            break
        kept.append(i)
        mass += p[i]
    p = np.array([x if i in kept else 0.0 for i, x in enumerate(p)])
    p[p < min_p * p.max()] = 0
    return p / p.sum()


def shares(logits, **values):
    """Which share of [0, 1) leads to each token, on a grid of 4000 uniforms."""
    count = 4000
    uniform = tf.constant((np.arange(count) + 0.5) / count, tf.float32)
    rows = tf.tile(tf.constant(logits, tf.float32)[None], (count, 1))
    chosen = sampling.choose(rows, knobs(count, **values), uniform).numpy()
    return np.bincount(chosen, minlength=len(logits)) / count


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 3.0},
        {"top_k": 1},
        {"top_k": 3},
        {"top_k": 8},
        {"top_p": 0.01},
        {"top_p": 0.5},
        {"top_p": 0.9},
        {"min_p": 0.2},
        {"min_p": 1.0},
        {"top_k": 4, "top_p": 0.8},
        {"top_k": 5, "top_p": 0.9, "min_p": 0.3, "temperature": 1.7},
    ],
    ids=str,
)
def test_filters(values):
    wanted = probabilities(LOGITS, **values)
    got = shares(LOGITS, **values)
    np.testing.assert_allclose(got, wanted, atol=1e-3)
    assert not got[wanted == 0].any()


@pytest.mark.parametrize("values", [{"top_p": 0.9}, {"top_k": 400}, {"min_p": 0.001}])
def test_filters_that_need_more_than_the_first_few(values):
    """A large flat vocabulary, where 256 candidates do not hold all that is kept."""
    logits = np.random.default_rng(0).normal(0, 0.3, 1000)
    wanted = probabilities(logits.astype(np.float32), **values)
    assert (wanted > 0).sum() > 256
    got = shares(logits, **values)
    np.testing.assert_allclose(got, wanted, atol=1e-3)
    # at the rim of what is kept, float32 may lose a token and gain its neighbour
    assert got[wanted == 0].sum() <= 1e-3


@pytest.mark.parametrize("size, spread", [(8, 2.0), (1000, 0.3)])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"temperature": 0.5},
        {"top_k": 3},
        {"top_k": 400},
        {"top_p": 0.9},
        {"min_p": 0.2},
        {"top_k": 5, "top_p": 0.8, "min_p": 0.3, "temperature": 1.7},
    ],
    ids=str,
)
def test_log_probabilities_are_those_of_the_filtered_softmax(values, size, spread):
    rng = np.random.default_rng(1)
    logits_BV = rng.normal(0, spread, (12, size)).astype(np.float32)
    given = knobs(12, **values)
    token_B = sampling.choose(
        tf.constant(logits_BV), given, tf.constant(rng.random(12), tf.float32)
    )
    got = sampling.log_probability(tf.constant(logits_BV), given, token_B)
    wanted = [
        np.log(probabilities(logits, **values)[token])
        for logits, token in zip(logits_BV, token_B.numpy(), strict=True)
    ]
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_a_row_without_a_choice_has_probability_1():
    rows = tf.tile(tf.constant(LOGITS)[None], (2, 1))
    given = knobs(2, temperature=[0.0, 1.0])
    got = sampling.log_probability(rows, given, tf.constant([0, 0]))
    assert got[0] == 0 and got[1] < -0.1


def draws(seeds, count):
    run = tf.function(sampling.uniforms, autograph=False)
    return run(tf.range(seeds, dtype=tf.int64), count)


def test_samples_are_distributed_as_asked():
    """Chi-square over the 100 tokens of 400 rows, each with a seed of its own."""
    count = 40000
    uniform = tf.reshape(draws(400, 100), [-1])
    rows = tf.tile(tf.constant(LOGITS)[None], (count, 1))
    given = knobs(count, temperature=0.8)
    seen = np.bincount(sampling.choose(rows, given, uniform), minlength=8)
    wanted = count * probabilities(LOGITS, temperature=0.8)
    chi_square = ((seen - wanted) ** 2 / wanted).sum()
    assert chi_square < 24.3  # 7 degrees of freedom, one in a thousand


def test_uniforms_are_uniform_and_apart():
    drawn = draws(1000, 8).numpy()
    assert 0 <= drawn.min() and drawn.max() < 1
    seen = np.histogram(drawn, 20, (0, 1))[0]
    assert ((seen - 400) ** 2 / 400).sum() < 43.8  # 19 degrees of freedom
    correlation = np.corrcoef(drawn.T) - np.eye(8)
    assert np.abs(correlation).max() < 0.12
    assert len(np.unique(drawn[:, 0])) > 990


def test_a_uniform_does_not_depend_on_how_many_there_are():
    seeds = tf.constant([0, 1, -5, 2**62, 7], tf.int64)
    most = sampling.uniforms(seeds, 300).numpy()
    for count in (1, 2, 3, 4, 5, 17, 64, 255):
        np.testing.assert_array_equal(sampling.uniforms(seeds, count), most[:, :count])
    alone = sampling.uniforms(seeds[3:4], 300)
    np.testing.assert_array_equal(alone[0], most[3])


@pytest.mark.parametrize("values", [{}, {"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.1}])
def test_temperature_0_is_greedy(values):
    logits = tf.random.stateless_normal([64, 300], [1, 2])
    given = knobs(64, temperature=0.0, **values)
    chosen = sampling.choose(logits, given, tf.fill([64], 0.999))
    np.testing.assert_array_equal(chosen, tf.argmax(logits, -1))


@pytest.mark.parametrize("temperature", [1e-6, 1e-20, 1e-37])
@pytest.mark.parametrize("top_k", [0, 3])
def test_a_temperature_near_0_is_nearly_greedy(temperature, top_k):
    logits = 10 * tf.random.stateless_normal([64, 300], [1, 2])
    given = knobs(64, temperature=temperature, top_k=top_k)
    chosen = sampling.choose(logits, given, tf.fill([64], 0.999))
    np.testing.assert_array_equal(chosen, tf.argmax(logits, -1))


def test_the_ends_of_the_unit_interval_choose_what_is_kept():
    largest = np.nextafter(np.float32(1), np.float32(0))
    rows = tf.tile(tf.constant([[0.0, 5.0, -1e9, 4.0, -1e9]]), (2, 1))
    uniform = tf.constant([0.0, largest])
    for values in ({}, {"top_k": 2}, {"top_p": 0.99}, {"min_p": 0.01}):
        chosen = sampling.choose(rows, knobs(2, **values), uniform).numpy()
        wanted = np.flatnonzero(probabilities(rows[0], **values) > 1e-30)
        assert set(chosen) <= set(wanted)


def test_a_row_does_not_depend_on_its_mates():
    rows = 24
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (rows, 500)).astype(np.float32)
    given = knobs(
        rows,
        temperature=rng.choice([0.0, 0.7, 1.0, 1.5], rows),
        top_k=rng.choice([0, 5, 300], rows),
        top_p=rng.choice([1.0, 0.9, 0.3], rows),
        min_p=rng.choice([0.0, 0.05], rows),
    )
    uniform = rng.random(rows).astype(np.float32)
    together = sampling.choose(logits, given, uniform).numpy()
    for i in range(rows):
        one = sampling.Knobs(*(x[i : i + 1] for x in given))
        alone = sampling.choose(logits[i : i + 1], one, uniform[i : i + 1])
        assert int(alone[0]) == together[i]


def test_repetition_penalty():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (3, 20)).astype(np.float32)
    seen = rng.random((3, 20)) < 0.4
    penalty = np.array([1.0, 1.5, 0.5], np.float32)
    wanted = logits.copy()
    for b in range(3):
        for v in range(20):
            if seen[b, v]:
                up = logits[b, v] > 0
                wanted[b, v] = (
                    wanted[b, v] / penalty[b] if up else (wanted[b, v] * penalty[b])
                )
    got = sampling.penalise(logits, seen, penalty)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    np.testing.assert_array_equal(got[0], logits[0])
