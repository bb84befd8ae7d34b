"""Text classifiers on one split, beside TF-IDF and logistic regression.

    python -m benchmarks.text_classification --source=jsonl:mails.jsonl \
        --fields=text=text,label=label

Texts that occur before are left out, with their labels. A fifth of the rest is the test
set (scikit-learn's split, seed 0); no model sees the test set before its last step, and
each trains for a fixed number of epochs. A model has the vocabulary of its own run,
trained on the training texts. --encoder=DIR adds a pretrained encoder with a new head.
The intervals are of 1,000 bootstrap resamples at 95 %. The seconds are those of
training, with the tokenizer's and without the start of Python. No text is printed.
"""

import dataclasses
import json
import pathlib
import tempfile
import time
from collections.abc import Iterator

import numpy as np
from absl import flags

from zoo import command

with command.quiet_imports():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline

    from configs import classify_text, classify_text_cnn
    from trainers import evaluation, loop
    from trainers.objectives import Classify
    from trainers.run import Data, Optimizer, Run
    from trainers.run_flags import run_app
    from zoo import directory
    from zoo.data import batches, formats, sources
    from zoo.metrics import bootstrap, classification
    from zoo.models import headed, recurrent_lm, text_encoder
    from zoo.text import framing

_SOURCE = flags.DEFINE_string("source", None, "The texts: jsonl:PATH or tfds:NAME.")
_FIELDS = flags.DEFINE_list("fields", [], "field=column, for text and label.")
_MODELS = flags.DEFINE_list("models", [], "Only these rows of the table; default all.")
_ENCODER = flags.DEFINE_string("encoder", "", "A model directory to put a head on.")
_WORKDIR = flags.DEFINE_string("workdir", "", "Keeps the runs there; else nowhere.")

_TEST, _SEED, _ROWS = 0.2, 0, 32


def main(argv):
    """Prints the table, a row as soon as it is measured."""
    del argv
    if not _SOURCE.value:
        raise ValueError("--source: missing; give jsonl:PATH or tfds:NAME.")
    texts, names = read()
    train, test = train_test_split(texts, test_size=_TEST, random_state=_SEED)
    print(f"{len(train)} training texts, {len(test)} test texts, classes: {names}")
    head = "accuracy (interval)", "macro-F1 (interval)"
    print(f"{'model':20}  {head[0]:25}  {head[1]:25}  seconds")
    right_N = np.array([names.index(label) for _, label in test])
    for name, peer in peers().items():
        if wanted(name):
            began = time.perf_counter()
            peer.fit(*zip(*train, strict=True))
            seconds = time.perf_counter() - began
            found = peer.predict([text for text, _ in test]).tolist()
            show(name, right_N, np.array([names.index(x) for x in found]), seconds)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(_WORKDIR.value or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "train.jsonl"
        rows = [json.dumps({"text": text, "label": label}) for text, label in train]
        path.write_text("\n".join(rows), encoding="utf-8")
        for name, run in runs(f"jsonl:{path}"):
            if wanted(name):
                began = time.perf_counter()
                loop.train(run, folder / name)
                seconds = time.perf_counter() - began
                answers = answers_of(run, folder / name / "model", test)
                show(name, answers.labels_N, answers.answers_N, seconds)


def read() -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """The texts with the names of their labels, each text once; and all names."""
    source, format = str(_SOURCE.value), formats.BY_NAME["classify"]
    columns = formats.rows.columns(format, _FIELDS.value)
    indexed = sources.label_names(source, columns["label"])
    numbered = list(sources.numbered(source))
    found = formats.labels.names_of(numbered, columns["label"], indexed)
    names = formats.labels.ordered(found, indexed)
    labels, texts = formats.Labels(names, indexed), {}
    for where, example in numbered:
        if isinstance(example, ValueError):
            raise example
        try:
            index = labels.read(example[columns["label"]])
            text = formats.rows.text_of({"text": example[columns["text"]]}, "text")
        except (KeyError, ValueError) as error:
            raise ValueError(f"{where}: {error}") from None
        texts.setdefault(text, names[int(index)])
    return list(texts.items()), names


def peers() -> dict:
    """scikit-learn's classifiers: with its defaults, and with settings for texts."""
    return {
        "tfidf_default": make_pipeline(
            TfidfVectorizer(), LogisticRegression(max_iter=2000)
        ),
        "tfidf_bigrams": make_pipeline(
            TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2),
            LogisticRegression(C=30, max_iter=2000),
        ),
    }


def runs(source: str) -> Iterator[tuple[str, Run]]:
    """The Runs by name; all learn from the whole source and evaluate nothing."""
    lstm = recurrent_lm.Config(
        vocab_size=8192, context=256, width=128, units=128, layers=1
    )
    transformer = text_encoder.Config(
        vocab_size=8192, context=256, width=128, layers=2, heads=4, dropout=0.1
    )
    pretrained = headed.Config(body=None, classes=0, dropout=0.1)
    yield "bag_of_words", plain(classify_text.get_config(), source)
    yield "text_cnn", plain(classify_text_cnn.get_config(), source)
    for name, model, rate, epochs in (
        ("lstm", headed.Config(body=lstm, classes=0, pooling="mean"), 2e-3, 5),
        ("transformer", headed.Config(body=transformer, classes=0), 1e-3, 8),
        ("encoder", pretrained, 5e-5, 3),
    ):
        if name == "encoder" and not _ENCODER.value:
            continue
        run = Run(
            model=model,
            objective=Classify(),
            data=Data(format="classify", too_long="cut", batch=32, length=256),
            optimizer=Optimizer(lr=rate, warmup=50, final=0.0, weight_decay=0.05),
            epochs=epochs,
            # the largest of the models
            precision="bfloat16" if name == "encoder" else "float32",
            init_from=_ENCODER.value if name == "encoder" else "",
        )
        yield name, plain(run, source)


def plain(run: Run, source: str) -> Run:
    """The Run on a source, without evaluation, and with one checkpoint at its end."""
    data = dataclasses.replace(run.data, source=source, hold_out=0.0)
    return dataclasses.replace(
        run, data=data, eval_every=0, save_every=0, log_every=200, best="loss"
    )


def answers_of(run: Run, folder, test) -> evaluation.labels.Answers:
    """What a model directory answers to the test texts, cut as in training."""
    loaded = directory.load(folder)
    config, tokenizer = loaded.model.config, loaded.tokenizer
    assert tokenizer is not None
    rows = formats.rows.read(
        [("a test text", {"text": text, "label": label}) for text, label in test],
        formats.BY_NAME["classify"],
        tokenizer,
        run.data.length or config.context,
        too_long="cut",
        labels=formats.Labels(config.labels),
        frame=framing.frame(tokenizer, config),
    )
    dataset = batches.eval_labelled(rows.tokens, rows.starts, rows.labels, _ROWS)
    return evaluation.labels.make_answers()(loaded.model, dataset)


def wanted(name: str) -> bool:
    """Whether a row of the table is asked for."""
    return not _MODELS.value or name in _MODELS.value


def show(name: str, right_N, found_N, seconds: float) -> None:
    """Prints a row of the table."""
    pairs_N2 = np.stack([right_N, found_N], 1)
    cells = []
    for measure in (classification.accuracy, classification.macro_f1):
        low, high = bootstrap.interval(pairs_N2, lambda rows, f=measure: f(*rows.T))
        cells.append(f"{measure(right_N, found_N):.4f} ({low:.4f} to {high:.4f})")
    print(f"{name:20}  {cells[0]}  {cells[1]}  {seconds:7.1f}", flush=True)


if __name__ == "__main__":
    run_app(main)
