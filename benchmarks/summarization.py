"""A model that summarizes beside the first sentence of the document, cut.

    python -m benchmarks.summarization --data=debian_summaries.jsonl.xz \
        --source=document --target=summary --workdir=runs/summarization
    python -m benchmarks.summarization --data=debian_summaries.jsonl.xz \
        --config=summarize_lora --init_from=DIR --workdir=runs/summarization_lora

The first trains an encoder-decoder, the second tunes a language model by instructions.

Data, split and training are those of `benchmarks.translation`. The baseline is the
first sentence of the document, cut to as many words as a summary of the training part
has in the mean. ROUGE is rouge-score's, with intervals of 1,000 bootstrap resamples at
95 %.
"""

import pathlib
import re

from absl import flags

from zoo import command

with command.quiet_imports():
    from benchmarks import text_pairs
    from trainers.evaluation import dispatch
    from trainers.evaluation.request import Request
    from trainers.run_flags import run_app
    from zoo import directory

_NAMES = ("rouge1", "rouge2", "rougeL")
_ANSWER = 64  # tokens of a language model's answer at most
_DATA = flags.DEFINE_string("data", None, "A file *.jsonl or *.jsonl.xz of pairs.")
_SOURCE = flags.DEFINE_string("source", "document", "The field of the document.")
_TARGET = flags.DEFINE_string("target", "summary", "The field of the summary.")
_CONFIG = flags.DEFINE_string("config", "summarize", "The name of a file of configs/.")
_WORKDIR = flags.DEFINE_string("workdir", None, "A folder for the data and the run.")
_INIT = flags.DEFINE_string("init_from", "", "The directory of a language model.")
_STEPS = flags.DEFINE_integer("steps", 0, "Of training; 0 is the config's number.")
_PRECISION = flags.DEFINE_string("precision", "", "Instead of the config's.")
_LENGTH = flags.DEFINE_integer("length", 0, "Tokens of a document; 0 is all.")
_LIMIT = flags.DEFINE_integer("limit", 0, "Pairs of validation and of the test.")


def main(argv):
    """Prints a line for the baseline and one for the model."""
    del argv
    for flag in (_DATA, _WORKDIR):
        if not flag.value:
            raise ValueError(f"--{flag.name}: missing.")
    parts = text_pairs.split(
        text_pairs.read(str(_DATA.value), _SOURCE.value, _TARGET.value)
    )
    print(", ".join(f"{len(pairs)} {name}" for name, pairs in parts.items()))
    for name in ("valid", "test"):
        parts[name] = parts[name][: _LIMIT.value or None]
    test = parts["test"]
    folder = pathlib.Path(str(_WORKDIR.value))
    folder.mkdir(parents=True, exist_ok=True)
    specs = text_pairs.write(folder, parts, instruction if _INIT.value else dict)
    words = [len(pair["target"].split()) for pair in parts["train"]]
    texts = [first(pair["source"], round(sum(words) / len(words))) for pair in test]
    whole = [first(pair["source"], 10**6) for pair in test]
    for name, given in (("first sentence, cut", texts), ("first sentence", whole)):
        text_pairs.show(name, text_pairs.scored(_NAMES, given, test), _NAMES)
    options = _STEPS.value, _PRECISION.value, _LENGTH.value, _INIT.value
    if text_pairs.train(str(_CONFIG.value), specs, folder, *options).interrupted:
        return
    where = folder / "run" / "model"
    loaded = directory.load(where)
    request = Request(
        source=specs["test"],
        format="instruction" if _INIT.value else "seq2seq",
        too_long="cut",
        metrics=_NAMES,
        length=_LENGTH.value,
        knobs={
            "max_new_tokens": _ANSWER if _INIT.value else loaded.model.config.context
        },
    )
    measures = dispatch.evaluated(loaded, str(where), request).measures
    extra = ("length_ratio", "repetition", "copied")
    names = [*_NAMES, "loss", *(name for name in extra if name in measures)]
    text_pairs.show("greedy", measures, names)


def instruction(pair: dict[str, str]) -> dict[str, str]:
    """What a language model is to do with a pair."""
    return {
        "instruction": "Summarize the document.",
        "input": pair["source"],
        "output": pair["target"],
    }


def first(text: str, words: int) -> str:
    """The first sentence of a text, and of that the first words."""
    sentence = re.split(r"(?<=[.!?])\s+", text.strip(), maxsplit=1)[0]
    return " ".join(sentence.split()[:words])


if __name__ == "__main__":
    run_app(main)
