"""An encoder-decoder, compared with transformers on torch: training and decoding.

    python -m benchmarks.encoder_decoder --peer_python=PYTHON

The model has Marian's layout: post-norm, one table, 3 + 3 blocks of width 256, and a
vocabulary of 8192. It is random, and both sides read the same model directory. PYTHON
has torch and transformers. The works are:

    train   a step with AdamW on 32 pairs of 48 tokens; the losses of all steps must
            agree within 1e-3
    8x1     greedy decoding of 8 sources
    1x4     beam search with 4 beams of one source, and so on

Each decoding writes 128 tokens, and both sides must write the same ones. The sides run
in turn, each work in its own process. Seconds are those of a step: the median of a
process in training, the best repetition in decoding. The ratio is that of the medians
of the processes.

    python -m benchmarks.encoder_decoder --new=64,128,256,512 --works=1x4

Shows how our time and memory grow with the new tokens: milliseconds a token, the
megabytes by which a call raises the peak of its process, and the slope of both totals
in a log-log plot, which is 1 for linear growth.
"""

import functools
import json
import math
import pathlib
import resource
import statistics
import sys
import tempfile
import time

from absl import app, flags

from benchmarks import processes

_PEER = flags.DEFINE_string("peer_python", sys.executable, "It has transformers.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Processes of each side.")
_WORKS = flags.DEFINE_list(
    "works", ["train", "1x1", "8x1", "1x4"], "train, or rows x beams."
)
_NEW = flags.DEFINE_list("new", [], "New tokens; without them both sides run.")
_SIDE = flags.DEFINE_string("side", "", "Runs one work of ours, or `write`.")
_FOLDER = flags.DEFINE_string("folder", "", "Where a side finds and leaves files.")

_MODEL = {"vocab_size": 8192, "context": 1024, "width": 256, "heads": 4}
_MODEL |= {"encoder_layers": 3, "layers": 3, "positions": "sinusoidal"}
_MODEL |= {"norm_place": "post", "norm_epsilon": 1e-5, "activation": "silu"}
_MODEL |= {"scaled_embedding": True, "head_bias": True, "start_id": 1}
_SETTINGS = {"rate": 1e-3, "steps": 12, "untimed": 2, "new": 128, "repeat": 3}
# so small an epsilon has one meaning before and after the bias correction of Adam
_SETTINGS |= {"start": 1, "padding": 0, "epsilon": 1e-12}
_ROWS, _LENGTH = 32, 48


def main(argv):
    del argv
    if _SIDE.value:
        folder = pathlib.Path(_FOLDER.value)
        sides = {"write": write, "train": train}
        sides |= {
            f"{work} grows": functools.partial(grow, work) for work in _WORKS.value
        }
        if _SIDE.value in sides:
            print(json.dumps(sides[_SIDE.value](folder)))
        else:
            print(json.dumps(decode(folder, *map(int, _SIDE.value.split("x")))))
        return
    with tempfile.TemporaryDirectory() as folder:
        place = f"--folder={folder}"
        processes.result(processes.own("encoder_decoder", "write", place))
        for work in _WORKS.value:
            if _NEW.value:
                show_growth(work, place)
            else:
                compare(work, folder)


def compare(work, folder):
    """Runs the sides of a work in turn and prints their ratio."""
    peer = str(pathlib.Path(__file__).with_name("encoder_decoder_peer.py"))
    place = f"--folder={folder}"
    sides = {
        "ours": processes.own("encoder_decoder", work, place),
        "transformers": [_PEER.value, peer, folder, work],
    }

    def check(results):
        ours, theirs = results.values()
        if work == "train":
            pairs = zip(ours["losses"], theirs["losses"], strict=True)
            same = max(abs(a - b) for a, b in pairs) <= 1e-3
        else:
            same = ours["answers"] == theirs["answers"]
        if not same:
            raise SystemExit(f"{work}: the sides differ: {ours} and {theirs}")

    found = processes.in_turn(sides, _ROUNDS.value, check)
    seconds = {side: [r["seconds"] for r in own] for side, own in found.items()}
    processes.report(f"encoder-decoder, {work}", seconds)


