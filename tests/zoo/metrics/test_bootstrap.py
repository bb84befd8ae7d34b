"""Intervals that hold the truth as often as they say, and paired differences."""

import numpy as np
import pytest

from zoo.metrics import bootstrap, classification


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(3, 2, 2000)
    low, high = bootstrap.interval(values, resamples=2000)
    error = values.std() / np.sqrt(len(values))
    assert (low, high) == pytest.approx(
        values.mean() + 1.96 * error * np.array([-1, 1]), abs=0.1 * error
    )
    assert (low, high) == bootstrap.interval(values, resamples=2000)
    assert (low, high) != bootstrap.interval(values, resamples=2000, seed=1)


def test_it_holds_the_truth_in_its_share_of_cases():
    rng = np.random.default_rng(2)
    held = 0
    for seed in range(200):
        low, high = bootstrap.interval(
            rng.random(60) < 0.7, seed=seed, resamples=100, level=0.9
        )
        held += low <= 0.7 <= high
    assert 0.82 <= held / 200 <= 0.96


def test_any_measure():
    labels = np.arange(100) % 3
    rows = np.stack([labels, np.where(labels == 2, 0, labels)], 1)
    low, high = bootstrap.interval(
        rows, lambda r: classification.macro_f1(r[:, 0], r[:, 1]), resamples=50
    )
    assert low < classification.macro_f1(rows[:, 0], rows[:, 1]) < high
    weighted = np.array([[10.0, 5.0], [1.0, 1.0]])
    assert bootstrap.ratio(weighted) == pytest.approx(11 / 6)
    assert bootstrap.interval(weighted, bootstrap.ratio) == (1, 2)


def test_equal_values_and_one_value():
    assert bootstrap.interval(np.ones(5)) == (1, 1)
    assert bootstrap.interval(np.array([4.0])) == (4, 4)


def test_pairs_show_what_two_intervals_do_not():
    rng = np.random.default_rng(3)
    hard = rng.normal(0, 5, 400)
    ours, theirs = hard + 0.2 + rng.normal(0, 0.5, 400), hard
    apart = bootstrap.interval(ours), bootstrap.interval(theirs)
    assert apart[0].low < apart[1].high
    found = bootstrap.paired(ours, theirs)
    assert found.value == pytest.approx(np.mean(ours - theirs))
    assert 0 < found.low < found.value < found.high and found.p_value < 0.01
    back = bootstrap.paired(theirs, ours)
    assert back.value == pytest.approx(-found.value) and back.high < 0
    assert back.p_value == found.p_value


def test_p_values_of_equal_systems_are_spread_evenly():
    rng = np.random.default_rng(4)
    p_values = [
        bootstrap.paired(*rng.normal(size=(2, 50)), seed=i, resamples=99).p_value
        for i in range(200)
    ]
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.12
    assert 0.4 < np.mean(p_values) < 0.6


def test_no_difference():
    same = np.arange(5.0)
    assert bootstrap.paired(same, same) == (0, 0, 0, 1)
    assert bootstrap.paired(same, same - 1, resamples=99)[3] == pytest.approx(0.02)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: bootstrap.interval(np.zeros(0)), "examples: none"),
        (lambda: bootstrap.interval(np.ones(2), resamples=0), "resamples: 0"),
        (lambda: bootstrap.interval(np.ones(2), level=1.0), "level: 1.0"),
        (lambda: bootstrap.paired(np.ones(2), np.ones(3)), "examples: 2 and 3"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
