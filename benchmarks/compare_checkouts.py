"""Compares the numbers of two checkouts bit by bit, after a change that moves none.

    python -m benchmarks.compare_checkouts --before=DIR --after=DIR

Both checkouts run the same commands from the same seeds, each in processes whose
working directory is the checkout. Compared are:

    built      first weights and outputs of every kind of model
    loaded     outputs of the golden model directories
    written    the tensors of those directories, saved again
    trained    losses and final weights of a Transformer, an LSTM and a dense net
    generated  text of the two language models
    exported   signature.json and the recorded answers of four SavedModels

Weights of the zoo's own directories are matched by place and shape, since a path may
have another name. The exit code is 1 if anything differs. Two checkouts take 15 minutes
on two cores.
"""

import json
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
from absl import app, flags

_BEFORE = flags.DEFINE_string("before", None, "A checkout.", required=True)
_AFTER = flags.DEFINE_string("after", None, "A checkout.", required=True)

_FAMILIES = "tests/zoo/directory/families"
_TEXT_RUN = ["--config.steps=8", "--config.log_every=1", "--config.eval_every=4"]
_TEXT_RUN += ["--config.model.vocab_size=300", "--config.model.context=128"]
_TEXT_RUN += [
    "--config.data.batch=4",
    "--config.data.length=32",
    "--config.optimizer.warmup=2",
]
_RUNS = {
    "transformer": ["lm_transformer", *_TEXT_RUN, "--config.model.layers=2"],
    "lstm": ["lm_lstm", *_TEXT_RUN],
    "dense": ["dense_breast_cancer", "--config.epochs=3", "--config.log_every=1"],
}
_RUNS["transformer"] += ["--config.model.width=32", "--config.model.heads=2"]
_RUNS["lstm"] += ["--config.model.width=32", "--config.model.units=32"]
# seconds and rates differ from run to run
_TIMES = ("seconds", "per_second", "data_wait", "time")
_CHAT = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def main(argv):
    del argv
    sides = [pathlib.Path(p).resolve() for p in (_BEFORE.value, _AFTER.value)]
    with tempfile.TemporaryDirectory() as folder:
        found = [
            _results(checkout, sides[1] / _FAMILIES, pathlib.Path(folder) / name)
            for checkout, name in zip(sides, ("before", "after"), strict=True)
        ]
    before, after = found
    different = 0
    for item in sorted(before.keys() | after.keys()):
        words = _difference(before.get(item), after.get(item))
        different += bool(words)
        print(f"{words or 'same':20} {item}")
    print(f"{len(before.keys() | after.keys())} items, {different} differ")
    sys.exit(bool(different))


def _difference(before, after) -> str:
    """In what two results differ; "" if they are the same bits."""
    if before is None or after is None:
        return "only after" if before is None else "only before"
    if isinstance(before, str):
        return "" if before == after else _first_difference(before, after)
    if before.dtype != after.dtype or before.shape != after.shape:
        return f"DIFFERS {before.shape} {after.shape}"
    if before.tobytes() == after.tobytes():
        return ""
    return f"DIFFERS by {np.abs(before - after).max():.3g}"


def _first_difference(before: str, after: str) -> str:
    """The first place where two texts differ."""
    pairs = enumerate(zip(before, after, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(before), len(after)))
    start = max(at - 30, 0)
    return f"DIFFERS {before[start : at + 30]!r} {after[start : at + 30]!r}"


def _results(checkout, families, work) -> dict[str, np.ndarray | str]:
    """Everything that is compared, by name."""
    work.mkdir()

    def python(*arguments, **options):
        print(f"{work.name}: {' '.join(arguments)[:80]}", file=sys.stderr, flush=True)
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=checkout, capture_output=True, text=True, **options
        )
        if done.returncode:
            raise SystemExit(f"{command}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    probe = work / "probe"
    probe.mkdir()
    source = pathlib.Path(__file__).with_name("checkout_probe.py")
    python("-", str(families), str(probe), input=source.read_text(encoding="utf-8"))
    found: dict[str, np.ndarray | str] = dict(np.load(probe / "arrays.npz"))
    for name in json.loads((probe / "written.json").read_text(encoding="utf-8")):
        for key, value in _tensors(probe / name):
            found[f"written {name}: {key}"] = value

    corpus = work / "corpus.txt"
    corpus.write_text(_text(), encoding="utf-8")
    for name, (config, *overrides) in _RUNS.items():
        if name != "dense":
            overrides = [*overrides, f"--config.data.source=text:{corpus}"]
        config = f"--config=configs/{config}.py"
        python("-m", "trainers.train", config, f"--workdir={work / name}", *overrides)
        for line in (work / name / "metrics.jsonl").open():
            kept = {k: v for k, v in json.loads(line).items() if not k.endswith(_TIMES)}
            title = f"{kept['split']} metrics of step {kept['step']:02d}"
            found[f"trained {name}: {title}"] = _text_of(kept)
        for i, (_, value) in enumerate(_tensors(work / name / "model")):
            found[f"trained {name}: weight {i:03d} {value.shape}"] = value
    knobs = ["--temperature=0.9", "--seed=3", "--max_new_tokens=24", "--prompt=ab"]
    for name in ("transformer", "lstm"):
        model = f"--model={work / name / 'model'}"
        found[f"generated {name}"] = python("-m", "zoo.generate", model, *knobs)

    chat = work / "lstm/model/tokenizer_config.json"
    fields = json.loads(chat.read_text(encoding="utf-8")) | {"chat_template": _CHAT}
    chat.write_text(json.dumps(fields), encoding="utf-8")
    models = {
        "LM": work / "transformer/model",
        "LM with chat": work / "lstm/model",
        "encoder": families / "encoders/bert",
        "table": work / "dense/model",
    }
    for name, model in models.items():
        base = work / f"served {name}"
        python("-m", "zoo.export", f"--model={model}", f"--output={base}")
        extra = base / "1/assets.extra"
        described = json.loads((extra / "signature.json").read_text(encoding="utf-8"))
        for key, value in described["signatures"].items():
            found[f"exported {name}: signature {key}"] = _text_of(value)
        answers = json.loads((extra / "requests.json").read_text(encoding="utf-8"))
        for i, answer in enumerate(answers):
            title = f"exported {name}: answer {i:02d} of {answer['signature']}"
            found[title] = _text_of(answer)
    return found


def _text_of(value) -> str:
    """A JSON value as text that does not depend on the order of keys."""
    return json.dumps(value, sort_keys=True)


def _text() -> str:
    """17 kB of words of ten letters."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(60)]
    return "\n".join(" ".join(rng.choices(words, k=8)) for _ in range(400))


def _tensors(folder):
    """The tensors of a model directory in the order of its file, and their names."""
    with open(folder / "model.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        header.pop("__metadata__", None)
        data = file.read()
    for name, about in sorted(header.items(), key=lambda x: x[1]["data_offsets"]):
        begin, end = about["data_offsets"]
        assert about["dtype"] == "F32", (folder, name, about)
        yield (
            name,
            np.frombuffer(data[begin:end], np.float32).reshape(about["shape"]),
        )


if __name__ == "__main__":
    app.run(main)
