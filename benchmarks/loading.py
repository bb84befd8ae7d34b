"""Loading a model directory, compared with from_pretrained of transformers.

    python -m benchmarks.loading --model=DIR --peer_python=PYTHON

Both sides read the same directory of a causal language model, with its tokenizer, into
float32. Each process loads twice: the first time includes the imports of the libraries,
the second does not. transformers maps a float32 file into memory, and reads a weight at
its first use. So the benchmark also measures the time until every weight was read once,
and the processor time of that.

The sides run in turn, each in its own processes. The ratios are those of the medians.
PYTHON has torch and transformers. The system caches the file in the first round.
"""

import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time

from absl import app, flags

_MODEL = flags.DEFINE_string("model", None, "A directory.", required=True)
_PEER = flags.DEFINE_string("peer_python", sys.executable, "It has transformers.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Processes of each side.")
_SIDE = flags.DEFINE_bool("ours", False, "Runs our side once.")

_TIMES = ("first", "again", "again and read", "processor")


def main(argv):
    del argv
    if _SIDE.value:
        print(json.dumps(ours(_MODEL.value)))
        return
    commands = {
        "ours": [sys.executable, "-m", "benchmarks.loading", "--ours"],
        "theirs": [
            _PEER.value,
            str(pathlib.Path(__file__).with_name("loading_peer.py")),
        ],
    }
    commands["ours"].append(f"--model={_MODEL.value}")
    commands["theirs"].append(_MODEL.value)
    found = {side: [] for side in commands}
    for _ in range(_ROUNDS.value + 1):
        for side, command in commands.items():
            out = subprocess.run(command, capture_output=True, text=True, check=True)
            found[side].append(json.loads(out.stdout.splitlines()[-1]))
            print(f"{side:7}", found[side][-1])
    for name in _TIMES:
        a, b = (
            statistics.median(result[name] for result in results[1:])
            for results in (found["ours"], found["theirs"])
        )
        print(f"{name:15} ours {a:.3f} s, transformers {b:.3f} s, ratio {a / b:.2f}")
    peak = max(result["memory"] for result in found["ours"])
    print(f"peak extra memory of our first load: {peak:.2f} of the float32 weights")


def ours(path):
    import numpy as np
    import tensorflow as tf

    from zoo import directory

    tf.constant(0.0)
    before, result = peak(), {}
    for name in ("first", "again"):
        loaded = None  # lets go of the one before
        began, spent = time.perf_counter(), time.process_time()
        loaded = directory.load(path)
        result[name] = time.perf_counter() - began
        if name == "first":
            after = peak()
    result["sum"] = sum(float(tf.reduce_sum(v.value)) for v in loaded.model.weights)
    result["again and read"] = time.perf_counter() - began
    result["processor"] = time.process_time() - spent
    size = sum(4 * np.prod(v.shape) for v in loaded.model.weights)
    return {**result, "memory": (after - before) / size}


def peak():
    """The most memory that this process has had, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    app.run(main)
