"""GRPO, from the sampling of answers to the update, compared with TRL on torch.

    python -m benchmarks.grpo_trl --peer_python=PYTHON

Both sides start from the same small random Llama, read the same prompts, and sample
answers of at most the same length from the whole distribution at temperature 1. A
random model draws its end token about once in 2,000 tokens, and the loop goes on while
any answer has none; so nearly all loops have the full length. The sides draw other
answers, so their losses cannot be compared.

The sides run in turn, each in its own processes, in float32 on the same number of
threads. The unit of time is one optimizer step with the rollout that it learns. The
ratios are those of the medians. The peak is the resident memory of the whole process;
"above imports" is what is left of it without the memory that the libraries take before
there is a model. Threads of torch wait for each other, so other programs slow that side
down more: run this on a quiet machine. PYTHON has torch, transformers and trl.
"""

import json
import pathlib
import resource
import statistics
import sys
import tempfile

from absl import app, flags

from benchmarks import processes

_PEER = flags.DEFINE_string("peer_python", sys.executable, "It has trl.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Processes of each side.")
_STEPS = flags.DEFINE_integer("steps", 12, "Steps of a process; two are not timed.")
_BATCH = flags.DEFINE_integer("batch", 32, "Answers of a step.")
_SAMPLES = flags.DEFINE_integer("samples", 8, "Answers to one prompt.")
_LENGTH = flags.DEFINE_integer("max_new_tokens", 64, "Tokens of an answer.")
_THREADS = flags.DEFINE_integer("threads", 2, "Of each side.")
_SIDE = flags.DEFINE_enum("side", None, ["write", "ours"], "Runs one side.")
_FOLDER = flags.DEFINE_string("folder", "", "Where a side finds and leaves files.")

_RATE, _UNTIMED, _PROMPTS = 1e-4, 2, 256
_PATTERN = r"^\W*[a-mA-M]"  # about half of the answers begin so
_VOCABULARY = 2048
_SMALL = {
    "vocab_size": _VOCABULARY,
    "context": 256,
    "width": 256,
    "layers": 4,
    "heads": 4,
}
_SMALL |= {"norm": "rmsnorm", "positions": "rotary", "activation": "silu"}
_SMALL |= {"gated": True, "mlp_width": 704, "qkv_bias": False, "out_bias": False}
_SMALL |= {"mlp_bias": False}


def main(argv):
    del argv
    if _SIDE.value:
        side = {"write": write, "ours": ours}[_SIDE.value]
        print(json.dumps(side(pathlib.Path(_FOLDER.value))))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(folder)


def compare(folder):
    """Runs the sides in turn and prints the ratios."""
    peer = str(pathlib.Path(__file__).with_name("grpo_trl_peer.py"))
    given = f"--folder={folder}", *sys.argv[1:]
    threads = {"OMP_NUM_THREADS": str(_THREADS.value)}
    processes.result(processes.own("grpo_trl", "write", *given), **threads)
    sides = {
        "ours": processes.own("grpo_trl", "ours", *given),
        "TRL": [_PEER.value, peer, folder],
    }
    found = {side: [] for side in sides}
    for _ in range(_ROUNDS.value):
        for side, command in sides.items():
            result = processes.result(command, **threads)
            found[side].append(result)
            print(
                f"{side:5} {result['seconds']:.3f} s a step, peak "
                f"{result['peak'] / 2**20:.0f} MiB, of imports "
                f"{result['imported'] / 2**20:.0f} MiB",
                flush=True,
            )
    seconds, peaks, imported = (
        {side: statistics.median(r[key] for r in found[side]) for side in found}
        for key in ("seconds", "peak", "imported")
    )
    above = {side: peaks[side] - imported[side] for side in found}
    rates = {side: _BATCH.value / value for side, value in seconds.items()}
    print(
        f"ours {rates['ours']:.2f}, TRL {rates['TRL']:.2f} samples/s, ratio "
        f"{rates['ours'] / rates['TRL']:.2f}; peak memory ratio "
        f"{peaks['ours'] / peaks['TRL']:.2f}, above imports "
        f"{above['ours'] / above['TRL']:.2f}"
    )


def write(folder):
    """Leaves the model, the prompts and the settings for both sides."""
    import keras

    from zoo import directory, models
    from zoo.data import sources
    from zoo.text import tokenizer as tokenizers

    texts = sources.documents("kjv", "valid")
    tokenizer = tokenizers.train(texts, _VOCABULARY)
    keras.utils.set_random_seed(0)
    model = models.build("transformer_lm", **_SMALL)
    directory.save(folder / "base", model, tokenizer)
    words = " ".join(texts).split()
    prompts = [" ".join(words[8 * i : 8 * i + 8]) for i in range(_PROMPTS)]
    rows = (json.dumps({"prompt": prompt}) for prompt in prompts)
    (folder / "prompts.jsonl").write_text("\n".join(rows))
    settings = {
        "rate": _RATE,
        "steps": _STEPS.value,
        "untimed": _UNTIMED,
        "batch": _BATCH.value,
        "samples": _SAMPLES.value,
        "max_new_tokens": _LENGTH.value,
        "threads": _THREADS.value,
        "pattern": _PATTERN,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    return {}


def ours(folder):
    """Our side: the seconds of a step, and the peak of the process."""
    import tensorflow as tf

    from trainers import loop
    from trainers.objectives import GRPO
    from trainers.run import Data, Optimizer, Run

    imported = _peak()
    tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    run = Run(
        objective=GRPO(
            samples=_SAMPLES.value,
            max_new_tokens=_LENGTH.value,
            rewards=(f"1 regex:{_PATTERN}",),
        ),
        data=Data(
            source=f"jsonl:{folder / 'prompts.jsonl'}",
            format="prompts",
            hold_out=0.0,
            batch=_BATCH.value,
        ),
        optimizer=Optimizer(lr=_RATE, decay="constant", weight_decay=0.0, beta_2=0.999),
        init_from=str(folder / "base"),
        clip_norm=1.0,
        steps=_STEPS.value,
        eval_every=0,
        save_every=0,
        log_every=1,
    )
    with tempfile.TemporaryDirectory() as workdir:
        loop.train(run, pathlib.Path(workdir) / "run")
        lines = (pathlib.Path(workdir) / "run/metrics.jsonl").read_text().splitlines()
    rates = [
        value
        for line in map(json.loads, lines)
        for name, value in line.items()
        if name in ("rows_per_second", "answers_per_second")
    ]
    seconds = statistics.median(_BATCH.value / rate for rate in rates[_UNTIMED:])
    return {"seconds": seconds, "imported": imported, "peak": _peak()}


def _peak():
    """The most resident memory so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    app.run(main)
