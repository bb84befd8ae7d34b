"""The training loop, read from top to bottom.

A run is a function of its Run: the same Run in the same place goes on where it was
stopped, however it was stopped, and ends with the same bits.
"""

import functools
import json
import math
import signal
import time
from typing import NamedTuple

import keras
import tensorflow as tf

from trainers import checkpoint, evaluation, feeds, optimizers, workdir
from trainers import roles as cast_lib
from trainers.metric_writer import MetricWriter
from trainers.run import Run, check, to_json
from trainers.step import make_step
from zoo import directory
from zoo.decode import generate

_SAMPLE = 48  # tokens that a run shows of what it has learnt


class Result(NamedTuple):
    """How a run ended.

    Attributes:
      step: how many steps were done.
      metrics: of the last evaluation, or of the last step where there was none.
      interrupted: the number of the signal that stopped it, or 0.
    """

    step: int
    metrics: dict[str, float]
    interrupted: int = 0


def train(run: Run, path) -> Result:
    """Trains a model and leaves its model directory in `path`/model.

    Args:
      run: what to do.
      path: the workdir: new, empty, or begun by the same Run.

    Raises:
      ValueError: the Run cannot be done; nothing was written then.
    """
    check(run)

    # ---- data, models, optimizer: all that can be refused comes first ----
    keras.utils.set_random_seed(run.seed)
    policy = {"bfloat16": "mixed_bfloat16", "float32": "float32"}[run.precision]
    keras.config.set_dtype_policy(policy)
    feed = feeds.make(run)
    steps = run.steps or run.epochs * feed.steps_per_epoch
    strategy = make_strategy(run)
    with strategy.scope():
        cast = cast_lib.make(run)
        learning = [m for name, m in cast.items() if name in run.objective.trains]
        variables = [v for m in learning for v in m.trainable_variables]
        optimizer = optimizers.build(run.optimizer, steps, variables)
    model = learning[0]
    feed.prepare(model)
    folder = workdir.begin(path, to_json(run))
    step_of = make_step(
        strategy, cast, run.objective, optimizer, run.accumulate, run.clip_norm
    )
    evaluate = evaluation.make_evaluate(cast, run.objective)

    # ---- where an earlier process stopped ----
    saved = checkpoint.variables_of(cast, optimizer)
    start, memory = checkpoint.restore(folder / "checkpoints", saved)
    fresh = {"best": None, "worse": 0, "window": {}, "last": {}, "done": False}
    memory = {**fresh, **memory}
    if memory["done"]:
        return Result(start, memory["last"])
    batches = feed.train(start)
    if strategy.num_replicas_in_sync > 1:
        batches = strategy.experimental_distribute_dataset(batches)
    batches = iter(batches)

    def keep(step, done=False):
        memory["done"] = done
        checkpoint.save(folder / "checkpoints", step, saved, memory)

    def write_model():
        directory.save(folder / "model", model, feed.tokenizer, replace=True)

    text = json.dumps(to_json(run), indent=2)
    unit, units = feed.units
    with MetricWriter(folder, start, steps, unit, text) as board, Signals() as signals:
        clock, waited, timed, pending = time.perf_counter(), 0.0, 0, []
        step, metrics = start, {}
        for step in range(start + 1, steps + 1):
            # ---- one step ----
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            pending.append(step_of(batch))
            timed += 1

            # ---- log: means over the steps since the last line ----
            if _due(step, run.log_every, steps):
                _gather(memory["window"], pending)
                seconds = time.perf_counter() - clock
                metrics = _means(memory["window"])
                metrics[f"{unit}_per_second"] = timed * units / seconds
                metrics["data_wait"] = waited / seconds
                board.log(step, "train", metrics)
                memory["window"] = {}
                memory["last"] = metrics
                clock, waited, timed = time.perf_counter(), 0.0, 0

            # ---- evaluate, keep the best, stop early ----
            if feed.valid is not None and _due(step, run.eval_every, steps):
                _gather(memory["window"], pending)
                paused = time.perf_counter()
                metrics = evaluate(feed.valid, feed.valid_bytes)
                board.log(step, "eval", metrics)
                memory["last"] = _finite(metrics)
                if feed.tokenizer is not None:
                    board.text(step, "sample", _sample(model, feed.tokenizer))
                if _better(metrics["loss"], memory["best"]):
                    memory["best"], memory["worse"] = metrics["loss"], 0
                    write_model()
                else:
                    memory["worse"] += 1
                clock += time.perf_counter() - paused
            if run.patience and memory["worse"] >= run.patience:
                board.say(f"step {step}: no better for {run.patience} evaluations.")
                break

            # ---- save, and leave when asked to ----
            if signals.seen or _due(step, run.save_every, 0):
                _gather(memory["window"], pending)
                paused = time.perf_counter()
                keep(step)
                clock += time.perf_counter() - paused
            if signals.seen:
                board.say(f"step {step}: saved, stopped by signal {signals.seen}.")
                return Result(step, metrics, signals.seen)

        if memory["best"] is None:
            write_model()
        keep(step, done=True)
    return Result(step, memory["last"])


def make_strategy(run: Run) -> tf.distribute.Strategy:
    """One device, or the Run's number of mirrored ones.

    Raises:
      ValueError: there are not so many devices.
    """
    devices = tf.config.list_logical_devices("GPU")
    devices = devices or tf.config.list_logical_devices("CPU")
    count = run.replicas or len(devices)
    if count > len(devices):
        raise ValueError(
            f"config.replicas: {count}, at most {len(devices)} devices are here."
        )
    if run.data.batch % (count * run.accumulate):
        raise ValueError(
            f"config.data.batch: {run.data.batch}, a multiple of replicas {count} x "
            f"accumulate {run.accumulate} allowed."
        )
    if count == 1:
        return tf.distribute.get_strategy()
    return _mirrored(tuple(d.name for d in devices[:count]))


@functools.cache
def _mirrored(devices):
    # one for the whole process: the sums of two would go by the same names, and those
    # of a second model fail by their shapes
    return tf.distribute.MirroredStrategy(list(devices))


class Signals:
    """Remembers the first SIGTERM or SIGINT; the second acts as it always did."""

    def __enter__(self):
        self.seen = 0
        self._before = {
            number: signal.signal(number, self._note)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        return self

    def _note(self, number, _):
        self.seen = number
        signal.signal(number, self._before[number])

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _due(step: int, every: int, last: int) -> bool:
    return bool(every) and (step % every == 0 or step == last)


def _better(loss: float, best: float | None) -> bool:
    return math.isfinite(loss) and (best is None or loss < best)


def _sample(model, tokenizer) -> str:
    """What the model says to an empty prompt, which takes one position."""
    room = model.limit - 1 if model.limit else _SAMPLE
    if room < 1:
        return ""
    options = directory.GenerationConfig(max_new_tokens=min(room, _SAMPLE))
    return generate(model, tokenizer, [""], options)[0].text


def _gather(window, pending) -> None:
    """Moves steps' metrics to the sums of the window, which JSON keeps exactly.

    JSON has no NaN, and a mean over a step that was skipped says nothing: numbers
    that are not finite are left out, and `skipped` counts their steps.
    """
    for metrics in pending:
        for name, value in _finite(metrics).items():
            total, count = window.get(name, (0.0, 0))
            window[name] = (total + value, count + 1)
    pending.clear()


def _finite(metrics) -> dict[str, float]:
    values = {name: float(value) for name, value in metrics.items()}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _means(window) -> dict[str, float]:
    return {name: total / count for name, (total, count) in window.items()}
