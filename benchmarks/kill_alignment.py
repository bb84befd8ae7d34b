"""Alignment that is killed at random moments ends with the bits of a whole run.

    python -m benchmarks.kill_alignment [--methods=reward,dpo,ppo,grpo] [--kills=50]

Each method trains a small model once without a disturbance. Then processes that do the
same are killed by SIGKILL, and each workdir is taken up again until its run ends. That
goes on, workdir after workdir, until there were so many kills.

A kill comes after a random part of the run, in the phase that had the fewest kills so
far, if that comes soon. The phases are the start of a process, sampling, rewards,
log-probabilities of answers (scoring), the update, a checkpoint, and the writing of the
model. Each finished run must have the same
files in `model`, byte for byte, and the same numbers in metrics.jsonl, but for times.
The command exits with 1 where one differs, or where a phase was never hit.
"""

import collections
import functools
import hashlib
import json
import multiprocessing
import os
import pathlib
import random
import sys
import tempfile
import time
from typing import Any, NamedTuple

from absl import flags

from zoo import command

with command.quiet_imports():
    from trainers import loop
    from trainers.objectives import DPO, GRPO, PPO, Reward
    from trainers.rollouts import rollouts
    from trainers.run import Data, Optimizer, Run
    from trainers.run_flags import run_app
    from zoo import directory, models
    from zoo.models import headed
    from zoo.text import tokenizer as tokenizers

_METHODS = flags.DEFINE_list("methods", ["reward", "dpo", "ppo", "grpo"], "Which ones.")
_KILLS = flags.DEFINE_integer("kills", 50, "Kills of each method.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the moments of the kills.")

_PAIRS = ("start", "update", "save", "model")
_ROLLOUTS = ("start", "sampling", "reward", "scoring", "update", "save", "model")
PHASES = {"reward": _PAIRS, "dpo": _PAIRS, "ppo": _ROLLOUTS, "grpo": _ROLLOUTS}
_NAMES = ("start", "between", *_ROLLOUTS[1:])  # by the number that a process shares
_STEPS = 240
_PARTS = 6  # a process does about one part of a run before its kill
_TIMES = ("data_wait", "_per_second", "_seconds")


class Outcome(NamedTuple):
    """What the kills of a method did.

    Attributes:
      kills: how many.
      runs: how many runs ended.
      phases: how many kills each phase had.
      different: what differs from the undisturbed run, at most one line a run.
    """

    kills: int
    runs: int
    phases: dict[str, int]
    different: list[str]


def main(argv):
    """Prints a line for each method."""
    del argv
    unknown = sorted(set(_METHODS.value) - PHASES.keys())
    if unknown:
        raise ValueError(f"--methods: {unknown[0]!r}; {', '.join(PHASES)} allowed.")
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for method in _METHODS.value:
            began = time.monotonic()
            place = pathlib.Path(folder) / method
            found = measure(method, _KILLS.value, _SEED.value, place)
            hit = ", ".join(f"{count} {name}" for name, count in found.phases.items())
            minutes = (time.monotonic() - began) / 60
            print(
                f"{method:7} {found.kills} kills ({hit}) in {found.runs} runs: "
                f"{'different' if found.different else 'equal'}, {minutes:.1f} minutes",
                flush=True,
            )
            for line in found.different:
                print(f"        {line}")
            missed = [name for name in PHASES[method] if not found.phases.get(name)]
            if missed and found.kills >= 2 * len(PHASES[method]):
                print(f"        no kill hit: {', '.join(missed)}")
                good = False
            good = good and not found.different
    sys.exit(0 if good else 1)


