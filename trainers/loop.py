"""The training loop, read from top to bottom.

A run is a function of its Run: the same Run in the same place goes on where it was
stopped, however it was stopped, and ends with the same bits.
"""

import contextlib
import time
from typing import NamedTuple

import keras

from trainers import checkpoint, feeds, memory, optimizers, workdir
from trainers import roles as roles_lib
from trainers import strategy as strategy_lib
from trainers.feeds.feed import check_period
from trainers.loop_state import LoopState, finite
from trainers.metric_writer import MetricWriter
from trainers.run import Run, check, to_json
from trainers.signals import Signals
from trainers.step import make_step
from zoo import directory
from zoo.directory import adapter_writer


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


@strategy_lib.dtype_policy_restored()
def train(run: Run, path) -> Result:
    """Trains a model and leaves its model directory in `path`/model.

    With LoRA, the adapters are merged into it, and are in `path`/adapter alone.

    Args:
      run: what to do.
      path: the workdir: new, empty, or begun by the same Run.

    Raises:
      ValueError: the Run cannot be done; nothing was written then.
    """
    check(run)
    workdir.check(path, run)

    # ---- data, models, optimizer: all that can be refused comes first ----
    keras.utils.set_random_seed(run.seed)
    strategy_lib.set_precision(run.precision)
    start = roles_lib.start(run)
    feed = feeds.make(run, start)
    with contextlib.ExitStack() as until_end:
        until_end.callback(feed.close)
        start = roles_lib.with_labels(start, feed.labels)
        batch_rows = run.data.batch * feed.period
        steps = run.steps or -(-run.epochs * feed.rows // batch_rows) * feed.period
        check_period(run, steps, feed.period)
        strategy = strategy_lib.make_strategy(run)
        with strategy.scope():
            roles = roles_lib.make(run, start)
            variables = roles_lib.learning(run, roles)
            memory.check(run, start.config, variables, feed.length)
            paths = roles_lib.paths(run, roles, variables)
            optimizer = optimizers.build(run.optimizer, steps, variables, paths)
        folder = workdir.begin(path, run)
        feed.prepare(roles)
        with workdir.writing(folder):
            feed.cache(roles, folder)

        # ---- where an earlier process stopped ----
        changing = roles_lib.changing(run, roles, variables)
        owners = {**changing, "optimizer": optimizer.variables, "feed": feed.variables}
        saved = checkpoint.named(owners)
        first, remembered = checkpoint.restore(
            folder / "checkpoints", saved, feed.fingerprint
        )
        strategy_lib.separate_random_streams(strategy, saved.values())
        state = LoopState(**remembered)
        stopped = bool(run.patience) and state.worse >= run.patience
        if state.done and (first >= steps or stopped):
            return Result(first, state.last)
        state.done = False  # a finished run may get more steps
        batches = strategy_lib.distribute(strategy, feed.train(first, roles))
        step_of = make_step(
            strategy,
            roles,
            run.objective,
            optimizer,
            variables,
            run.accumulate,
            run.clip_norm,
            getattr(batches, "element_spec", None),  # a generator has none
        )

        def write_checkpoint(step):
            place = folder / "checkpoints"
            with workdir.writing(place):
                checkpoint.save(place, step, saved, state.to_json(), feed.fingerprint)

        def averaged():
            return optimizers.averaged(optimizer, variables)

        def write_model():
            model = roles[run.objective.trains[0]]
            with feed.kept(roles):
                place, text = folder / "model", feed.tokenizer
                with workdir.writing(place):
                    source = feed.source_tokenizer
                    directory.save(place, model, text, start.generation, True, source)
                if run.lora.rank:
                    place, base = folder / "adapter", run.init_from
                    with workdir.writing(place):
                        adapter_writer.save(place, model, run.lora, base, replace=True)

        unit, units = feed.units
        fields = to_json(run)
        writer = until_end.enter_context(
            MetricWriter(folder, first, steps, unit, fields)
        )
        signals = until_end.enter_context(Signals())

        def evaluate(step, metrics_of):
            with averaged():
                metrics = metrics_of(roles)
                writer.log(step, "eval", metrics)
                writer.text(step, "sample", feed.show(roles))
                writer.pictures(step, feed.pictures())
                state.last = finite(metrics)
                if state.improve(metrics, run.best):
                    write_model()
            return metrics

        metrics_of = feed.evaluate if run.eval_every else None
        if metrics_of and not first:
            evaluate(0, metrics_of)  # the level before training
        clock, waited, timed, pending = time.perf_counter(), 0.0, 0, []
        step, metrics = first, {}
        for step in range(first + 1, steps + 1):
            # ---- one step ----
            asked = time.perf_counter()
            with feed.reading():
                batch = next(batches)
            waited += time.perf_counter() - asked
            pending += [feed.metrics(), step_of(batch)]
            timed += 1
            if step == 1:
                writer.graph(step_of, batch)

            # ---- log: means over the steps since the last line ----
            if _due(step, run.log_every, steps):
                state.add(pending)
                seconds = time.perf_counter() - clock
                metrics = state.means()
                metrics[f"{unit}_per_second"] = timed * units / seconds
                metrics["data_wait"] = waited / seconds
                writer.log(step, "train", metrics)
                state.last = metrics
                clock, waited, timed = time.perf_counter(), 0.0, 0

            # ---- evaluate, keep the best, stop early ----
            if metrics_of and _due(step, run.eval_every, steps):
                state.add(pending)
                paused = time.perf_counter()
                metrics = evaluate(step, metrics_of)
                clock += time.perf_counter() - paused
            if run.patience and state.worse >= run.patience:
                writer.say(f"step {step}: no better for {run.patience} evaluations.")
                break

            # ---- save, and leave when asked to ----
            asked_to_leave = signals.seen and step % feed.period == 0
            if asked_to_leave or _due(step, run.save_every, 0):
                state.add(pending)
                paused = time.perf_counter()
                write_checkpoint(step)
                clock += time.perf_counter() - paused
            if asked_to_leave:
                writer.say(f"step {step}: saved, stopped by signal {signals.seen}.")
                return Result(step, metrics, signals.seen)

        if state.best is None:
            with averaged():
                write_model()
        state.done = True
        write_checkpoint(step)
    return Result(step, state.last)


def _due(step: int, every: int, last: int) -> bool:
    """Whether something that is done every so many steps is due now."""
    return bool(every) and (step % every == 0 or step == last)
