"""Trains a config with several values of some fields, and compares the results.

    python -m trainers.sweep --config=configs/X.py --workdir=DIR \\
        --over="optimizer.lr=1e-3,3e-4" --over="model.dropout=0,0.1"

The trials run one after the other, each in a workdir of its own: DIR/trial_000 and so
on. The same command goes on where a sweep was stopped, and tries failed trials again.
sweep.json and sweep.md have the results, and `tensorboard --logdir=DIR` shows them
under HPARAMS.
"""

import gc
import pathlib
import sys

from absl import flags

from trainers import run_flags
from zoo import command

_CONFIG = run_flags.define_config()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The folder of the sweep; the same command continues it."
)
_OVER = flags.DEFINE_multi_string(
    "over", [], "FIELD=VALUE,VALUE: a field of the config and its values; may repeat."
)
_MODE = flags.DEFINE_enum(
    "mode", "grid", ["grid", "random"], "All combinations, or some random ones."
)
_TRIALS = flags.DEFINE_integer("trials", 0, "How many; of --mode=random.")
_SEED = flags.DEFINE_integer("seed", 0, "Which ones; of --mode=random.")


def main(argv):
    del argv
    run = run_flags.run_of(_CONFIG)
    with command.quiet_imports():
        import keras
        import rich.console

        from trainers import loop, workdir
        from trainers.run import to_json
        from trainers.sweeps import plan, results
        from zoo import files

    if not _WORKDIR.value:
        raise ValueError("--workdir: missing; give a new or an empty folder.")
    over = plan.parse(_OVER.value)
    plan.check(run, over)
    values = plan.trials(over, _MODE.value, _TRIALS.value, _SEED.value)
    names = [f"trial_{i:03d}" for i in range(len(values))]
    trials = [results.Trial(*pair) for pair in zip(names, values, strict=True)]
    decided = {"config": to_json(run), "over": over, "best": run.best}
    decided |= {"mode": _MODE.value, "seed": _SEED.value}
    folder = pathlib.Path(_WORKDIR.value)
    if not (folder / results.FILE).exists():
        files.refuse_full(folder)
    with workdir.writing(folder):
        trials = results.read(folder, decided, trials)
        folder.mkdir(parents=True, exist_ok=True)
        results.write(folder, decided, trials)
    for i, trial in enumerate(trials):
        if trial.status == "done":
            continue
        place = folder / trial.name
        print(f"{trial.name}: {trial.values}")
        try:
            one = plan.override(run, trial.values)
            with workdir.writing(place):
                ended = loop.train(one, place)
            if ended.interrupted:
                sys.exit(128 + ended.interrupted)
            trials[i] = results.finished(trial, place, run.best)
        except ValueError as error:
            trials[i] = trial._replace(status="failed", error=str(error))
            print(f"{trial.name}: failed: {error}")
        with workdir.writing(folder):
            results.write(folder, decided, trials)
        keras.backend.clear_session()  # the memory of this trial
        gc.collect()
    rich.console.Console().print(results.table(trials, run.best))
    best = results.ranked(trials, run.best)[0]
    if best.score is None:
        raise ValueError(f"{folder}: no trial has a {run.best.removeprefix('+')}.")
    print(f"best: {folder / best.name / 'model'}")


def run():
    run_flags.run_app(main)


if __name__ == "__main__":
    run()
