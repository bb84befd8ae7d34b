"""A preparation that is killed at random moments ends with the bytes of a whole run.

    python -m benchmarks.kill_prepare [--kills=50] [--workers=2]

Prepares text of random words once without a disturbance. Then the same command runs
again and again, and all of its processes are killed by SIGKILL after a random time.
Each folder is taken up until its run ends; that goes on, folder after folder, until
there were so many kills. Each finished folder must have the same files, byte for byte.
The command exits with 1 where one differs.
"""

import collections
import hashlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from absl import flags

from zoo import command

_KILLS = flags.DEFINE_integer("kills", 50, "How many.", lower_bound=1)
_WORKERS = flags.DEFINE_integer("workers", 2, "Processes of a run.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the moments of the kills.")

ROOT = pathlib.Path(__file__).parents[1]
_LONGEST = 600  # seconds of one run
# What is there once a step is over, the last one first.
_STEPS = (
    ("card", "shards.json"),
    ("tokenize", "tokenizer"),
    ("tokenizer", "work/decisions"),
    ("clean", "work/begun.json"),
)


def main(argv):
    """Prints what the kills did."""
    del argv
    rng = random.Random(_SEED.value)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_corpus(folder / "corpus.jsonl")
        start = time.monotonic()
        finish(started(folder, "whole"))
        seconds = time.monotonic() - start
        whole = digests(folder / "whole")
        print(f"{len(whole)} files, {seconds:.1f} s without a kill", flush=True)
        steps, runs, different = collections.Counter(), 0, []
        while steps.total() < _KILLS.value:
            name = f"run-{runs}"
            while steps.total() < _KILLS.value:
                step = kill(
                    started(folder, name), folder / name, rng.random() * seconds
                )
                if not step:
                    break
                steps[step] += 1
            finish(started(folder, name))
            runs += 1
            found = digests(folder / name)
            different += [
                f for f in whole.keys() | found if whole.get(f) != found.get(f)
            ]
    shown = ", ".join(f"{step} {steps[step]}" for step, _ in reversed(_STEPS))
    print(f"{steps.total()} kills: start {steps['start']}, {shown}")
    print(f"{runs} runs ended, {len(different)} files differ {sorted(set(different))}")
    if different:
        sys.exit(1)


def write_corpus(path: pathlib.Path, megabytes: float = 3) -> None:
    """Documents of random words; one of ten is like an earlier one."""
    rng = random.Random(1)
    words = [
        "".join(rng.choices("abcdefghij", k=rng.randint(2, 9))) for _ in range(2000)
    ]
    texts: list[str] = []
    with open(path, "w", encoding="utf-8") as file:
        while file.tell() < megabytes * 1e6:
            text = "\n".join(
                " ".join(rng.choices(words, k=rng.randint(5, 20))) + "."
                for _ in range(rng.randint(3, 40))
            )
            if texts and rng.random() < 0.1:
                text = f"{rng.choice(texts)} {rng.choice(words)}"
            texts.append(text)
            file.write(json.dumps({"text": text}) + "\n")


def started(folder: pathlib.Path, name: str) -> subprocess.Popen:
    """A process that prepares the corpus, the first of a group of its own."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "zoo.prepare",
            "--config=configs/prepare.py",
            f"--config.source=jsonl:{folder}/corpus.jsonl",
            f"--config.against=('jsonl:{folder}/corpus.jsonl',)",
            "--config.unit_chars=200000",
            "--config.lines=3",
            "--config.valid=0.05",
            "--config.vocab_size=1000",
            f"--output={folder / name}",
            f"--workers={_WORKERS.value}",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def finish(process: subprocess.Popen) -> None:
    """Waits for the end of a run."""
    out, _ = process.communicate(timeout=_LONGEST)
    if process.returncode:
        raise SystemExit(out.decode(errors="replace")[-3000:])


def kill(process: subprocess.Popen, folder: pathlib.Path, seconds: float) -> str:
    """Kills all processes of a run after some seconds.

    Returns:
      The step that it was in, or "" where it ended before.
    """
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        found = (step for step, name in _STEPS if (folder / name).exists())
        return next(found, "start")
    finish(process)
    return ""


def digests(folder: pathlib.Path) -> dict[str, str]:
    """The SHA-256 of each file, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


if __name__ == "__main__":
    command.run_app(main)
