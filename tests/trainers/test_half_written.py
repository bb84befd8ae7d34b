"""A process that dies while it writes leaves a workdir that ends with the same bits."""

import json
import pathlib
import signal

import pytest

PROGRAM = pathlib.Path(__file__).with_name("killed_at.py")
ARGUMENTS = [
    "--config=configs/dense_breast_cancer.py",
    "--config.model.dropout=0.2",
    "--config.epochs=0",
    "--config.steps=9",
    "--config.log_every=4",
    "--config.eval_every=3",
    "--config.save_every=2",
]


def ending(workdir):
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    losses = [(row["step"], row["split"], row["loss"]) for row in rows]
    return (workdir / "model/model.safetensors").read_bytes(), losses


@pytest.fixture(scope="module")
def whole(commands, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole") / "w"
    done = commands("trainers.train", *ARGUMENTS, f"--workdir={workdir}")
    assert done.code == 0, done.out
    return ending(workdir)


def killed(commands, workdir, at):
    """Runs until the point; True if there was such a point."""
    done = commands(PROGRAM, at, *ARGUMENTS, f"--workdir={workdir}")
    assert done.code in (0, -signal.SIGKILL), done.out
    return done.code != 0


def check_ending(commands, workdir, whole):
    done = commands("trainers.train", *ARGUMENTS, f"--workdir={workdir}")
    assert done.code == 0, done.out
    assert ending(workdir) == whole
    names = {p.name for p in workdir.rglob("*")}
    assert not [n for n in names if n.endswith((".new", ".old"))], names


def test_a_life_of_deaths(commands, tmp_path, whole):
    """Dies in run.json, in checkpoints, while model/ is swapped, and near the end."""
    workdir = tmp_path / "w"
    for at in (1, 6, 19, 11, 27):
        assert killed(commands, workdir, at)
    check_ending(commands, workdir, whole)


@pytest.mark.long
@pytest.mark.parametrize("at", range(1, 47))
def test_every_death(commands, tmp_path, whole, at):
    if not killed(commands, tmp_path / "w", at):
        pytest.skip("the run ends before")
    check_ending(commands, tmp_path / "w", whole)
