"""A run that is killed and started again ends with the bits of one that was not."""

import hashlib
import json
import os
import signal
import time

import pytest

STEPS, LOG, SAVE = 24, 5, 7  # checkpoints fall inside of logged windows


def arguments(corpus, workdir, *more):
    return [
        "--config=configs/lm_transformer.py",
        f"--workdir={workdir}",
        f"--config.data.source=text:{corpus}",
        "--config.data.batch=4",
        "--config.data.length=16",
        "--config.model.vocab_size=300",
        "--config.model.context=16",
        "--config.model.width=32",
        "--config.model.heads=2",
        "--config.model.layers=1",
        "--config.model.dropout=0.2",
        f"--config.steps={STEPS}",
        f"--config.log_every={LOG}",
        f"--config.save_every={SAVE}",
        "--config.eval_every=10",
        *more,
    ]


def result(workdir):
    """The weights' digest, and every logged loss with all its digits."""
    weights = (workdir / "model/model.safetensors").read_bytes()
    rows = [json.loads(x) for x in (workdir / "metrics.jsonl").read_text().splitlines()]
    losses = [(row["step"], row["split"], row["loss"].hex()) for row in rows]
    return hashlib.sha256(weights).hexdigest(), losses


def wait_for(path, text, seconds=120):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if path.exists() and text in path.read_text(errors="replace"):
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} never said {text!r}")


@pytest.fixture(scope="module")
def whole(commands, corpus, tmp_path_factory):
    """What the uninterrupted run ends with."""
    workdir = tmp_path_factory.mktemp("whole") / "w"
    done = commands("trainers.train", *arguments(corpus, workdir))
    assert done.code == 0, done.out
    digest, losses = result(workdir)
    assert [x[:2] for x in losses if x[1] == "train"] == [
        (step, "train") for step in (5, 10, 15, 20, 24)
    ]
    return workdir, (digest, losses)


@pytest.mark.parametrize("at", [5, pytest.param(20, marks=pytest.mark.long)])
def test_kill_9(commands, corpus, tmp_path, whole, at):
    workdir = tmp_path / "w"
    pid = commands.start("trainers.train", *arguments(corpus, workdir))
    wait_for(workdir / "metrics.jsonl", f'"step": {at}')
    os.kill(pid, signal.SIGKILL)
    assert commands.wait(pid).code == -signal.SIGKILL
    assert not (workdir / "metrics.jsonl").read_text().count('"step": 24')
    done = commands("trainers.train", *arguments(corpus, workdir))
    assert done.code == 0, done.out
    assert result(workdir) == whole[1]


def test_sigterm_saves_and_goes_on(commands, corpus, tmp_path, whole):
    workdir = tmp_path / "w"
    pid = commands.start("trainers.train", *arguments(corpus, workdir))
    wait_for(workdir / "metrics.jsonl", '"step": 5')
    os.kill(pid, signal.SIGTERM)
    assert commands.wait(pid).code == 128 + signal.SIGTERM
    newest = max(int(p.name) for p in (workdir / "checkpoints").iterdir())
    assert newest >= 5
    assert commands("trainers.train", *arguments(corpus, workdir)).code == 0
    assert result(workdir) == whole[1]


def test_damaged_checkpoint_is_passed_over(commands, corpus, tmp_path, whole):
    workdir = tmp_path / "w"
    pid = commands.start("trainers.train", *arguments(corpus, workdir))
    wait_for(workdir / "metrics.jsonl", '"step": 15')
    os.kill(pid, signal.SIGKILL)
    commands.wait(pid)
    newest = sorted((workdir / "checkpoints").iterdir())[-1]
    data = bytearray((newest / "state.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (newest / "state.safetensors").write_bytes(data)
    done = commands("trainers.train", *arguments(corpus, workdir))
    assert done.code == 0 and "the checksum of state.safetensors differs" in done.out, (
        done.out
    )
    assert result(workdir) == whole[1]


def test_finished_run_ends_at_once(commands, corpus, whole):
    workdir, before = whole
    done = commands("trainers.train", *arguments(corpus, workdir))
    assert done.code == 0 and f"step {STEPS}" in done.out, done.out
    assert result(workdir) == before


def test_another_run_is_refused(commands, corpus, whole):
    workdir, before = whole
    more = ["--config.optimizer.lr=0.5", "--config.seed=3"]
    done = commands("trainers.train", *arguments(corpus, workdir, *more))
    assert done.code == 1
    assert "optimizer.lr" in done.errors[0] and "seed: 0 -> 3" in done.errors[0]
    assert result(workdir) == before


def test_strange_folder_is_refused(commands, corpus, tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w/thesis.txt").write_text("years of work")
    done = commands("trainers.train", *arguments(corpus, tmp_path / "w"))
    assert done.code == 1 and "not empty" in done.errors[0]
    assert [p.name for p in (tmp_path / "w").iterdir()] == ["thesis.txt"]
