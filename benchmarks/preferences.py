"""DPO and a reward model on pairs of answers, beside the model before training.

    python -m benchmarks.preferences --model=DIR \
        --source=jsonl:gsm8k_solution_preferences.jsonl.xz

A row of the data has `id`, `prompt`, `chosen` and `rejected`. A fifth of the ids is the
test set (scikit-learn's split of groups, seed 0), and no id is in both sets. DPO trains
the adapters of configs/dpo_lora.py. The reward model of configs/reward.py has the same
body and adapters, or with --full learns all weights. Both train for a fixed number of
steps and evaluate nothing before their last one. Pairs that are too long are dropped.

A pair is right where the chosen answer has the higher score; equal scores are wrong.
The first rows prefer the shorter or the longer answer, without a model. The implicit
reward of DPO is beta times the change of an answer's log-probability. Margins are the
chosen score minus the rejected one. The intervals are of 1,000 bootstrap resamples of
the ids at 95 %, as pairs of one id are alike. The seconds are those of training,
without the start of Python. No text is printed.
"""

import dataclasses
import json
import pathlib
import tempfile
import time
from typing import NamedTuple

import numpy as np
from absl import flags

from zoo import command

with command.quiet_imports():
    from benchmarks.preference_pairs import by_id, read, split
    from configs import dpo_lora, reward
    from trainers import loop
    from trainers.evaluation import preferences
    from trainers.evaluation.request import Request
    from trainers.run import Optimizer, Run
    from trainers.run_flags import run_app
    from zoo import directory
    from zoo.fields import one_of
    from zoo.metrics import bootstrap

METHODS = ("dpo", "reward")
SCORES = {
    "accuracy": "log-probability",
    "accuracy_per_token": "log-probability a token",
}
_SOURCE = flags.DEFINE_string("source", None, "The pairs: jsonl:PATH or tfds:NAME.")
_MODEL = flags.DEFINE_string("model", None, "The model directory to begin from.")
_METHODS = flags.DEFINE_list("methods", [*METHODS], "Only these methods; default all.")
_STEPS = flags.DEFINE_integer("steps", 0, "Of training; 0 is the config's number.")
_FULL = flags.DEFINE_bool("full", False, "The reward model learns all weights.")
_WRITE = flags.DEFINE_string("write", "", "A folder for runs and results.json.")

_LORA_RATE = 1e-4  # of the reward model: adapters need more than all weights


class Scored(NamedTuple):
    """What a model gives to the test pairs.

    Attributes:
      numbers: of the test pairs that were short enough, int [E].
      margins_E: the chosen score minus the rejected one.
      right: name of a score to whether the chosen answer has the higher one, [E].
      dropped: how many pairs were too long.
    """

    numbers: np.ndarray
    margins_E: np.ndarray
    right: dict[str, np.ndarray]
    dropped: int


