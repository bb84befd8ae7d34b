"""A run of sampled answers says what goes wrong, once, also after a resume."""

import pytest

from trainers.metric_writer import MetricWriter

GRPO = {"objective": {"name": "grpo", "max_new_tokens": 8}}
GOOD = {"loss": 0.1, "entropy": 2.0, "rollout/reward_std": 0.5}
COLLAPSED = {**GOOD, "entropy": 0.01}


@pytest.fixture
def write(tmp_path, capsys):
    def write(lines, run=GRPO, step=0):
        with MetricWriter(tmp_path, step, 10, "answers", run) as writer:
            for number, metrics in enumerate(lines, step + 1):
                writer.log(number, "train", metrics)
        return capsys.readouterr().out.count("warning: The entropy fell from 2.000")

    return write


def test_a_warning_is_said_once(write):
    assert write([GOOD, COLLAPSED, COLLAPSED]) == 1


def test_a_good_run_has_no_warning(write):
    assert write([GOOD, GOOD]) == 0


def test_the_first_line_of_an_earlier_process_counts(write):
    assert write([GOOD]) == 0
    assert write([COLLAPSED], step=1) == 1


def test_a_run_on_given_data_has_no_warning(write):
    run = {"objective": {"name": "language_model"}}
    assert write([GOOD, COLLAPSED], run) == 0


def test_tensorboard_gets_the_layout_and_the_warning(write, tmp_path):
    write([GOOD, COLLAPSED])
    (events,) = (tmp_path / "tensorboard").iterdir()
    content = events.read_bytes()
    assert b"custom_scalars" in content
    assert b"warning/entropy" in content
