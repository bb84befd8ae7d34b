"""Evaluates a model directory: python -m trainers.evaluate --model=DIR --source=kjv

A language model predicts every token once, in windows that overlap by half. A model of
features gets the loss, and a classifier also the accuracy.
"""

import time

from absl import flags

from trainers import evaluation
from trainers.objectives import Classify, LanguageModel
from zoo import command, directory
from zoo.data import batches, formats, sources, tables
from zoo.metrics import compression

_MODEL = flags.DEFINE_string("model", None, "A model directory.", required=True)
_SOURCE = flags.DEFINE_string("source", "kjv", "What to evaluate on.")
_SPLIT = flags.DEFINE_string(
    "split", None, "Of the source; default: test of kjv, train of others."
)
_LENGTH = flags.DEFINE_integer(
    "length", 0, "Tokens of a window; 0 is the model's context, or a shorter text."
)
_STRIDE = flags.DEFINE_integer("stride", 0, "Between windows; 0 is half a window.")
_BATCH = flags.DEFINE_integer(
    "batch", 0, "Windows or rows at a time; 0 is as many as have 4,096 tokens, or 16."
)
_XZ_SEEN = flags.DEFINE_string(
    "xz_seen", "", "A split; also prints the bits of xz -9e primed with that split."
)

_ROWS, _TOKENS = 16, 4096  # of a batch


def main(argv):
    del argv
    loaded = directory.load(_MODEL.value)
    config = loaded.model.config
    if config.reads == "features":
        _table(loaded.model)
    elif config.task != "generate":
        raise ValueError(f"--model: {_MODEL.value} is no language model.")
    elif loaded.tokenizer is None:
        raise ValueError(f"--model: {_MODEL.value} has no tokenizer.json.")
    else:
        _text(loaded)


def _table(model):
    """Evaluates a model of features on a table."""
    names = model.config.labels
    table = tables.table(_SOURCE.value, names)
    dataset, _ = batches.table_eval(
        table.features_NF, table.labels_N, _BATCH.value or _ROWS
    )
    metrics = evaluation.make_evaluate(Classify())({"policy": model}, dataset)
    print(f"rows {len(table.labels_N)}  {_numbers(metrics)}")


def _text(loaded):
    """Evaluates a language model on documents."""
    split = _SPLIT.value or ("test" if _SOURCE.value == "kjv" else "train")
    documents = sources.documents(_SOURCE.value, split)
    stream = formats.language_model(documents, loaded.tokenizer)
    most = max(len(stream.tokens) - 1, 1)
    length = _LENGTH.value or min(loaded.model.config.context, most)
    if loaded.model.limit and length > loaded.model.limit:
        raise ValueError(
            f"--length: {length}, at most the model's {loaded.model.limit} allowed."
        )
    stride = _STRIDE.value or length // 2
    batch = _BATCH.value or max(_TOKENS // length, 1)
    dataset, _ = batches.eval_windows(stream.tokens, length, batch, stride)
    evaluate = evaluation.make_evaluate(LanguageModel())
    began = time.perf_counter()
    metrics = evaluate({"policy": loaded.model}, dataset, stream.bytes)
    seconds = time.perf_counter() - began
    print(
        f"{_SOURCE.value} {split}: {stream.documents} documents, {stream.bytes} bytes, "
        f"{len(stream.tokens) - 1} tokens; window {length}, stride {stride}\n"
        f"{_numbers(metrics)}  ({seconds:.1f} s)"
    )
    if _XZ_SEEN.value:
        seen = sources.documents(_SOURCE.value, _XZ_SEEN.value)
        texts = ["\n".join(d).encode() for d in (seen, documents)]
        bits = compression.xz_bits_per_byte(*texts)
        print(f"xz -9e, having seen {_XZ_SEEN.value}: bits_per_byte {bits:.4f}")


def _numbers(metrics):
    """The metrics as text."""
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
