"""Evaluates a model on a source, or on what its training run held out.

    python -m trainers.evaluate --model=DIR --source=kjv
    python -m trainers.evaluate --workdir=runs/demo
    python -m trainers.evaluate --model=DIR --source=jsonl:qa.jsonl --format=prompt \
        --metrics=exact_match,f1
    python -m trainers.evaluate --model=DIR --audit=memorisation --train_source=SOURCE
    python -m trainers.evaluate --model=DIR --audit=bias --pairs=pairs.jsonl

A language model predicts every token of documents once, in windows that overlap by
half; of examples it predicts the answers. A model of features gets the loss, and a
classifier also the accuracy. An encoder searches the positives of pairs, and a
fill_mask model guesses hidden tokens. Every number has a bootstrap interval.
"""

import pathlib

from absl import flags

from trainers import evaluation_flags
from zoo import command

with command.quiet_imports(keras=True):
    from trainers import checkpoint, workdir
    from trainers.evaluation import audits, dispatch, report, request
    from trainers.feeds.text import window
    from zoo import directory
    from zoo.data import fingerprints, mixtures, sources
    from zoo.fields import one_of
    from zoo.metrics import compression

_MODEL = flags.DEFINE_string("model", None, "A model directory; or give --workdir.")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "A run; its model is evaluated on what the run held out."
)
_GIVEN = evaluation_flags.define()
_XZ_SEEN = flags.DEFINE_string(
    "xz_seen", "", "A split; also prints the bits of xz -9e primed with that split."
)
_AUDIT = flags.DEFINE_string(
    "audit", "", "memorisation or bias: audits a language model instead."
)
_TRAIN_SOURCE = flags.DEFINE_string(
    "train_source", "", "What the model was trained on, for --audit=memorisation."
)
_REPEATED = flags.DEFINE_integer(
    "repeated", 50, "Tokens in a row that count as memorised."
)
_PAIRS = flags.DEFINE_string(
    "pairs", "", "A .jsonl file of texts `more` and `less`, for --audit=bias."
)


def main(argv):
    del argv
    if bool(_MODEL.value) == bool(_WORKDIR.value):
        raise ValueError("--model, --workdir: give one of the two.")
    if _MODEL.value:
        command.suggest_model(_MODEL)
    _check_audit()
    output = _GIVEN["output"].value
    if output:
        report.check(output)
    run = workdir.read(_WORKDIR.value) if _WORKDIR.value else None
    model = _MODEL.value or str(pathlib.Path(_WORKDIR.value or "") / "model")
    loaded = directory.load(model)
    wanted = _request(loaded, run if not _GIVEN["source"].value else None)
    found = _evaluated(loaded, model, wanted)
    if not wanted.held_out and not _AUDIT.value:
        _warn_if_trained_on(pathlib.Path(model).parent, wanted)
    seed = wanted.knobs.get("seed", 0)
    summary = report.summary(found, seed) | {"model": model}
    print(report.lines(summary))
    if _XZ_SEEN.value:
        _print_xz(wanted)
    if output:
        report.write(output, summary, report.markdown(summary))


def _check_audit():
    """Refuses an audit that is unknown, or that lacks its data."""
    name = _AUDIT.value
    if name:
        one_of("--audit", name, audits.NAMES)
    for flag, audit in ((_TRAIN_SOURCE, "memorisation"), (_PAIRS, "bias")):
        if name == audit and not flag.value:
            raise ValueError(f"--{flag.name}: missing; --audit={audit} needs it.")
        if flag.value and name != audit:
            raise ValueError(f"--{flag.name}: only --audit={audit} reads it.")


def _request(loaded, run) -> request.Request:
    """What the flags ask for; the fields of a run's data are the defaults."""
    given = evaluation_flags.fields_of(_GIVEN)
    if run is None:
        return request.Request(**given)
    names = ("format", "fields", "prefix", "too_long", "max_bad_rows")
    own = {name: getattr(run.data, name) for name in names}
    length = 0
    if loaded.model.config.task == "seq2seq":
        length = run.data.length
    elif loaded.model.config.reads == "text":
        length = window(run, loaded.model.config)
    held_out = request.HeldOut(run, length, _WORKDIR.value or "")
    return request.Request(**{**own, **given, "held_out": held_out})


def _evaluated(loaded, model, wanted):
    """The evaluation or the audit."""
    if not _AUDIT.value:
        return dispatch.evaluated(loaded, model, wanted)
    if loaded.model.config.task != "generate" or loaded.tokenizer is None:
        raise ValueError(f"--model: {model} is no language model with a tokenizer.")
    if _AUDIT.value == "bias":
        return audits.bias(loaded, _PAIRS.value, wanted.batch)
    return audits.memorisation(loaded, wanted, _TRAIN_SOURCE.value, _REPEATED.value)


def _print_xz(wanted):
    """Prints the bits a byte of xz after it has seen another split."""
    seen = sources.documents(wanted.source, _XZ_SEEN.value)
    texts = ["\n".join(d).encode() for d in (seen, request.documents(wanted))]
    bits = compression.xz_bits_per_byte(*texts)
    print(f"xz -9e, having seen {_XZ_SEEN.value}: bits_per_byte {bits:.4f}")


def _warn_if_trained_on(folder, wanted):
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
    source = fingerprints.fingerprint(wanted.source, wanted.split)
    shared = fingerprints.shared(source, learnt)
    if shared:
        print(
            f"warning: the model was trained on {', '.join(shared[:3])}, so these "
            f"numbers flatter it; --workdir={folder} evaluates what its run held out."
        )


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