def main(argv):
    """Prints the table, a row as soon as it is measured."""
    del argv
    for flag in (_SOURCE, _MODEL):
        if not flag.value:
            raise ValueError(f"--{flag.name}: missing.")
    for method in _METHODS.value:
        one_of("--methods", method, METHODS)
    train, test = split(read(str(_SOURCE.value)))
    counts = [(len(part), len({row["id"] for row in part})) for part in (train, test)]
    (trained, train_ids), (tested, test_ids) = counts
    print(
        f"{trained} training pairs of {train_ids} ids, {tested} test pairs of "
        f"{test_ids} ids"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(_WRITE.value or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        specs = {}
        for name, part in (("train", train), ("test", test)):
            path = folder / f"{name}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in part), "utf-8")
            specs[name] = f"jsonl:{path}"
        table = measured(specs, test, folder)
        if _WRITE.value:
            path = folder / "results.json"
            path.write_text(json.dumps(table, indent=2) + "\n", "utf-8")


def measured(specs, test, folder) -> list[dict]:
    """Trains and measures the methods; returns the rows of the table, JSON-able."""
    before, length = scored(_MODEL.value, specs["test"])
    ids = np.array([test[i]["id"] for i in before.numbers])
    print(f"{before.dropped} test pairs of more than {length + 1} tokens are dropped")
    print(f"{'model':10} {'score':24} {'accuracy (interval)':26} {'margin':>9} seconds")
    table = []

    def show(model, score, right_E, margins_E=None, seconds=None):
        rows_I2 = by_id(right_E, ids)
        low, high = bootstrap.interval(rows_I2, bootstrap.ratio)
        accuracy = bootstrap.ratio(rows_I2)
        margin = None if margins_E is None else float(np.mean(margins_E))
        numbers = {"accuracy": accuracy, "low": low, "high": high, "margin": margin}
        table.append({"model": model, "score": score, **numbers, "seconds": seconds})
        cell = f"{accuracy:.4f} ({low:.4f} to {high:.4f})"
        last = ["" if margin is None else f"{margin:.4f}"]
        last.append("" if seconds is None else f"{seconds:.0f}")
        print(f"{model:10} {score:24} {cell:26} {last[0]:>9} {last[1]:>7}", flush=True)

    sizes_E2 = np.array(
        [
            [len(test[i][name]) for name in ("chosen", "rejected")]
            for i in before.numbers
        ]
    )
    show("no model", "fewer characters", sizes_E2[:, 0] < sizes_E2[:, 1])
    show("no model", "more characters", sizes_E2[:, 0] > sizes_E2[:, 1])
    of_model(show, "untrained", before)
    for method in _METHODS.value:
        run = runs(method, specs["train"], length)
        began = time.perf_counter()
        loop.train(run, folder / method)
        seconds = time.perf_counter() - began
        after, _ = scored(folder / method / "model", specs["test"])
        if not np.array_equal(after.numbers, before.numbers):
            raise ValueError(f"{method}: other test pairs are too long than before.")
        if method == "reward":
            right_E = after.right["accuracy"]
            show(method, "reward", right_E, after.margins_E, seconds)
        else:
            margins_E = run.objective.beta * (after.margins_E - before.margins_E)
            right_E = margins_E > 0
            show(method, "implicit reward", right_E, margins_E, seconds)
            of_model(show, method, after)
        for name, best_E in before.right.items():
            change = bootstrap.paired(
                by_id(right_E, ids), by_id(best_E, ids), bootstrap.ratio
            )
            print(
                f"  accuracy minus that of {SCORES[name]}, untrained: "
                f"{change.value:+.4f} ({change.low:+.4f} to {change.high:+.4f}), "
                f"p {change.p_value:.4f}"
            )
    return table


def of_model(show, name: str, found: Scored) -> None:
    """Shows the scores of a language model; margins are those of the sums."""
    for measure, score in SCORES.items():
        margins_E = found.margins_E if measure == "accuracy" else None
        show(name, score, found.right[measure], margins_E)


def runs(method: str, source: str, length: int) -> Run:
    """The Run of a method: its config, on the training pairs, without evaluation."""
    run = dpo_lora.get_config()
    if method == "reward":
        lora, run = run.lora, reward.get_config()
        if not _FULL.value:
            run.lora = lora
            run.optimizer = Optimizer(
                lr=_LORA_RATE, warmup=20, final=0.0, weight_decay=0.0
            )
    data = dataclasses.replace(run.data, source=source, hold_out=0.0, length=length)
    return dataclasses.replace(
        run,
        data=data,
        init_from=_MODEL.value,
        steps=_STEPS.value or run.steps,
        eval_every=0,
        save_every=0,
        best="loss",
    )


def scored(where, source: str) -> tuple[Scored, int]:
    """What a model gives to the test pairs, and the most inputs of an answer."""
    loaded = directory.load(where)
    length = dpo_lora.get_config().data.length
    length = min(length, loaded.model.limit or length)
    request = Request(
        source=source, format="preference", too_long="drop", length=length
    )
    found = preferences.evaluate(loaded, request)
    right = {
        name: np.asarray(measured.rows_N) > 0
        for name, measured in found.measures.items()
        if name in SCORES
    }
    margins_E = np.asarray(found.measures["margin"].rows_N)
    dropped = found.facts["dropped"]
    return Scored(np.array(found.numbers), margins_E, right, dropped), length


if __name__ == "__main__":
    run_app(main)
