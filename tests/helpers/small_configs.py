"""The configs of configs/, made small enough for tests.

    python tests/helpers/small_configs.py RUN.json WORKDIR

trains a Run in a process of its own.
"""

import dataclasses
import importlib
import json
import pathlib
import sys

from trainers import loop, objectives
from trainers.run import from_json
from zoo import directory, models
from zoo.text import tokenizer

ROOT = pathlib.Path(__file__).parents[2]
# those of zoo.prepare make a Recipe, all others a Run
NAMES = sorted(
    p.stem
    for p in (ROOT / "configs").glob("*.py")
    if not p.stem.startswith(("__init__", "prepare"))
)
SMALL = {
    "vocab_size": 300,
    "context": 16,
    "width": 32,
    "units": 32,
    "encoder_layers": 1,
    "source_context": 0,
    "layers": 1,
    "heads": 2,
    "kv_heads": 0,
    "head_width": 0,
    "mlp_width": 0,
    "widths": (8,),
}


def run_of(name):
    """The Run of a config, as it is."""
    return importlib.import_module(f"configs.{name}").get_config()


CHATML = (
    "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}<|endoftext|>{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)


def chats(folder):
    """A file of chats of two messages."""
    messages = [
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b" * n}]
        for n in range(1, 5)
    ]
    path = folder / "chats.jsonl"
    path.write_text("\n".join(json.dumps({"messages": m}) for m in messages))
    return path


def preferences(folder):
    """A file of pairs of answers."""
    rows = [
        {"prompt": "a", "chosen": "b" * n, "rejected": "c" * (n + 1)}
        for n in range(1, 9)
    ]
    path = folder / "preferences.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return f"jsonl:{path}"


def pretrained(corpus, folder, name="transformer_lm", template=None, context=16):
    """A model directory that a run can start from."""
    fields = {
        k: SMALL[k] for k in ("vocab_size", "context", "width", "layers", "heads")
    }
    model = models.build(name, **{**fields, "context": context})
    made = tokenizer.train([corpus.read_text()], 300)
    if template is not None:
        made = tokenizer.Tokenizer(
            made.json, {**made.config, "chat_template": template}
        )
    directory.save(folder, model, made)
    return str(folder)


def shrunk(model):
    """The Config with small sizes, also those of its body."""
    fields = {f.name for f in dataclasses.fields(model)} & SMALL.keys()
    changes = {k: SMALL[k] for k in fields}
    if getattr(model, "body", None) is not None:
        changes["body"] = shrunk(model.body)
    return dataclasses.replace(model, **changes)


def labelled(format, folder):
    """A file of texts, or of words, with labels."""
    rows = [
        {"text": f"abc {i}", "label": "no"}
        if format == "classify"
        else {"tokens": ["abc", f"{i}"], "tags": ["a", "b"]}
        for i in range(9)
    ]
    rows += [{**row, "label": "yes"} for row in rows if format == "classify"]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return f"jsonl:{path}"


def small_run(name, corpus, folder):
    """The Run of a config, small, with data and models in a folder.

    Args:
      name: of the config.
      corpus: the path of a text.
      folder: an empty folder.
    """
    run = run_of(name)
    if run.model is None or getattr(run.model, "body", run.model) is None:
        kind = "text_encoder" if name == "embed" else "transformer_lm"
        # the text around an instruction is long
        context = 256 if run.data.format == "instruction" else 16
        own = folder / "pretrained"
        run.init_from = pretrained(corpus, own, kind, context=context)
    else:
        run.model = shrunk(run.model)
    if name == "distill":
        run.objective.teacher = pretrained(corpus, folder / "teacher")
        run.data.tokenizer = run.objective.teacher
    if name == "embed":
        path = folder / "pairs.jsonl"
        rows = [{"text": f"abc {i}", "positive": f"{i} dab"} for i in range(9)]
        path.write_text("\n".join(map(json.dumps, rows)))
        run.data.source = f"jsonl:{path}"
    if name == "lm_keras_hub":
        run.model.settings["vocabulary_size"] = 300
    if run.data.format == "preference":
        run.data.source = preferences(folder)
    if type(run.objective).feed == "rollouts":
        path = folder / "prompts.jsonl"
        rows = [{"prompt": f"abc {i}", "answer": f"{i}"} for i in range(9)]
        path.write_text("\n".join(map(json.dumps, rows)))
        run.data.source = f"jsonl:{path}"
        run.objective.max_new_tokens, run.objective.epochs = 4, 1
        run.objective.samples = min(run.objective.samples, 2)
        run.accumulate, run.best = 1, "loss"
    if run.data.format == "chat":
        run.data.source = f"jsonl:{chats(folder)}"
        run.init_from = pretrained(corpus, folder / "chatting", template=CHATML)
    elif run.data.format == "prompt":
        rows = [{"prompt": "abc", "completion": "d" * n} for n in range(1, 5)]
        path = folder / "answers.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        run.data.source = f"jsonl:{path}"
    elif run.data.format in ("seq2seq", "instruction"):
        names = {"seq2seq": "source target", "instruction": "instruction output"}
        names = names[run.data.format].split()
        rows = [
            dict(zip(names, (f"abc {n}", "d" * n), strict=True)) for n in range(1, 9)
        ]
        path = folder / "answers.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        run.data.source = f"jsonl:{path}"
        if run.data.format == "seq2seq":
            tokenizer.train([corpus.read_text()], 300).save(str(folder / "tokenizer"))
            run.data.tokenizer = str(folder / "tokenizer")
        run.data.too_long = "cut"
    elif type(run.objective).feed == "text":
        run.data.source = f"text:{corpus}"
    elif run.data.format in ("classify", "tag"):
        run.data.source = labelled(run.data.format, folder)
        tokenizer.train([corpus.read_text()], 300).save(str(folder / "tokenizer"))
        run.data.tokenizer = str(folder / "tokenizer")
    run.data.batch = 2 * run.accumulate
    run.data.length = 0
    run.steps, run.epochs, run.log_every, run.eval_every = 2, 0, 1, 0
    return run


def main(path, workdir):
    """Trains the Run of a JSON file."""
    value = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    loop.train(from_json(value, objectives.BY_NAME), workdir)


if __name__ == "__main__":
    main(*sys.argv[1:])
