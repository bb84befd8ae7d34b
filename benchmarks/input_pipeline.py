"""The input pipeline on shards: time to the first batch, tokens a second, data wait.

    python -m benchmarks.input_pipeline --gigabytes=10 --output=DIR

1. *First batch*: from `shards.read` to the first batch of 32 windows of 1,024 tokens.
   The process has TensorFlow imported. The files are dropped from the system's cache.
2. *Tokens a second*: the same batches, with all threads of the process on one core. The
   rate by the wall clock includes what other processes take from that core. The rate by
   the processor's time does not.
3. *Data wait*: of a training run of a small transformer on the shards, the share of its
   time in which a step waits for its batch, as `metrics.jsonl` has it.

The folder is written first. It has `--distinct` shards of 8 million random tokens, and
links to them up to the size that is asked for, so that it needs less room on the disk.
"""

import json
import os
import pathlib
import shutil
import statistics
import time

from absl import app, flags

from benchmarks import processes

_GIGABYTES = flags.DEFINE_float("gigabytes", 10, "Of the tokens of the folder.")
_DISTINCT = flags.DEFINE_integer("distinct", 20, "Shards with tokens of their own.")
_OUTPUT = flags.DEFINE_string("output", None, "A new folder.", required=True)
_BATCHES = flags.DEFINE_integer("batches", 2000, "Batches of the second measurement.")
_STEPS = flags.DEFINE_integer("steps", 100, "Steps of the third.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Processes of each measurement.")
_SIDE = flags.DEFINE_string("side", "", "Measures once: first, rate or wait.")

_TOKENS = 2048 * 4096  # of a shard
_LENGTH, _BATCH = 1024, 32


def main(argv):
    del argv
    folder = pathlib.Path(_OUTPUT.value)
    if _SIDE.value:
        print(json.dumps(SIDES[_SIDE.value](folder)))
        return
    write(folder)
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
    for side in SIDES:
        flag = [f"--output={folder}", f"--batches={_BATCHES.value}"]
        command = processes.own(
            "input_pipeline", side, *flag, f"--steps={_STEPS.value}"
        )
        found = [processes.result(command) for _ in range(_ROUNDS.value)]
        for name in found[0]:
            values = [one[name] for one in found]
            print(f"{name:40} {statistics.median(values):14,.4f} of {sorted(values)}")


def write(folder):
    """Writes the folder of shards."""
    import numpy as np

    from zoo.data import shards
    from zoo.text import tokenizer as tokenizers

    rng = np.random.default_rng(0)
    tokenizer = tokenizers.train(["a b c"], 257)
    count, entries = max(round(_GIGABYTES.value * 1e9 / (2 * _TOKENS)), 1), []
    for number in range(count):
        name = f"train-{number:05}"
        if number < _DISTINCT.value:
            documents = rng.integers(0, 257, (_TOKENS // 1024, 1023))
            entry = shards.write(folder, name, documents, tokenizer, documents.size)
        else:
            first = entries[number % _DISTINCT.value]
            entry = {**first, "file": f"{name}.tfrecord"}
            stem = first["file"].removesuffix("tfrecord")
            for suffix in ("tfrecord", "documents.npy", "crc32c.npy"):
                os.link(folder / f"{stem}{suffix}", folder / f"{name}.{suffix}")
        entries.append(entry)
    shards.finish(folder, {"train": entries}, tokenizer)
    total = sum(path.stat().st_size for path in folder.glob("*.tfrecord"))
    print(f"{count} shards, {total / 1e9:.1f} GB, {count * _TOKENS:,} tokens")


def first(folder) -> dict[str, float]:
    """Seconds to the first batch."""
    import tensorflow as tf

    from zoo.data import batches, shards

    tf.constant(0.0)
    for path in folder.iterdir():
        if path.is_file():
            drop(path)
    began, spent = time.perf_counter(), time.process_time()
    stream = shards.read(folder).stream("train")
    opened = time.perf_counter() - began
    next(iter(batches.stream_batches([stream], _LENGTH, _BATCH, seed=0)))
    seconds = time.perf_counter() - began
    return {
        "open the folder, s": opened,
        "first batch, s": seconds,
        "first batch, s of the processor": time.process_time() - spent,
    }


def drop(path):
    """Drops a file from the system's cache."""
    number = os.open(path, os.O_RDONLY)
    os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(number)


def rate(folder) -> dict[str, float]:
    """Tokens a second on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import tensorflow as tf

    from zoo.data import batches, shards

    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    stream = shards.read(folder).stream("train")
    found = iter(batches.stream_batches([stream], _LENGTH, _BATCH, seed=0))
    for _ in range(50):
        next(found)
    began, spent = time.perf_counter(), time.process_time()
    for _ in range(_BATCHES.value):
        next(found)
    tokens = _BATCHES.value * _BATCH * _LENGTH
    return {
        "tokens a second, wall clock": tokens / (time.perf_counter() - began),
        "tokens a second, processor": tokens / (time.process_time() - spent),
    }


def wait(folder) -> dict[str, float]:
    """The share of a run's time in which its steps wait for data, in percent."""
    from trainers import loop
    from trainers.objectives import LanguageModel
    from trainers.run import Data, Run
    from zoo.models import transformer_lm

    workdir = folder.with_name(f"{folder.name}.run")
    shutil.rmtree(workdir, ignore_errors=True)
    run = Run(
        model=transformer_lm.Config(
            vocab_size=257, context=256, width=128, layers=2, heads=4
        ),
        objective=LanguageModel(),
        data=Data(source=f"shards:{folder}", batch=8),
        steps=_STEPS.value,
        log_every=_STEPS.value // 5,
    )
    loop.train(run, workdir)
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    shutil.rmtree(workdir)
    # the first line has the tracing of the step, and the first batch
    waits = [line["data_wait"] for line in found if "data_wait" in line][1:]
    speeds = [line["tokens_per_second"] for line in found if "data_wait" in line][1:]
    return {
        "data wait, %": 100 * statistics.mean(waits),
        "a step, ms": 8 * 256 * 1000 / statistics.mean(speeds),
    }


SIDES = {"first": first, "rate": rate, "wait": wait}


if __name__ == "__main__":
    app.run(main)
