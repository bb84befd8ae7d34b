"""A training step with LoRA, compared with PEFT on torch and transformers.

    python -m benchmarks.lora_peft --model=DIR --peer_python=PYTHON

DIR is a model directory of a causal language model that transformers reads; without it,
the model is a small random Llama. Both sides start from the same weights, A and B, and
take the same batch of random tokens with AdamW. B is not zero, so the first loss also
shows that PEFT reads our adapters. The losses of all steps must agree within 1e-3.

The sides run in turn, each in its own processes. The unit of time is one step, with its
loss on the host. The ratios are those of the medians. The peak is the resident memory
of the whole process. PYTHON has torch, transformers and peft.
"""

import json
import pathlib
import resource
import statistics
import sys
import tempfile
import time

from absl import app, flags

from benchmarks import processes

_MODEL = flags.DEFINE_string("model", "", "A directory; empty is a random Llama.")
_PEER = flags.DEFINE_string("peer_python", sys.executable, "It has peft.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Processes of each side.")
_STEPS = flags.DEFINE_integer("steps", 12, "Steps of a process; two are not timed.")
_BATCH = flags.DEFINE_integer("batch", 4, "Rows of a batch.")
_LENGTH = flags.DEFINE_integer("length", 256, "Tokens of a row.")
_PARTS = flags.DEFINE_integer("accumulate", 1, "Parts that a batch is cut into.")
_RANK = flags.DEFINE_integer("rank", 8, "Of A and B.")
_TARGETS = flags.DEFINE_list("targets", ["all-linear"], "Names of linear maps.")
_FULL = flags.DEFINE_bool("full", False, "Also our full fine-tuning, for its memory.")
_SIDE = flags.DEFINE_enum("side", None, ["write", "ours", "full"], "Runs one side.")
_FOLDER = flags.DEFINE_string("folder", "", "Where a side finds and leaves files.")

_RATE, _UNTIMED = 1e-3, 2
_SMALL = {"vocab_size": 8192, "context": 512, "width": 256, "layers": 4, "heads": 4}
_SMALL |= {"norm": "rmsnorm", "positions": "rotary", "activation": "silu"}
_SMALL |= {"gated": True, "mlp_width": 704, "qkv_bias": False, "out_bias": False}
_SMALL |= {"mlp_bias": False}


def main(argv):
    del argv
    if _SIDE.value:
        side = {"write": write, "ours": ours, "full": full}[_SIDE.value]
        print(json.dumps(side(pathlib.Path(_FOLDER.value))))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(folder)


def compare(folder):
    """Runs the sides in turn and prints the ratios."""
    peer = str(pathlib.Path(__file__).with_name("lora_peer.py"))
    given = f"--folder={folder}", *sys.argv[1:]
    processes.result(processes.own("lora_peft", "write", *given))
    sides = {
        "ours": processes.own("lora_peft", "ours", *given),
        "theirs": [_PEER.value, peer, folder],
    }
    if _FULL.value:
        sides["full"] = processes.own("lora_peft", "full", *given)
    found = {side: [] for side in sides}
    for _ in range(_ROUNDS.value):
        for side, command in sides.items():
            result = processes.result(command)
            found[side].append(result)
            shown = ", ".join(f"{x:.4f}" for x in result["losses"][:3])
            print(
                f"{side:7} {result['seconds']:.3f} s a step, peak "
                f"{result['peak'] / 2**20:.0f} MiB, losses {shown}"
            )
        pairs = zip(*(found[x][-1]["losses"] for x in ("ours", "theirs")), strict=True)
        worst = max(abs(a - b) for a, b in pairs)
        print(f"the losses differ by at most {worst:.1e}")
        if worst > 1e-3:
            raise SystemExit("no comparison")
    seconds, peaks = (
        {x: statistics.median(r[key] for r in found[x]) for x in found}
        for key in ("seconds", "peak")
    )
    tokens = _BATCH.value * _LENGTH.value
    print(
        f"ours {tokens / seconds['ours']:.0f}, PEFT {tokens / seconds['theirs']:.0f} "
        f"tokens/s, ratio {seconds['theirs'] / seconds['ours']:.2f}; peak memory ratio "
        f"{peaks['ours'] / peaks['theirs']:.2f}"
    )
    if _FULL.value:
        print(f"peak memory, LoRA / full: {peaks['ours'] / peaks['full']:.2f}")


def write(folder):
    """Leaves the base, the adapters, the batch and the settings for all sides."""
    import keras
    import numpy as np

    from zoo import directory, models
    from zoo.directory import adapter_writer

    base = _MODEL.value
    if not base:
        keras.utils.set_random_seed(0)
        base = str(folder / "base")
        directory.save(base, models.build("transformer_lm", **_SMALL))
    settings = {"base": base, "rate": _RATE, "steps": _STEPS.value, "untimed": _UNTIMED}
    settings["parts"] = _PARTS.value
    (folder / "settings.json").write_text(json.dumps(settings))
    model, options = _adapted(base)
    adapter_writer.save(folder / "adapter", model, options, base)
    shape = (_BATCH.value, _LENGTH.value + 1)
    ids = np.random.default_rng(0).integers(5, model.config.vocab_size, shape)
    np.save(folder / "ids.npy", ids)
    return {}


def _adapted(base):
    """The model with adapters whose A and B are the same in each process."""
    import numpy as np

    from zoo import directory, lora
    from zoo.lora_config import Lora

    model = directory.load(base).model
    options = Lora(rank=_RANK.value, targets=tuple(_TARGETS.value))
    lora.add(model, options, seed=1)
    random = np.random.default_rng(2)
    for variable in lora.learning(model):
        if variable.name.endswith("lora_B"):
            variable.assign(random.normal(0, 0.01, variable.shape))
    return model, options


def ours(folder):
    """Our side: the adapters learn."""
    from zoo import lora

    base = json.loads((folder / "settings.json").read_text())["base"]
    model, _ = _adapted(base)
    return _trained(folder, model, lora.learning(model))


def full(folder):
    """Our side without adapters: all weights learn."""
    from zoo import directory

    base = json.loads((folder / "settings.json").read_text())["base"]
    model = directory.load(base).model
    return _trained(folder, model, model.trainable_variables)


def _trained(folder, model, variables):
    """The seconds of a step, the losses, and the peak of the process."""
    import numpy as np
    import tensorflow as tf

    from trainers import optimizers
    from trainers.objectives import LanguageModel
    from trainers.run import Optimizer
    from trainers.step import make_step

    options = Optimizer(lr=_RATE, decay="constant", weight_decay=0.0, beta_2=0.999)
    optimizer = optimizers.build(options, 1, variables)
    strategy = tf.distribute.get_strategy()
    roles, objective = {"policy": model}, LanguageModel()
    parts = _PARTS.value
    step = make_step(strategy, roles, objective, optimizer, variables, parts)
    ids = np.load(folder / "ids.npy").astype(np.int32)
    batch = {
        "tokens": tf.constant(ids[:, :-1]),
        "targets": tf.constant(ids[:, 1:]),
        "weights": tf.ones(ids[:, 1:].shape),
    }
    losses, times = [], []
    for _ in range(_STEPS.value):
        began = time.perf_counter()
        losses.append(float(step(batch)["loss"]))
        times.append(time.perf_counter() - began)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = statistics.median(times[_UNTIMED:])
    return {"seconds": seconds, "losses": losses, "peak": peak}


if __name__ == "__main__":
    app.run(main)
