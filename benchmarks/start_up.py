"""Start-up: the processor time and the peak memory until there is a first answer.

    python -m benchmarks.start_up --model=DIR

    import     of TensorFlow and Keras, which all but the served answers contain
    generate   `zoo.generate` from the shell, 16 tokens
    export     `zoo.export` from the shell
    served     a process without Python: the load, then the first call of each signature
    step       three training steps of a transformer of 13.9M parameters; what the first
               needs beyond the third is its trace and its compilation

Each part runs in processes of its own. The seconds are those of the processor, all
threads together: other programs on the machine change them less than a clock's.
"""

import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from benchmarks import processes

_MODEL = flags.DEFINE_string("model", None, "A directory of a language model.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Processes of each part.")
_SIDE = flags.DEFINE_string("side", "", "Runs one part in this process.")
_FOLDER = flags.DEFINE_string("folder", "", "Where `export` writes; `served` reads it.")

_COMMANDS = {
    "generate": ["--prompt=In the beginning", "--max_new_tokens=16"],
    "export": [],
}
_PARTS = ("import", "generate", "export", "served", "step")


def main(argv):
    del argv
    if _SIDE.value:
        _run(_SIDE.value)
        return
    if not _MODEL.value:
        raise app.UsageError("--model is required.")
    with tempfile.TemporaryDirectory() as folder:
        given = f"--model={_MODEL.value}", f"--folder={folder}"
        sides = {part: processes.own("start_up", part, *given) for part in _PARTS}
        found = processes.in_turn(sides, _ROUNDS.value)
    for part, results in found.items():
        for name in results[0]:
            value = statistics.median(result[name] for result in results)
            print(f"{part:9} {name:24} {value:8.2f}")


def _run(part):
    """Runs a part, and prints its numbers as the last line."""
    found, who = {}, resource.RUSAGE_SELF
    if part in ("served", "step"):
        found = served(_FOLDER.value) if part == "served" else step()
    elif part in _COMMANDS:
        command = [sys.executable, "-m", f"zoo.{part}", f"--model={_MODEL.value}"]
        output = [f"--output={_FOLDER.value}"] if part == "export" else []
        subprocess.run(command + _COMMANDS[part] + output, check=True)
        who = resource.RUSAGE_CHILDREN
    else:
        imported()
    usage = resource.getrusage(who)
    found["seconds in all"] = usage.ru_utime + usage.ru_stime
    found["peak memory, GB"] = usage.ru_maxrss * 1024 / 1e9
    print(json.dumps(found), flush=True)


def imported():
    import keras
    import tensorflow as tf

    tf.constant(0.0)
    del keras


def served(base):
    """The load of the newest version, and the first call of each signature."""
    from zoo.saved_model.checker import c_api

    version = max(pathlib.Path(base).iterdir(), key=lambda path: int(path.name))
    requests = json.loads((version / "assets.extra/requests.json").read_text())
    spent = time.process_time()
    found = {}
    with c_api.Session(str(version)) as session:
        found["load"] = time.process_time() - spent
        for request in requests:
            name = f"first {request['signature']}"
            if name in found or name == "first serving_default":
                continue  # it generates up to its limit, and has the graph of generate
            spent = time.process_time()
            session.run(request["signature"], request["inputs"])
            found[name] = time.process_time() - spent
    return found


def step():
    """What the first of three steps needs beyond the last."""
    import keras
    import numpy as np
    import tensorflow as tf

    from trainers import optimizers
    from trainers.objectives import LanguageModel
    from trainers.run import Optimizer
    from trainers.step import make_step
    from zoo import models

    keras.utils.set_random_seed(1)
    model = models.build("transformer_lm", vocab_size=8192, context=256)
    variables = model.trainable_variables
    optimizer = optimizers.build(Optimizer(), 100, variables)
    strategy = tf.distribute.get_strategy()
    step = make_step(strategy, {"policy": model}, LanguageModel(), optimizer, variables)
    ids = np.random.default_rng(0).integers(0, 8192, (8, 257), np.int32)
    batch = {"tokens": ids[:, :-1], "targets": ids[:, 1:]}
    batch = {name: tf.constant(x) for name, x in batch.items()}
    batch["weights"] = tf.ones((8, 256))
    seconds = []
    for _ in range(3):
        spent = time.process_time()
        float(step(batch)["loss"].sum)
        seconds.append(time.process_time() - spent)
    return {"trace and compile": seconds[0] - seconds[2]}


if __name__ == "__main__":
    app.run(main)
