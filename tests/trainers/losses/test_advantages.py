"""Advantages and values against TRL's lines, and what must hold of them."""

import golden_losses
import numpy as np
import pytest
import tensorflow as tf

from trainers.losses import advantages, value

GOLDEN = golden_losses.cases("advantages")


def test_gae_and_whitening_are_those_of_trl():
    for case in GOLDEN["gae"]:
        given = (case[k] for k in ("rewards", "values", "mask"))
        found, returns = advantages.gae(
            *given, float(case["gamma"]), float(case["lam"])
        )
        exact = dict(rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found, case["advantages"], **exact)
        np.testing.assert_allclose(returns, case["returns"], **exact)
        whitened = advantages.whiten(found, case["mask"])
        np.testing.assert_allclose(whitened, case["whitened"], rtol=1e-5, atol=2e-6)


def test_whitening_with_and_without_a_shift_is_that_of_trl():
    for case in GOLDEN["whiten"]:
        for name, shift in (("shifted", True), ("unshifted", False)):
            found = advantages.whiten(case["x"], case["mask"], shift_mean=shift)
            np.testing.assert_allclose(found, case[name], rtol=1e-5, atol=2e-6)


def test_those_of_groups_are_those_of_trl():
    for case in GOLDEN["groups"]:
        samples, scale = int(case["samples"]), str(case["scale"])
        found = advantages.of_groups(case["rewards"], samples, scale)
        np.testing.assert_allclose(found, case["advantages"], rtol=1e-5, atol=1e-6)
        found = advantages.of_groups(case["rewards"], samples, "none", True)
        np.testing.assert_allclose(found, case["leave_one_out"], rtol=1e-5, atol=1e-6)


def test_gae_is_its_recursion_on_the_tokens_alone():
    """Two texts of a conversation, with a tool's result between them."""
    rng = np.random.default_rng(0)
    mask = np.array([[0, 0, 1, 1, 0, 0, 1, 1, 1, 0]], np.float32)
    rewards, values = rng.normal(0, 1, (2, 1, 10)).astype(np.float32)
    found, returns = advantages.gae(rewards, values, mask, 0.9, 0.8)
    r, v = (x[mask > 0].astype(np.float64) for x in (rewards, values))
    wanted, later = np.zeros(5), 0.0
    for t in reversed(range(5)):
        delta = r[t] + 0.9 * (v[t + 1] if t < 4 else 0.0) - v[t]
        wanted[t] = later = delta + 0.9 * 0.8 * later
    np.testing.assert_allclose(found.numpy()[mask > 0], wanted, rtol=1e-5)
    np.testing.assert_allclose(returns.numpy()[mask > 0], wanted + v, rtol=1e-5)
    assert not np.any(found.numpy()[mask == 0])
    assert not np.any(returns.numpy()[mask == 0])
    dirty = [np.where(mask > 0, x, np.nan).astype("f") for x in (rewards, values)]
    np.testing.assert_array_equal(advantages.gae(*dirty, mask, 0.9, 0.8)[0], found)
    left = [np.roll(x, -2, 1) for x in (rewards, values, mask)]
    moved, _ = advantages.gae(*left, 0.9, 0.8)
    np.testing.assert_array_equal(np.roll(moved, 2, 1), found)


def test_a_whole_sum_of_rewards_is_the_return_at_lam_1():
    rewards = np.array([[0.0, 1.0, 2.0], [3.0, 5.0, 7.0]], np.float32)
    values = np.array([[5.0, -1.0, 2.0], [1.0, 1.0, 1.0]], np.float32)
    mask = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]], np.float32)
    _, returns = advantages.gae(rewards, values, mask, 1.0, 1.0)
    np.testing.assert_allclose(returns, [[3, 3, 2], [8, 5, 0]], rtol=1e-6)


