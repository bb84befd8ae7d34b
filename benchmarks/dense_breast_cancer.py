"""The dense net and logistic regression on scikit-learn's breast cancer data.

    python -m benchmarks.dense_breast_cancer [--neighbours]

Both sides use the same folds: 5-fold stratified cross-validation with three seeds. The
net is the model of configs/dense_breast_cancer.py, trained by the project's own Step,
batches and optimizer, with one setting for all folds. `DenseNet.adapt` scales the
features by the training rows. No test row is used before the last step. The setting was
chosen on the folds of other seeds (100 to 119). --neighbours shows how little the
choice matters.
"""

import dataclasses
import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from configs.dense_breast_cancer import get_config
from trainers import optimizers
from trainers import roles as roles_lib
from trainers import run as config
from trainers.run_flags import run_app
from trainers.step import make_step
from zoo.data import batches, tables

_NEIGHBOURS = flags.DEFINE_bool(
    "neighbours", False, "Also measure settings that differ in one field."
)
_FOLDS = 5
_SEEDS = (0, 1, 2)
_CHANGES = (
    {"l2": 0.0},
    {"l2": 0.0075},
    {"l2": 0.01},
    {"l2": 0.015},
    {"l2": 0.02},
    {"widths": (16,)},
    {"widths": (64,)},
    {"widths": (32, 32)},
    {"activation": "silu"},
    {"activation": "tanh"},
    {"dropout": 0.2},
    {"lr": 3e-3},
    {"lr": 1e-2},
    {"batch": 16},
    {"batch": 64},
    {"epochs": 20},
    {"epochs": 80},
)


class Fold(NamedTuple):
    """Rows to learn from and rows to be tested on."""

    seed: int
    train_NF: np.ndarray
    train_N: np.ndarray
    test_NF: np.ndarray
    test_N: np.ndarray


def main(argv):
    del argv
    run = get_config()
    folds = make_folds(tables.table(run.data.source))
    began = time.perf_counter()
    ours = dense_net(run, folds)
    theirs = [logistic_regression(fold) for fold in folds]
    print(f"accuracy, {_FOLDS}-fold cross-validation   mean     ", end="")
    print("  ".join(f"seed {seed}" for seed in _SEEDS))
    report("dense net", ours)
    report("logistic regression", theirs)
    report("difference", np.subtract(ours, theirs))
    print(f"{time.perf_counter() - began:.0f} s")
    if _NEIGHBOURS.value:
        print("\nthe dense net with one field changed")
        for change in _CHANGES:
            name = ", ".join(f"{field}={value}" for field, value in change.items())
            report(name, dense_net(changed(run, change), folds))


def make_folds(table: tables.Table) -> list[Fold]:
    """All folds of all seeds."""
    x_NF, y_N = table.features_NF, table.labels_N
    return [
        Fold(seed, x_NF[train], y_N[train], x_NF[test], y_N[test])
        for seed in _SEEDS
        for train, test in StratifiedKFold(
            _FOLDS, shuffle=True, random_state=seed
        ).split(x_NF, y_N)
    ]


def logistic_regression(fold: Fold) -> float:
    """The accuracy of scikit-learn's, in double precision."""
    peer = make_pipeline(StandardScaler(), LogisticRegression())
    peer.fit(fold.train_NF.astype(np.float64), fold.train_N)
    return peer.score(fold.test_NF.astype(np.float64), fold.test_N)


def dense_net(run: config.Run, folds: list[Fold]) -> list[float]:
    """The accuracy of the Run's model on each fold, after its last step."""
    # What trainers.loop does with a Run, but for files, logs and evaluations.
    config.check(run)
    rows = len(folds[0].train_N)  # one fewer than in some folds: as many batches
    steps = run.steps or -(-run.epochs * rows // run.data.batch)
    start = roles_lib.start(run)
    roles = roles_lib.make(run, start)
    model, variables = roles["policy"], roles_lib.learning(run, roles)
    optimizer = optimizers.build(run.optimizer, steps, variables)
    unused = [v.numpy() for v in optimizer.variables]
    strategy = tf.distribute.get_strategy()
    step = make_step(
        strategy,
        roles,
        run.objective,
        optimizer,
        variables,
        run.accumulate,
        run.clip_norm,
    )
    accuracies = []
    for fold in folds:
        # One compiled Step serves all folds: each begins with a fresh model's weights.
        seed = run.seed + fold.seed
        keras.utils.set_random_seed(seed)
        model.set_weights(roles_lib.make(run, start)["policy"].get_weights())
        for variable, value in zip(optimizer.variables, unused, strict=True):
            variable.assign(value)
        model.adapt(fold.train_NF)
        data = batches.table_batches(fold.train_NF, fold.train_N, run.data.batch, seed)
        for batch in data.take(steps):
            step(batch)
        answers_N = np.argmax(model(fold.test_NF), -1)
        accuracies.append(float(np.mean(answers_N == fold.test_N)))
    return accuracies


def changed(run: config.Run, change: dict) -> config.Run:
    """The Run with other values, wherever in it the fields are."""
    for part in ("model", "data", "optimizer"):
        holder = getattr(run, part)
        own = {k: v for k, v in change.items() if hasattr(holder, k)}
        run = dataclasses.replace(run, **{part: dataclasses.replace(holder, **own)})
    return dataclasses.replace(
        run, **{k: v for k, v in change.items() if hasattr(run, k)}
    )


def report(name: str, accuracies) -> None:
    """A line: the mean over all folds, then the mean of each seed's."""
    by_seed = np.reshape(accuracies, (len(_SEEDS), _FOLDS)).mean(1)
    values = "  ".join(f"{value:.4f}" for value in by_seed)
    print(f"{name:38}{by_seed.mean():.4f}   {values}", flush=True)


if __name__ == "__main__":
    run_app(main)
