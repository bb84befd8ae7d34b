"""Rewards in worker processes: order, limits, failures, functions of users."""

import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from trainers import rewards
from trainers.feeds import companions
from trainers.rewards import Sample, registry
from zoo.data import fingerprints

ROOT = pathlib.Path(__file__).parents[3]

OWN = """
import os, sys, time
from trainers import rewards


@rewards.register("own_behaviour")
def behaviour(sample):
    print("a line on stdout")
    kind = sample.answer
    if kind == "raise":
        raise KeyError("no\\nsuch")
    if kind == "hang":
        time.sleep(1000)
    if kind == "exit":
        sys.exit(3)
    if kind == "die":
        os._exit(7)
    return {"nan": float("nan"), "none": None, "text": "1", "true": True}.get(kind, 0.5)


@rewards.register("own_field")
def field(sample, argument):
    return len(sample.example[argument]) + sample.length


@rewards.register("own_process")
def process(sample):
    return os.getpid()


@rewards.register("own_wrong")
def wrong(a, b, c):
    return 0
"""


@pytest.fixture(scope="module", autouse=True)
def own(tmp_path_factory):
    """A config file with functions, loaded from its path as ml_collections does."""
    path = tmp_path_factory.mktemp("own") / "my_config.py"
    path.write_text(OWN)
    spec = importlib.util.spec_from_file_location("config_config", path)
    module = importlib.util.module_from_spec(spec)
    before = dict(registry._OWN)
    spec.loader.exec_module(module)
    spec.loader.exec_module(module)  # the flag's parser may run the file again
    yield path
    registry._OWN.clear()
    registry._OWN.update(before)


def sample(answer, **example):
    return Sample("the prompt", answer, [1, 2, 3], True, example, 1)


def processes(made):
    return [process.pid for process in made._pool._processes]


