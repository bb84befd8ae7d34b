"""Policy losses against TRL's, and what must hold of each of them."""

import golden_losses
import numpy as np
import pytest
import tensorflow as tf

from trainers.losses import kl
from trainers.losses.policy_gradient import AGGREGATIONS, aggregate, policy_loss
from trainers.losses.value import value_loss

GOLDEN = golden_losses.cases("policy")
CLIP = dict(clip_low=0.2, clip_high=0.2, max_length=12)


def gradient_of(f, *given):
    """The value of f, its gradients, and what else it returns."""
    given = [tf.constant(x) for x in given]
    with tf.GradientTape() as tape:
        tape.watch(given)
        loss, *rest = f(*given)
    return float(loss), tape.gradient(loss, given), *rest


def of_rows(case, loss):
    return np.repeat(case[loss][:, None], case["mask"].shape[1], 1)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_is_that_of_trl(aggregation):
    assert len(GOLDEN[aggregation]) == 20
    for case in GOLDEN[aggregation]:

        def loss_of(logp, case=case):
            sum_, weight, metrics = policy_loss(
                logp,
                case["old"],
                of_rows(case, "advantages"),
                case["mask"],
                aggregation=aggregation,
                clip_low=float(case["clip_low"]),
                clip_high=float(case["clip_high"]),
                max_length=int(case["max_length"]),
                delta=float(case["delta"]),
            )
            terms = kl.in_loss(str(case["kl"]), logp, case["reference"], case["old"])
            kl_sum, kl_weight = aggregate(
                terms,
                case["mask"],
                aggregation=aggregation,
                max_length=int(case["max_length"]),
            )
            assert float(weight) == float(kl_weight)
            total = sum_ + float(case["coefficient"]) * kl_sum
            return total / weight, metrics

        loss, (gradient,), metrics = gradient_of(loss_of, case["logp"])
        np.testing.assert_allclose(loss, case["loss"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(gradient, case["gradient"], rtol=1e-5, atol=1e-6)
        for name in ("low", "high"):
            sum_, weight = metrics[f"clip_{name}"]
            assert float(sum_ / weight) == pytest.approx(float(case[name]), abs=1e-6)


def test_that_of_ppo_and_its_values_are_those_of_trl():
    for case in GOLDEN["ppo"]:

        def loss_of(logp, values, case=case):
            sum_, weight, _ = policy_loss(
                logp,
                case["old"],
                case["advantages"],
                case["mask"],
                aggregation="dapo",
                clip_low=float(case["clip"]),
                clip_high=float(case["clip"]),
                max_length=12,
            )
            value_sum, value_weight, _ = value_loss(
                values,
                case["old_values"],
                case["returns"],
                case["value_mask"],
                clip=float(case["value_clip"]),
            )
            policy, value = sum_ / weight, value_sum / value_weight
            total = policy + float(case["value_coefficient"]) * value
            return total, policy, value

        loss, gradients, policy, value = gradient_of(
            loss_of, case["logp"], case["values"]
        )
        exact = dict(rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(loss, case["loss"], **exact)
        np.testing.assert_allclose(policy, case["policy_loss"], **exact)
        np.testing.assert_allclose(value, case["value_loss"], **exact)
        np.testing.assert_allclose(gradients[0], case["gradient"], **exact)
        np.testing.assert_allclose(gradients[1], case["value_gradient"], **exact)


def test_the_golden_cases_reach_the_corners():
    for aggregation in AGGREGATIONS:
        cases = GOLDEN[aggregation]
        assert all((c["mask"].sum(1) == 0).any() for c in cases)
        assert all((c["mask"].sum(1) == 1).any() for c in cases)
        assert sum(c["low"] > 0 for c in cases) > 3
        assert sum(c["high"] > 0 for c in cases) > 3
        assert all(np.abs(c["gradient"]).max() > 1e-3 for c in cases)


def drawn(rows=4, length=5, seed=0):
    rng = np.random.default_rng(seed)
    logp = rng.uniform(-3, 0, (rows, length)).astype(np.float32)
    old = logp + rng.normal(0, 0.1, (rows, length)).astype(np.float32)
    advantages = np.repeat(rng.normal(0, 1, (rows, 1)), length, 1).astype(np.float32)
    lengths = rng.integers(1, length + 1, rows)
    mask = (np.arange(length) < lengths[:, None]).astype(np.float32)
    return logp, old, advantages, mask


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_nothing_off_the_answers_matters(aggregation):
    logp, old, advantages, mask = drawn()
    mask[1] = 0  # an answer without tokens
    wanted = gradient_of(
        lambda x: policy_loss(
            x, old, advantages, mask, aggregation=aggregation, **CLIP
        ),
        logp,
    )
    for bad in (np.nan, np.inf, -1e30, 100.0):
        dirty = [
            np.where(mask > 0, x, bad).astype("f") for x in (logp, old, advantages)
        ]
        loss, (gradient,), weight, metrics = gradient_of(
            lambda x, d=dirty: policy_loss(
                x, d[1], d[2], mask, aggregation=aggregation, **CLIP
            ),
            dirty[0],
        )
        assert loss == wanted[0] and float(weight) == float(wanted[2])
        np.testing.assert_array_equal(gradient, wanted[1][0])
        assert not np.any(gradient[mask == 0])
        assert all(np.isfinite(float(s)) for s, _ in metrics.values())


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_no_tokens_give_no_loss(aggregation):
    logp, old, advantages, mask = drawn()
    loss, (gradient,), _, metrics = gradient_of(
        lambda x: policy_loss(
            x, old, advantages, 0 * mask, aggregation=aggregation, **CLIP
        ),
        logp,
    )
    assert loss == 0 and not np.any(gradient)
    assert all(float(sum_) == 0 for sum_, _ in metrics.values())


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_parts_add_up_to_the_batch(aggregation):
    given = drawn(rows=6)

    def sums(rows):
        parts = [x[rows] for x in given]
        sum_, weight, metrics = policy_loss(*parts, aggregation=aggregation, **CLIP)
        return np.array([sum_, weight, *metrics["ratio"], *metrics["approx_kl"]])

    whole = sums(slice(0, 6))
    np.testing.assert_allclose(sums(slice(0, 1)) + sums(slice(1, 6)), whole, rtol=1e-6)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_the_first_update_has_a_ratio_of_exactly_1(aggregation):
    logp, _, advantages, mask = drawn()
    loss, (gradient,), weight, metrics = gradient_of(
        lambda x: policy_loss(
            x, logp, advantages, mask, aggregation=aggregation, **CLIP
        ),
        logp,
    )
    ratio, of = metrics["ratio"]
    assert float(ratio) == float(of)
    for name in ("clip_low", "clip_high", "approx_kl"):
        assert float(metrics[name][0]) == 0
    assert np.all((gradient.numpy() != 0) == (mask > 0))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_the_gradient_is_a_finite_difference(aggregation):
    logp, old, advantages, mask = drawn(rows=2, length=3, seed=1)

    def value(x):
        return policy_loss(
            x, old, advantages, mask, aggregation=aggregation, delta=3.0, **CLIP
        )

    _, (gradient,), *_ = gradient_of(value, logp)
    for at in np.ndindex(logp.shape):
        step = np.zeros_like(logp)
        step[at] = 1e-2
        numeric = float(value(logp + step)[0] - value(logp - step)[0]) / 2e-2
        assert float(gradient[at]) == pytest.approx(numeric, rel=1e-2, abs=1e-3)


def test_a_cap_bounds_the_ratio_of_a_bad_token_only():
    old, mask = np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)
    logp = np.full((1, 2), np.log(5.0), np.float32)
    advantages = np.array([[-1.0, 1.0]], np.float32)
    options = dict(aggregation="dapo", **CLIP)
    free, _, _ = policy_loss(logp, old, advantages, mask, **options)
    capped, _, _ = policy_loss(logp, old, advantages, mask, delta=2.0, **options)
    assert float(free) == pytest.approx(5.0 - 1.2)
    assert float(capped) == pytest.approx(2.0 - 1.2)


def test_a_ratio_beyond_float32_keeps_the_gradient_finite():
    old = np.array([[0.0, 0.0]], np.float32)
    loss, (gradient,), *_ = gradient_of(
        lambda x: policy_loss(
            x, old, np.ones_like(old), np.ones_like(old), aggregation="grpo", **CLIP
        ),
        np.array([[200.0, 0.0]], np.float32),
    )
    assert loss == pytest.approx(-(1.2 + 1) / 2)
    np.testing.assert_allclose(gradient, [[0.0, -0.5]])


@pytest.mark.parametrize("q", [0.2, 0.5])
@pytest.mark.parametrize(
    "aggregation, biased",
    [("grpo", True), ("gspo", True), ("dr_grpo", False), ("rloo", False)],
)
def test_only_means_over_answers_make_wrong_answers_longer(aggregation, biased, q):
    """All lengths of a wrong answer, whose end comes with the probability q."""
    lengths = np.arange(1, 13)
    u = np.log(q / (1 - q)).astype(np.float32)
    place = np.arange(13)[None]
    ends = (place == lengths[:, None]).astype(np.float32)
    goes_on = ((place >= 1) & (place < lengths[:, None])).astype(np.float32)
    forced = (place == 12).astype(np.float32)  # the longest answer ends anyway

    def logp_of(u):
        end, on = tf.math.log_sigmoid(u), tf.math.log_sigmoid(-u)
        return (ends * (1 - forced)) * end + goes_on * on

    p = np.exp(logp_of(u).numpy().sum(1))
    assert p.sum() == pytest.approx(1, abs=1e-6)
    mask = (place <= lengths[:, None]).astype(np.float32)
    old = logp_of(u)
    bad = -np.repeat(p[:, None], 13, 1).astype(
        np.float32
    )  # weighted by its probability

    def loss(u):
        sum_, weight, _ = policy_loss(
            logp_of(u), old, bad, mask, aggregation=aggregation, **CLIP
        )
        return sum_, weight

    # descent raises u, and so shortens answers, where the gradient is negative
    _, (gradient,), _ = gradient_of(loss, u)

    def mean_inverse(u):
        q = 1 / (1 + np.exp(-u))
        p = np.where(lengths < 12, q, 1.0) * (1 - q) ** (lengths - 1)
        return (p / (lengths + 1)).sum()

    closed = (mean_inverse(float(u) + 1e-5) - mean_inverse(float(u) - 1e-5)) / 2e-5
    assert closed > 0.05
    wanted = closed if biased else 0.0
    assert float(gradient) == pytest.approx(wanted, abs=1e-6)


def test_an_unknown_aggregation_names_those_there_are():
    logp, old, advantages, mask = drawn()
    with pytest.raises(ValueError, match="gpro.*grpo"):
        policy_loss(logp, old, advantages, mask, aggregation="gpro", **CLIP)
