"""Every config ends with the same bits in two processes, and after kills at random.

python -m pytest tests/test_killed_configs.py -m long
"""

import hashlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest
import small_configs

from trainers.run import to_json

HELPERS = pathlib.Path(__file__).parent / "helpers"
STEPS, SAVE, KILLS = 40, 3, 2
ENVIRONMENT = os.environ | {"PYTHONPATH": str(small_configs.ROOT)}


def started(run, workdir):
    """A process that trains the Run of a file."""
    command = [sys.executable, HELPERS / "small_configs.py", run, workdir]
    return subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(process):
    out, _ = process.communicate()
    assert process.returncode == 0, out.decode(errors="replace")[-3000:]


def result(workdir):
    """The digests of what was kept, and every logged loss with all its digits."""
    found = [*workdir.glob("model/**/*"), *workdir.glob("adapter/*")]
    digests = {
        str(path.relative_to(workdir)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(found)
        if path.is_file()
    }
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return digests, [(row["step"], row["split"], row["loss"].hex()) for row in rows]


def kill(process, workdir, rng):
    """Kills a process some time after its first new checkpoint; whether it could."""
    folder = workdir / "checkpoints"
    before = set(folder.glob("0*"))
    until = time.monotonic() + 120
    while process.poll() is None and not set(folder.glob("0*")) - before:
        assert time.monotonic() < until
        time.sleep(0.002)
    time.sleep(rng.random() * 0.1)
    running = process.poll() is None
    if running:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    return running


@pytest.mark.long
@pytest.mark.parametrize("name", small_configs.NAMES)
def test_kills_change_no_bit(name, corpus, tmp_path):
    run = small_configs.small_run(name, corpus, tmp_path)
    run.steps, run.log_every, run.save_every, run.eval_every = STEPS, 7, SAVE, 20
    path = tmp_path / "run.json"
    path.write_text(json.dumps(to_json(run)))
    for workdir in ("one", "two"):
        finish(started(path, tmp_path / workdir))
    whole = result(tmp_path / "one")
    assert result(tmp_path / "two") == whole
    rng, killed = random.Random(name), 0
    for _ in range(KILLS):
        killed += kill(started(path, tmp_path / "three"), tmp_path / "three", rng)
    finish(started(path, tmp_path / "three"))
    assert killed and result(tmp_path / "three") == whole
    print(f"{name}: {killed} kills of {KILLS}, {len(whole[1])} logged losses equal")
