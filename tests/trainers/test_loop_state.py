"""The loop's memory: weighted means, the best evaluation, and the way through JSON."""

import json
import math

import pytest

from trainers.loop_state import LoopState
from trainers.objectives.loss import Mean


def test_means_are_weighted():
    """A batch with one token counts as one token."""
    state = LoopState()
    state.add([{"loss": Mean(6.0, 3.0)}, {"loss": Mean(10.0, 1.0)}])
    assert state.means() == {"loss": 4.0} and state.window == {}


def test_what_is_not_finite_or_has_no_weight_is_left_out():
    state, pending = LoopState(), [{"a": Mean(math.nan, 1.0), "b": Mean(0.0, 0.0)}]
    state.add(pending)
    assert not pending and state.means() == {}
    state.add([{"a": Mean(math.inf, 1.0)}, {"a": Mean(3.0, 1.0)}])
    assert state.means() == {"a": 3.0}


def test_json_keeps_every_digit():
    state = LoopState()
    state.add([{"loss": Mean(0.1, 3.0)}, {"loss": Mean(0.2, 7.0)}])
    state.improve({"loss": 1 / 3}, "loss")
    again = LoopState(**json.loads(json.dumps(state.to_json())))
    state.add([{"loss": Mean(0.3, 1.0)}])
    again.add([{"loss": Mean(0.3, 1.0)}])
    assert again.best == state.best and again.means() == state.means()


@pytest.mark.parametrize(
    "best, values", [("loss", (3, 2, 2, 4, 1)), ("+f", (3, 4, 4, 2, 5))]
)
def test_the_best(best, values):
    state, found = LoopState(), []
    for value in values:
        found.append((state.improve({best.lstrip("+"): value}, best), state.worse))
    assert found == [(True, 0), (True, 0), (False, 1), (False, 2), (True, 0)]
    assert not state.improve({best.lstrip("+"): math.nan}, best)