def measure(method: str, kills: int, seed: int, folder) -> Outcome:
    """Kills the runs of a method, and compares them with one that nobody disturbed.

    Args:
      method: a name of `PHASES`.
      kills: how many processes are killed.
      seed: of the moments.
      folder: does not exist yet; it gets the data and the workdirs.

    Raises:
      ValueError: a process fails by itself.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    context = multiprocessing.get_context("forkserver")  # TensorFlow is imported once
    context.set_forkserver_preload(["trainers.loop", "trainers.objectives"])
    prepared = context.Process(target=prepare, args=(folder,))
    with command.quiet_imports():  # the first start imports TensorFlow
        prepared.start()
    _finish(prepared, folder)
    processes = functools.partial(_Process, context, method, folder)
    with processes("whole") as whole:
        began = time.monotonic()
        whole.wait_for("start", leave=True)
        start_seconds = time.monotonic() - began
        whole.finish()
        seconds = time.monotonic() - began - start_seconds
    wanted = result(folder / "whole")
    rng, hit, different = random.Random(f"{seed} {method}"), collections.Counter(), []
    done = runs = 0
    while done < kills:
        workdir = f"killed {runs}"
        ended = False
        while not ended:
            with processes(workdir) as process:
                if done < kills:
                    phase = min(PHASES[method], key=lambda name: hit[name])
                    if phase == "start":
                        time.sleep(rng.uniform(0, start_seconds))
                    else:
                        process.wait_for("start", leave=True)
                        if phase != "model":  # the first evaluation writes one
                            time.sleep(rng.uniform(0, seconds / _PARTS))
                        # a new process traces first, which takes longer than a part
                        process.wait_for(phase, most=seconds)
                        time.sleep(rng.choice((0, rng.uniform(0, 0.02))))
                    killed_in = process.kill()
                    if killed_in:
                        hit[killed_in] += 1
                        done += 1
                        continue
                process.finish()
                ended = True
        runs += 1
        found = result(folder / workdir)
        if found != wanted:
            parts = [name for name in wanted if found[name] != wanted[name]]
            different.append(f"run {runs}: {', '.join(parts)}")
    order = {name: hit[name] for name in _NAMES if hit[name]}
    return Outcome(done, runs, order, different)


def result(workdir) -> dict[str, Any]:
    """What must be equal: the digests of the model's files, the logged numbers, and
    the names in the workdir, which show what a kill left behind."""
    workdir = pathlib.Path(workdir)
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {
        "model": {
            str(path.relative_to(workdir)): hashlib.sha256(path.read_bytes()).digest()
            for path in sorted((workdir / "model").rglob("*"))
            if path.is_file()
        },
        "metrics.jsonl": [
            {k: v for k, v in line.items() if not k.endswith(_TIMES)} for line in lines
        ],
        "names": sorted(path.name for path in workdir.iterdir()),
    }


# ---- one process ----


class _Process:
    """A process that trains, and tells the phase in which it is."""

    def __init__(self, context, method, folder, workdir):
        self._phase = context.RawValue("i", 0)
        self._folder = folder
        self._process = context.Process(
            target=train, args=(method, folder, workdir, self._phase)
        )

    def __enter__(self):
        self._process.start()
        return self

    def __exit__(self, *_):
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._process.close()

    def wait_for(self, phase, leave=False, most=600.0):
        """Waits until a phase begins, or ends, or the process does."""
        number, until = _NAMES.index(phase), time.monotonic() + most
        while self._process.exitcode is None and time.monotonic() < until:
            if (self._phase.value == number) != leave:
                return
            time.sleep(0.0005)

    def kill(self) -> str:
        """Kills the process; the phase in which it was, "" where it had ended."""
        self._process.kill()
        self._process.join()
        if self._process.exitcode == 0:
            return ""
        _check(self._process, self._folder, -9)
        return _NAMES[self._phase.value]

    def finish(self):
        """Waits for the end."""
        _finish(self._process, self._folder)


def _finish(process, folder):
    """Waits for the end of a process."""
    process.join()
    _check(process, folder, 0)


def _check(process, folder, code):
    """Refuses a process that ended otherwise."""
    if process.exitcode != code:
        lines = (folder / "log").read_text(errors="replace").splitlines()
        raise ValueError(f"a process ended with {process.exitcode}: {lines[-1:]}")


def train(method, folder, workdir, phase):
    """Trains a method in a process of its own; `phase` gets the number of the phase."""
    _log_to(folder)
    loop.checkpoint.save = _marked(loop.checkpoint.save, "save", phase)
    loop.directory.save = _marked(loop.directory.save, "model", phase)
    make_step = loop.make_step
    loop.make_step = lambda *args: _marked(make_step(*args), "update", phase)
    for cls, call, name in (
        (rollouts.Sampler, "__call__", "sampling"),
        (rollouts.Rollouts, "score", "reward"),
        (rollouts.Scorer, "__call__", "scoring"),
    ):
        setattr(cls, call, _marked(getattr(cls, call), name, phase))
    loop.train(run_of(method, folder), folder / workdir)


def _marked(function, name, phase):
    """The function, which shares the number of its phase while it runs."""

    @functools.wraps(function, updated=())
    def call(*args, **kwargs):
        phase.value = _NAMES.index(name)
        try:
            return function(*args, **kwargs)
        finally:
            phase.value = _NAMES.index("between")

    if hasattr(function, "get_concrete_function"):  # the loop writes the Step's graph
        step: Any = call
        step.get_concrete_function = function.get_concrete_function
    return call


def _log_to(folder):
    """Sends what this process prints to a file, for the message of an error."""
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)


# ---- the runs ----


def prepare(folder):
    """Writes the data, and the model from which all runs start."""
    _log_to(folder)
    words = [f"{a}+{b}={a + b}" for a in range(12) for b in range(12)]
    pairs = [
        {"prompt": f"{a}+{b}=", "chosen": f"{a + b}", "rejected": f"{a + b + 1}"}
        for a in range(8)
        for b in range(8)
    ]
    prompts = [{"prompt": pair["prompt"], "answer": pair["chosen"]} for pair in pairs]
    for name, rows in (("pairs", pairs), ("prompts", prompts)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    model = models.build(
        "transformer_lm", vocab_size=270, context=24, width=32, layers=2, heads=2
    )
    directory.save(folder / "first", model, tokenizers.train(words, 270))


def run_of(method: str, folder) -> Run:
    """The small Run of a method, with several rollouts, checkpoints and models."""
    sampled = {
        "samples": 4,
        "max_new_tokens": 6,
        "rewards": ("1 exact_answer", "0.5 length:3 characters", "0.1 contains:1"),
        "missing_end": -0.5,
        "kl_coefficient": 0.05,
    }
    objective = {
        "reward": Reward,
        "dpo": functools.partial(DPO, reference="cached"),
        "ppo": functools.partial(PPO, epochs=2, kl_target=1.0, **sampled),
        "grpo": functools.partial(GRPO, minibatches=2, **sampled),
    }[method]()
    samples = objective.feed == "rollouts"
    source = f"jsonl:{folder / ('prompts' if samples else 'pairs')}.jsonl"
    return Run(
        model=None
        if method != "reward"
        else headed.Config(body=None, task="regress", classes=0),
        objective=objective,
        init_from=str(folder / "first"),
        data=Data(
            source=source,
            format="prompts" if samples else "preference",
            valid=source,  # what gets better there is written at most evaluations
            batch=8,
        ),
        optimizer=Optimizer(lr=1e-3),
        steps=_STEPS,
        log_every=3,
        eval_every=24,
        save_every=4,
        best="+reward" if samples else "loss",
    )


if __name__ == "__main__":
    run_app(main)
