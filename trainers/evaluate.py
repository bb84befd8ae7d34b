"""Evaluates a model on a source, or on what its training run held out.

    python -m trainers.evaluate --model=DIR --source=kjv
    python -m trainers.evaluate --workdir=runs/demo

A language model predicts every token once, in windows that overlap by half. A model of
features gets the loss, and a classifier also the accuracy.
"""

import functools
import pathlib
import time

from absl import flags

from zoo import command

with command.quiet_imports():
    from trainers import checkpoint, evaluation, workdir
    from trainers.feeds.text import window
    from trainers.objectives import Classify, LanguageModel
    from zoo import directory
    from zoo.data import (
        batches,
        fingerprints,
        formats,
        mixtures,
        sources,
        splits,
        tables,
    )
    from zoo.metrics import compression

_MODEL = flags.DEFINE_string("model", None, "A model directory; or give --workdir.")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "A run; its model is evaluated on what the run held out."
)
_SOURCE = flags.DEFINE_string(
    "source", None, "What to evaluate on; default: kjv, or what --workdir held out."
)
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
    if bool(_MODEL.value) == bool(_WORKDIR.value):
        raise ValueError("--model, --workdir: give one of the two.")
    if _MODEL.value:
        command.suggest_model(_MODEL)
    run = workdir.read(_WORKDIR.value) if _WORKDIR.value else None
    held_out = run if not _SOURCE.value else None
    model = _MODEL.value or str(pathlib.Path(_WORKDIR.value or "") / "model")
    loaded = directory.load(model)
    config = loaded.model.config
    if config.reads == "features":
        answer = _table(loaded.model, held_out)
    elif config.task != "generate":
        raise ValueError(f"--model: {model} is no language model.")
    elif loaded.tokenizer is None:
        raise ValueError(f"--model: {model} has no tokenizer.json.")
    else:
        answer = _text(loaded, held_out)
    if held_out is None:
        _warn_if_trained_on(pathlib.Path(model).parent)
    print(answer)


def _split() -> str:
    """The split of the source."""
    return _SPLIT.value or ("test" if _source() == "kjv" else "train")


def _source() -> str:
    return _SOURCE.value or "kjv"


def _warn_if_trained_on(folder):
    """Warns where the run whose model this is learnt from the source."""
    learnt = checkpoint.data_of(folder / "checkpoints")
    if not learnt:
        return
    run = workdir.read(folder)
    try:  # what the run only evaluated on may have been deleted since
        for part in mixtures.parts(run.data.source, run.data.mixture):
            own = fingerprints.of_run(part.source, run.data.valid)
            for name in own.keys() - fingerprints.fingerprint(part.source).keys():
                learnt.pop(name, None)
    except ValueError:
        pass
    shared = fingerprints.shared(fingerprints.fingerprint(_source(), _split()), learnt)
    if shared:
        print(
            f"warning: the model was trained on {', '.join(shared[:3])}, so these "
            f"numbers flatter it; --workdir={folder} evaluates what its run held out."
        )


def _table(model, held_out) -> str:
    """The evaluation of a model of features on a table."""
    names, classes = model.config.labels, model.config.classes
    if held_out:
        data = held_out.data
        _, table = splits.table(data.source, data.valid, data.hold_out, names, classes)
        table = _given(table)
    else:
        table = tables.table(_source(), names, classes)
    dataset, _ = batches.table_eval(
        table.features_NF, table.labels_N, _BATCH.value or _ROWS
    )
    metrics = evaluation.make_evaluate(Classify())({"policy": model}, dataset)
    return f"rows {len(table.labels_N)}  {_numbers(metrics)}"


def _text(loaded, held_out) -> str:
    """The evaluation of a language model on documents."""
    config, name = loaded.model.config, f"{_source()} {_split()}"
    length = _LENGTH.value or config.context
    if held_out:
        data, name = held_out.data, f"held out by {_WORKDIR.value}"
        _, documents = mixtures.split(
            functools.partial(splits.documents, clean=data.clean),
            mixtures.parts(data.source, data.mixture),
            data.valid,
            data.hold_out,
        )
        _given(documents)
        length = _LENGTH.value or window(held_out, config)
    else:
        documents = sources.documents(_source(), _split())
    stream = formats.language_model(documents, loaded.tokenizer)
    if not _LENGTH.value:
        length = min(length, max(len(stream.tokens) - 1, 1))
    if loaded.model.limit and length > loaded.model.limit:
        raise ValueError(
            f"--length: {length}, at most the model's {loaded.model.limit} allowed."
        )
    stride = _STRIDE.value or max(length // 2, 1)
    batch = _BATCH.value or max(_TOKENS // length, 1)
    dataset, _ = batches.eval_windows(
        stream.tokens, length, batch, stride, stream.weights
    )
    evaluate = evaluation.make_evaluate(LanguageModel())
    began = time.perf_counter()
    metrics = evaluate({"policy": loaded.model}, dataset, stream.bytes)
    seconds = time.perf_counter() - began
    answer = (
        f"{name}: {stream.documents} documents, {stream.bytes} bytes, "
        f"{len(stream.tokens) - 1} tokens; window {length}, stride {stride}\n"
        f"{_numbers(metrics)}  ({seconds:.1f} s)"
    )
    if _XZ_SEEN.value:
        seen = sources.documents(_source(), _XZ_SEEN.value)
        texts = ["\n".join(d).encode() for d in (seen, documents)]
        bits = compression.xz_bits_per_byte(*texts)
        answer += f"\nxz -9e, having seen {_XZ_SEEN.value}: bits_per_byte {bits:.4f}"
    return answer


def _given(data):
    """The data; refuses a run that held nothing out."""
    if not data:
        raise ValueError(
            f"--workdir: {_WORKDIR.value} held nothing out; give --source."
        )
    return data


def _numbers(metrics):
    """The metrics as text."""
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