def show_growth(work, place):
    """Prints time and memory for each number of new tokens, and their slopes."""
    found = []
    for new in _NEW.value:
        given = place, f"--works={work}", f"--new={new}"
        command = processes.own("encoder_decoder", f"{work} grows", *given)
        seconds, size = processes.result(command)
        found.append([math.log(x) for x in (int(new), seconds, size)])
        print(
            f"{work}: {new} new tokens, {1e3 * seconds / int(new):.2f} ms a token, "
            f"{size / 2**20:.1f} MB more"
        )
    counts, times, sizes = zip(*found, strict=True)
    time_slope = statistics.linear_regression(counts, times).slope
    size_slope = statistics.linear_regression(counts, sizes).slope
    print(f"{work}: slope of time {time_slope:.2f}, of memory {size_slope:.2f}")


def write(folder):
    """Leaves the model, the batch and the settings for both sides."""
    import keras
    import numpy as np

    from zoo import directory, models

    keras.utils.set_random_seed(0)
    model = models.build("encoder_decoder", **_MODEL)
    random = np.random.default_rng(0)
    for variable in model.weights:  # sharper, so that no two tokens are equally likely
        if variable is model.head_bias:
            variable.assign(random.normal(0, 0.5, variable.shape))
    directory.save(folder / "model", model)
    source, target = random.integers(4, _MODEL["vocab_size"], (2, _ROWS, _LENGTH))
    start = np.full((_ROWS, 1), _SETTINGS["start"])
    tokens = np.concatenate([start, target[:, :-1]], 1)
    np.savez(folder / "batch.npz", source=source, tokens=tokens, targets=target)
    (folder / "settings.json").write_text(json.dumps(_SETTINGS))
    return {}


def train(folder):
    """Our training step."""
    import numpy as np
    import tensorflow as tf

    from trainers import optimizers
    from trainers.objectives import LanguageModel
    from trainers.run import Optimizer
    from trainers.step import make_step
    from zoo import directory

    model = directory.load(folder / "model").model
    # the bias of the head does not learn on the other side
    variables = [v for v in model.trainable_variables if v is not model.head_bias]
    options = Optimizer(
        lr=_SETTINGS["rate"],
        decay="constant",
        weight_decay=0.0,
        beta_2=0.999,
        epsilon=_SETTINGS["epsilon"],
    )
    optimizer = optimizers.build(options, 1, variables)
    step = make_step(
        tf.distribute.get_strategy(),
        {"policy": model},
        LanguageModel(),
        optimizer,
        variables,
    )
    batch = {
        name: tf.constant(x.astype(np.int32))
        for name, x in np.load(folder / "batch.npz").items()
    }
    lengths = tf.fill([_ROWS], _LENGTH)
    batch |= {"source_lengths": lengths, "lengths": lengths}
    batch["weights"] = tf.ones((_ROWS, _LENGTH))
    losses, times = [], []
    for _ in range(_SETTINGS["steps"]):
        began = time.perf_counter()
        losses.append(float(step(batch)["loss"]))
        times.append(time.perf_counter() - began)
    seconds = statistics.median(times[_SETTINGS["untimed"] :])
    return {"seconds": seconds, "losses": losses}


def decode(folder, rows, beams):
    """Our greedy decoding or beam search, by the loop that exports contain."""
    call, new = _answerer(folder, rows, beams), _SETTINGS["new"]
    answers = [answer.tokens for answer in call(new)]
    times = []
    for _ in range(_SETTINGS["repeat"]):
        began = time.perf_counter()
        call(new)
        times.append(time.perf_counter() - began)
    return {"seconds": min(times) / new, "answers": answers}


def grow(work, folder):
    """The seconds of a call, and the bytes by which a call raises the peak."""
    (new,) = map(int, _NEW.value)
    call = _answerer(folder, *map(int, work.split("x")))
    call(8)
    before = _peak()
    call(new)
    size = max(_peak() - before, 1)
    times = []
    for _ in range(_SETTINGS["repeat"]):
        began = time.perf_counter()
        call(new)
        times.append(time.perf_counter() - began)
    return min(times), size


def _peak():
    """The most bytes of memory that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _answerer(folder, rows, beams):
    """`answer(new)` writes so many tokens for each of the first rows."""
    import numpy as np

    from zoo import directory
    from zoo.data import sources
    from zoo.decode import generate
    from zoo.generation_config import GenerationConfig
    from zoo.text import tokenizer

    model = directory.load(folder / "model").model
    tokens = tokenizer.train(sources.documents("kjv", "train"), _MODEL["vocab_size"])
    tokens.end_ids = []  # each answer has all tokens
    source = np.load(folder / "batch.npz")["source"][:rows].tolist()

    def answer(new):
        knobs = GenerationConfig(max_new_tokens=new, beams=beams)
        return generate(model, tokens, source, knobs)

    return answer


if __name__ == "__main__":
    app.run(main)
