"""Kills at random moments change no bit of an alignment run; see the benchmark.

python -m pytest tests/trainers/test_killed_alignment.py -m long
"""

import pytest


@pytest.mark.long
def test_kills_of_grpo_change_no_bit(commands):
    done = commands("benchmarks.kill_alignment", "--methods=grpo", "--kills=3")
    assert done.code == 0, done.out
    assert "grpo    3 kills" in done.out and ": equal, " in done.out