def ended(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


def wait_for(condition):
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_weighted_parts_in_order():
    entries = ["1 contains:7", "-0.5 length:4 characters", "2 contains:1"]
    with rewards.make(entries) as made:
        assert made.names == ("contains", "length", "contains_2")
        samples = [sample(str(i) * (1 + i % 3)) for i in range(60)]
        parts_NP = made(samples)
        assert parts_NP.shape == (60, 3) and parts_NP.dtype == np.float64
        for row, one in zip(parts_NP, samples, strict=True):
            size = len(one.answer)
            assert row.tolist() == [
                "7" in one.answer,
                -abs(size - 4) / 4,
                "1" in one.answer,
            ]
        assert (parts_NP @ made.weights)[7] == 1 + 0.5 * 0.5
        assert np.array_equal(made(samples), parts_NP)
        assert made([]).shape == (0, 3)
        pids = processes(made)
    assert pids and all(map(ended, pids))
    made.close()


def test_functions_of_users():
    entries = ["1 own_field:words", "1 own_behaviour", "1 own_process"]
    with rewards.make(entries) as made:
        found = made([sample("true", words=np.arange(4)), sample("x", words=b"abc")])
        assert found[:, :2].tolist() == [[5, 1], [4, 0.5]]
        assert set(found[:, 2]) <= set(processes(made)) and os.getpid() not in found
        assert not made._pool.tensorflow
        with pytest.raises(ValueError, match="the prompt.*a set is no JSON"):
            made([sample("x", words={1})])


@pytest.mark.parametrize(
    "answer, message",
    [
        (
            "raise",
            r"'own_behaviour' raised KeyError: 'no\\nsuch' .*my_config.py, line 1",
        ),
        ("hang", "took more than 0.3 seconds: prompt 'the prompt', answer 'hang'"),
        ("exit", "raised SystemExit: 3"),
        ("die", r"ended its process \(exit code 7\)"),
        ("nan", "returned nan, a finite number allowed"),
        ("none", "returned None"),
        ("text", "returned '1'"),
    ],
)
def test_a_failure_stops_or_scores(answer, message):
    samples = [sample("x"), sample(answer), sample("x"), sample(answer)]
    entries = ["1 contains:x", "1 own_behaviour", "1 contains:a"]
    with rewards.make(entries, 0.3, "score", -2.0) as made:
        found = made(samples)
        assert found[[0, 2]].tolist() == [[1, 0.5, 0]] * 2
        assert found[1, 1] == found[3, 1] == -2 and made.failed["own_behaviour"] == 2
        if answer in ("hang", "die"):  # what stands behind is not known
            assert found[1, 2] == -2
        else:
            assert made.failed.total() == 2 and found[1, 2] == ("a" in answer)
        assert made([sample("x")]).tolist() == [[1, 0.5, 0]]
        made._errors = "stop"
        with pytest.raises(ValueError, match=message):
            made(samples)
        assert made([sample("x")] * 5)[:, 1].tolist() == [0.5] * 5


def test_the_first_failure_is_named():
    samples = [sample("x")] * 9 + [sample("hang"), sample("nan"), sample("raise")]
    with rewards.make(["1 own_behaviour"], 0.3) as made:
        for _ in range(2):
            with pytest.raises(ValueError, match="answer 'hang'"):
                made(samples)


def test_a_pattern_that_never_ends():
    with rewards.make(["1 regex:^(a+)+$"], 0.3) as made:
        assert made([sample("aaa")]).tolist() == [[1]]
        with pytest.raises(ValueError, match="'regex' took more than 0.3 seconds"):
            made([sample("a" * 60 + "b" + "c" * 80)])


def test_a_worker_that_was_killed_starts_again():
    with rewards.make(["1 contains:x"]) as made:
        for pid in processes(made):
            os.kill(pid, signal.SIGINT)  # workers ignore it
            os.kill(pid, signal.SIGTERM)
        assert made([sample("x")] * 4).sum() == 4
        pids = processes(made)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert made([sample("x")] * 4).sum() == 4
        assert not set(pids) & set(processes(made))


def test_no_worker_outlives_a_killed_run(tmp_path, own):
    code = f"""
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("config_config", {str(own)!r})
spec.loader.exec_module(importlib.util.module_from_spec(spec))
from trainers import rewards
made = rewards.make(["1 own_behaviour"], 0.3)
print(*[p.pid for p in made._pool._processes], flush=True)
made._pool._timeout = 1000
made([rewards.Sample("", "hang", [], True, {{}})])
"""
    run = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    pids = [int(pid) for pid in run.stdout.readline().split()]
    assert pids and not any(map(ended, pids))
    run.kill()
    run.communicate()
    wait_for(lambda: all(map(ended, pids)))  # the idle one, and the one that hangs


@pytest.mark.parametrize(
    "entries, message",
    [
        ([], r"\[\], a list of entries"),
        ("1 regex:a", "a list of entries"),
        (["regex:a"], "'regex:a', WEIGHT NAME or WEIGHT NAME:ARGUMENT allowed"),
        (["nan regex:a"], "WEIGHT NAME"),
        (["1"], "WEIGHT NAME"),
        (["1 nummber_after:#"], "unknown 'nummber_after'. Did you mean number_after?"),
        (
            ["1 own_feld"],
            "Did you mean own_field.*Allowed: .*contains, .*exact_answer, json_valid",
        ),
        (["1 model"], "model:DIR"),
        (["1 regex:("], r"reward 'regex': '\(' is no pattern"),
        (["1 own_behaviour:x"], "takes no argument, but got 'x'"),
        (["1 own_wrong"], r"parameters are \(a, b, c\)"),
    ],
)
def test_refused_before_the_first_sample(entries, message):
    with pytest.raises(ValueError, match=message):
        rewards.make(entries)


def test_a_resume_sees_that_a_function_changed(own):
    entries = ["1 own_field:words", "0.5 contains:x"]
    before, text = companions.of_rewards(entries), own.read_text()
    assert companions.of_rewards(entries) == before
    own.write_text(text.replace("+ sample.length", "- sample.length"))
    try:
        after = companions.of_rewards(entries)
    finally:
        own.write_text(text)
    line = "reward own_field: the content changed"
    assert fingerprints.changes(before, after) == [line]


def test_a_failure_is_never_paid_for():
    with pytest.raises(ValueError, match="error_reward: -1.*the weight -0.5 of cont"):
        rewards.make(["-0.5 contains:x"], errors="score", error_reward=-1.0)


def test_wrong_options():
    with pytest.raises(ValueError, match="reward_timeout: 0"):
        rewards.make(["1 json_valid"], timeout=0)
    with pytest.raises(ValueError, match="reward_errors: 'ignore'"):
        rewards.make(["1 json_valid"], errors="ignore")


def test_what_cannot_be_registered():
    for name, message in (("a b", "spaces"), ("regex", "built in"), ("model", "built")):
        with pytest.raises(ValueError, match=message):
            rewards.register(name)
    with pytest.raises(ValueError, match="a function allowed"):
        rewards.register("own_other")(3)
    with pytest.raises(ValueError, match="is registered by .*my_config.py too"):
        rewards.register("own_field")(lambda sample: 0)

    rewards.register("own_inner")(lambda sample: 0)  # not at the top of this module
    with pytest.raises(ValueError, match="'own_inner': .*did not register it"):
        rewards.make(["1 own_inner"])


def test_a_module_that_breaks(tmp_path):
    path = tmp_path / "broken.py"
    text = "from trainers import rewards\nrewards.register('own_broken')(lambda s: 1)\n"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("broken", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    path.write_text(text + "1 / 0\n")
    with pytest.raises(ValueError, match="broken.py: ZeroDivisionError.*line 3"):
        rewards.make(["1 own_broken"])
