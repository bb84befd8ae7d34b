"""Which training lines give warnings, and what they say."""

import math

import pytest

from trainers.diagnostics import warnings

FIRST = {"rollout/entropy": 2.0}
SOUND = {
    "rollout/kl": 5.0,
    "rollout/length": 40.0,
    "rollout/entropy": 1.0,
    "rollout/missing_end": 0.1,
    "rollout/reward": 0.3,
    "rollout/reward_std": 0.4,
    "rollout/groups_without_variance": 0.5,
    "clip_low": 0.1,
    "clip_high": 0.1,
}


def names(**changed):
    line = SOUND | {f"rollout/{name}": x for name, x in changed.items()}
    return [w.name for w in warnings.of_line(line, FIRST, 64)]


def test_a_sound_line_gives_none():
    assert names() == []
    assert warnings.of_line({}, {}, 64) == []


@pytest.mark.parametrize(
    "name, changed",
    [
        ("kl", {"kl": 41.0}),
        ("entropy", {"entropy": 0.19}),
        ("length", {"length": 62.0, "missing_end": 0.6}),
        ("reward", {"reward_std": 0.0, "groups_without_variance": 1.0}),
        ("groups", {"groups_without_variance": 1.0}),
        ("clip", {"clip_low": 0.3, "clip_high": 0.3}),
    ],
)
def test_each_trouble_gives_its_own(name, changed):
    assert names(**changed) == [name]


@pytest.mark.parametrize(
    "changed",
    [
        {"kl": 39.0},
        {"entropy": 0.21},
        {"length": 62.0},  # long answers that end
        {"length": 30.0, "missing_end": 0.9, "kl": 0.0},  # ended by a stop string
        {"reward_std": 1e-9},
        {"groups_without_variance": 0.99},
    ],
)
def test_just_short_of_it_gives_none(changed):
    assert names(**changed) == []


def test_numbers_that_are_not_finite_give_none():
    assert warnings.of_line(dict.fromkeys(SOUND, math.nan), FIRST, 64) == []


def test_a_warning_has_the_numbers_and_what_to_change():
    line = SOUND | {"rollout/kl": 80.0}
    (warning,) = warnings.of_line(line, FIRST, 64)
    assert "2.00 nats a token" in warning.text
    assert "objective.kl_coefficient" in warning.text