def test_gae_runs_in_a_graph_of_unknown_sizes():
    shape = tf.TensorSpec([None, None])

    @tf.function(autograph=False, input_signature=[shape] * 3)
    def graph(*given):
        return advantages.gae(*given, 1.0, 0.95)

    case = GOLDEN["gae"][0]
    given = [case[k] for k in ("rewards", "values", "mask")]
    eager = advantages.gae(*given, 1.0, 0.95)
    for found, wanted in zip(graph(*given), eager, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


def test_whitened_numbers_have_mean_0_and_deviation_1():
    rng = np.random.default_rng(0)
    x = rng.normal(5, 3, (4, 6)).astype(np.float32)
    mask = (rng.random((4, 6)) < 0.6).astype(np.float32)
    found = advantages.whiten(x, mask).numpy()[mask > 0]
    assert found.mean() == pytest.approx(0, abs=1e-6)
    assert found.std(ddof=1) == pytest.approx(1, abs=1e-5)
    kept = advantages.whiten(x, mask, shift_mean=False).numpy()[mask > 0]
    assert kept.mean() == pytest.approx(x[mask > 0].mean(), abs=1e-5)


@pytest.mark.parametrize("count", [0, 1])
def test_whitening_next_to_nothing_is_finite(count):
    mask = np.zeros((2, 3), np.float32)
    mask.flat[:count] = 1
    assert not np.any(advantages.whiten(np.full((2, 3), 7.0, np.float32), mask))


@pytest.mark.parametrize("scale", advantages.SCALES)
@pytest.mark.parametrize("leave_one_out", [False, True])
def test_advantages_of_groups_are_relative(scale, leave_one_out):
    rng = np.random.default_rng(0)
    rewards = rng.integers(0, 5, 12).astype(np.float32)
    rewards[4:8] = 0.1  # whose float32 mean over other counts is not 0.1
    found = advantages.of_groups(rewards, 4, scale, leave_one_out).numpy()
    np.testing.assert_allclose(found.reshape(3, 4).sum(1), 0, atol=1e-5)
    assert not np.any(found[4:8]) and np.any(found[:4])
    shifted = advantages.of_groups(rewards + 64, 4, scale, leave_one_out)
    np.testing.assert_allclose(shifted, found, rtol=1e-4, atol=1e-4)
    same = advantages.of_groups(np.full(9, 0.1, np.float32), 3, scale, leave_one_out)
    assert not np.any(same)


def test_leave_one_out_subtracts_the_mean_of_the_others():
    rewards = np.array([1.0, 2.0, 6.0], np.float32)
    found = advantages.of_groups(rewards, 3, "none", leave_one_out=True)
    np.testing.assert_allclose(found, [1 - 4, 2 - 3.5, 6 - 1.5], rtol=1e-6)


@pytest.mark.parametrize("scale", advantages.SCALES)
def test_a_group_of_one_is_refused(scale):
    with pytest.raises(ValueError, match="objective.samples: 1, 2 or more allowed"):
        advantages.of_groups(np.ones(3, np.float32), 1, scale)


def test_an_unknown_scale_is_refused():
    with pytest.raises(ValueError, match="objective.scale: 'grup'.*group"):
        advantages.check_groups(4, "grup")


def test_groups_without_variance_are_found():
    rewards = np.array([1, 1, 0, 1, 0, 0], np.float32)
    found = advantages.without_variance(rewards, 2).numpy()
    assert found.tolist() == [True, False, True]


def test_the_clip_holds_a_value_near_its_old_one():
    old = np.zeros((1, 3), np.float32)
    values = np.array([[0.1, 0.5, -0.5]], np.float32)
    returns = np.array([[1.0, 1.0, 1.0]], np.float32)
    mask = np.ones((1, 3), np.float32)
    sum_, weight, metrics = value.value_loss(values, old, returns, mask, clip=0.2)
    # the error of a value that moved the right way too far is that of the clipped one
    assert float(sum_) == pytest.approx((0.9**2 + 0.8**2 + 1.5**2) / 2)
    assert float(weight) == 3 and float(metrics["value_clip"][0]) == 2
    sum_, _, metrics = value.value_loss(values, old, returns, mask)
    assert float(sum_) == pytest.approx((0.9**2 + 0.5**2 + 1.5**2) / 2)
    assert not metrics


def test_the_explained_variance_is_1_of_right_values_and_0_of_constants():
    rng = np.random.default_rng(0)
    returns = rng.normal(3, 2, (3, 4)).astype(np.float32)
    mask = (rng.random((3, 4)) < 0.7).astype(np.float32)

    def explained(values):
        values = np.where(mask > 0, values, np.nan).astype(np.float32)
        sum_, weight = value.explained_variance(values, returns, mask)
        return float(sum_ / weight)

    assert explained(returns + 5) == pytest.approx(1, abs=1e-5)
    assert explained(np.ones((3, 4))) == pytest.approx(0, abs=1e-5)
    assert explained(-returns) < -1
