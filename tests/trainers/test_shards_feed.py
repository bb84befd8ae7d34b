"""Training on shards: the batches of the text, mixtures, schedules and damage."""

import collections
import dataclasses
import itertools
import json
import os
import shutil

import numpy as np
import pytest

from trainers import feeds, loop
from trainers import roles as roles_lib
from trainers.evaluation import language
from trainers.evaluation.request import Request
from trainers.objectives import Classify, LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo import directory
from zoo.data import fingerprints, formats, shards
from zoo.data.batches import lm_batches, stream_batches
from zoo.models import bag_of_words, transformer_lm
from zoo.text import tokenizer as tokenizers

MODEL = dict(vocab_size=301, context=16, width=8, layers=1, heads=1)
TEXTS = {"a": 40, "b": 12, "valid": 5, "test": 3}


def lines(name, count):
    return [f"{name} {i}: " + f"abc {name} " * (i % 7 * 9) for i in range(count)]


@pytest.fixture(scope="module")
def place(tokenizer, tmp_path_factory):
    """Shards of two texts, the same texts as files, and a tokenizer with a prefix."""
    folder = tmp_path_factory.mktemp("place")
    value = json.loads(tokenizer.json)
    value["added_tokens"].append(dict(value["added_tokens"][0], content="<s>", id=300))
    value["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": x, "type_id": 0}} for x in "AB"],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [300], "tokens": ["<s>"]}},
    }
    own = tokenizers.Tokenizer(json.dumps(value), tokenizer.config)
    own.save(str(folder / "vocabulary"))
    for name, count in TEXTS.items():
        rows = "".join(json.dumps({"text": t}) + "\n" for t in lines(name, count))
        (folder / f"{name}.jsonl").write_text(rows)
    for name in "ab":
        entries = {}
        for split, given in (("train", name), ("valid", "valid"), ("test", "test")):
            if name == "b" and split != "train":
                continue
            texts = lines(given, TEXTS[given])
            entries[split] = []
            for n, first in enumerate(range(0, len(texts), 9)):
                ids = own.encode_batch(texts[first : first + 9])
                size = sum(len(t.encode()) for t in texts[first : first + 9])
                name_of = f"{split}-{n:05}"
                entries[split].append(
                    shards.write(folder / name, name_of, ids, own, size)
                )
        shards.finish(folder / name, entries, own)
    return folder


def run_of(source, model=None, run=None, **data):
    fields = {"source": source, "batch": 4, **data}
    return Run(
        **{
            "model": transformer_lm.Config(**{**MODEL, **(model or {})}),
            "objective": LanguageModel(),
            "data": Data(**fields),
            "optimizer": Optimizer(lr=1e-2, decay="constant"),
            "steps": 5,
            "log_every": 1,
            **(run or {}),
        }
    )


def made(run):
    return feeds.make(run, roles_lib.start(run))


def taken(dataset, count):
    some = itertools.islice(iter(dataset), count)
    return [{k: v.numpy() for k, v in batch.items()} for batch in some]


def check_equal(left, right):
    assert len(left) == len(right) > 0
    for one, other in zip(left, right, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype
            np.testing.assert_array_equal(one[name], other[name])


@pytest.fixture
def evaluated(monkeypatch):
    """Makes `feed.evaluate(roles)` return what it would evaluate on."""
    from trainers import evaluation

    def given(objective):
        return lambda roles, dataset, size=0: (list(dataset), size)

    monkeypatch.setattr(evaluation, "make_evaluate", given)


def test_the_batches_are_those_of_the_text(place, evaluated):
    ours = made(run_of(f"shards:{place}/a"))
    theirs = made(
        run_of(
            f"jsonl:{place}/a.jsonl",
            valid=f"jsonl:{place}/valid.jsonl",
            tokenizer=str(place / "vocabulary"),
        )
    )
    assert (ours.rows, ours.units, ours.length) == (theirs.rows, theirs.units, 16)
    assert ours.tokenizer.json == theirs.tokenizer.json
    epoch = ours.rows // 4
    check_equal(taken(ours.train(0, {}), epoch), taken(theirs.train(0, {}), epoch))
    later = taken(ours.train(1000, {}), 3)
    check_equal(later, taken(theirs.train(1000, {}), 3))
    assert any((batch["weights"] == 0).any() for batch in later)  # of the prefix
    (own, size), (given, other_size) = ours.evaluate({}), theirs.evaluate({})
    assert size == other_size
    check_equal(
        *([{k: v.numpy() for k, v in b.items()} for b in x] for x in (own, given))
    )


def test_a_mixture_of_shards_and_text_is_that_of_text(place, evaluated, capsys):
    given = dict(hold_out=0.2, schedule=("10: 0 1", "12: 1 1"))
    vocabulary = str(place / "vocabulary")
    b = f"1 jsonl:{place}/b.jsonl"
    ours = made(run_of("", mixture=(f"3 shards:{place}/a", b), **given))
    theirs = made(
        run_of(
            "",
            mixture=(f"3 jsonl:{place}/a.jsonl", b),
            tokenizer=vocabulary,
            valid=f"jsonl:{place}/valid.jsonl",
            **{**given, "hold_out": 0.0},
        )
    )
    out = capsys.readouterr().out
    assert (
        f"mixture from step 10 on: 0 of 1 shards:{place}/a (30 before), 1 of 1" in out
    )
    # the share that is held out of the text is another stream, so compare the shards
    left, right = (taken(feed.train(0, {}), 14) for feed in (ours, theirs))
    a = formats.language_model(lines("a", 40), ours.tokenizer).tokens.tolist()

    def within(row, tokens):
        text = " ".join(map(str, row.tolist()))
        return f" {text} " in f" {' '.join(map(str, tokens))} "

    for batches in (left, right):
        sources = [
            ["a " in ours.tokenizer.decode(row) for row in b["tokens"]] for b in batches
        ]
        assert [sum(s) for s in sources[:10]] == [3] * 10
        assert not any(map(any, sources[10:12])) and len(a)
    # what both hold out: the split of the one, a share of the other
    documents, size = ours.evaluate({})
    text = ours.tokenizer.decode(
        np.concatenate([np.concatenate(b["targets"].numpy()) for b in documents])
    )
    assert "valid 4:" in text and "b " in text and "a 1:" not in text
    assert size > len("\n".join(lines("valid", 5)))


def test_a_schedule_has_exact_counts_and_epochs_go_on():
    streams = [np.arange(101), 1000 + np.arange(101)]
    given = dict(starts=[0, 101], shares=[3, 1], schedule=[(6, (0, 1)), (8, (1, 1))])
    tokens = np.concatenate(streams)

    def rows(start, take):
        dataset = lm_batches(tokens, 10, 4, 1, start, **given)
        return [batch["tokens"][:, 0] for batch in taken(dataset, take)]

    found = rows(0, 16)
    counts = [int((x < 1000).sum()) for x in found]
    assert counts[:8] == [3] * 6 + [0, 0] and sum(counts[8:]) == 16
    first = [int(x) for batch in found for x in batch if x < 1000]
    shifts = {
        epoch: {x % 10 for x in first[9 * epoch : 9 * epoch + 9]} for epoch in (0, 1)
    }
    assert all(len(own) == 1 for own in shifts.values())  # each epoch is whole
    for epoch in (0, 1, 2):
        assert len(set(first[9 * epoch : 9 * epoch + 9])) == 9
    for start in (5, 7, 9):
        for one, other in zip(rows(start, 4), found[start:], strict=False):
            np.testing.assert_array_equal(one, other)


def test_workers_share_a_batch(place):
    streams = [shards.read(place / name).stream("train") for name in "ab"]
    more = dict(shares=(3, 1), schedule=((2, (1, 1)),))
    whole = taken(stream_batches(streams, 16, 8, 0, **more), 5)
    parts = [
        taken(stream_batches(streams, 16, 8, 0, worker=(i, 4), **more), 5)
        for i in range(4)
    ]
    joined = [
        {name: np.concatenate([b[name] for b in own]) for name in own[0]}
        for own in zip(*parts, strict=True)
    ]
    check_equal(whole, joined)
    with pytest.raises(ValueError, match="worker: 0 of 3, .* divide the batch of 8"):
        stream_batches(streams, 16, 8, 0, worker=(0, 3), **more)


def test_a_stop_in_a_phase_changes_no_bit(place, tmp_path):
    mixture = (f"3 shards:{place}/a", f"1 shards:{place}/b")
    run = run_of(
        "",
        mixture=mixture,
        schedule=("2: 1 1", "4: 0 1"),
        run={"steps": 6, "save_every": 3},
    )
    loop.train(run, tmp_path / "w")
    weights = tmp_path / "w/model/model.safetensors"
    whole = weights.read_bytes()
    log = [
        json.loads(x) for x in (tmp_path / "w/metrics.jsonl").read_text().splitlines()
    ]
    shares = [x["mixture_0"] for x in log if "mixture_0" in x]
    assert shares == [0.75, 0.75, 0.5, 0.5, 0, 0]
    for name in ("checkpoints/00000006", "model"):
        shutil.rmtree(tmp_path / "w" / name)
    assert loop.train(run, tmp_path / "w").step == 6
    assert weights.read_bytes() == whole
    # shards that were prepared anew are other data
    entry = fingerprints.of_run(f"shards:{place}/a")
    assert sorted(entry) == [f"{place}/a train", f"{place}/a valid"]


def test_evaluation_reads_a_split(place, tmp_path):
    tokenizer = directory.read_tokenizer(str(place / "vocabulary"))
    from zoo import build

    directory.save(tmp_path / "m", build("transformer_lm", **MODEL), tokenizer)
    loaded = directory.load(tmp_path / "m")
    ours, theirs = (
        language.evaluate(loaded, Request(source=source, split=split))
        for source, split in (
            (f"shards:{place}/a", "test"),
            (f"jsonl:{place}/test.jsonl", "train"),
        )
    )
    assert ours.facts == theirs.facts
    assert [repr(x) for x in ours.measures] == [repr(x) for x in theirs.measures]
    with pytest.raises(ValueError, match="split: 'tst'. Did you mean test"):
        language.evaluate(loaded, Request(source=f"shards:{place}/a", split="tst"))
    with pytest.raises(ValueError, match="--limit: 1, but shards are read whole"):
        language.evaluate(loaded, Request(source=f"shards:{place}/a", limit=1))


@pytest.mark.parametrize(
    "change, words",
    [
        (
            {"model": {"vocab_size": 300}},
            "at least the tokenizer's 301",
        ),
        (
            {"tokenizer": "OTHER"},
            "config.data.tokenizer: .*other: the tokenizer",
        ),
        (
            {"mixture": ("1 shards:A", "1 shards:OTHERS")},
            "the tokenizer has the SHA-256",
        ),
        ({"source": "shards:/none"}, "/none/shards.json: there is no such file"),
        ({"clean": ("trim",)}, "config.data.clean: .* shards hold tokens"),
        ({"format": "chat"}, "only a language model with the format lm reads shards"),
        ({"length": 9000, "model": {"context": 9000}}, "a window of length 9000 needs"),
        ({"schedule": ("5: 1 1",)}, "'5: 1 1', but only config.data.mixture has weig"),
        ({"source": "shards:B", "run": {"eval_every": 1}}, "have no split 'valid'"),
    ],
)
def test_refusals_before_the_first_step(place, tokenizer, tmp_path, change, words):
    tokenizer.save(str(tmp_path / "other"))
    ids = tokenizer.encode_batch(lines("c", 30))
    entry = shards.write(tmp_path / "others", "train-00000", ids, tokenizer, 9)
    shards.finish(tmp_path / "others", {"train": [entry]}, tokenizer)

    def real(value):
        if isinstance(value, tuple):
            return tuple(map(real, value))
        if not isinstance(value, str):
            return value
        value = value.replace("OTHERS", str(tmp_path / "others"))
        value = value.replace("OTHER", str(tmp_path / "other"))
        for name in "AB":
            value = value.replace(f"shards:{name}", f"shards:{place}/{name.lower()}")
        return value

    change = {key: real(value) for key, value in change.items()}
    source = "" if "mixture" in change else f"shards:{place}/a"
    run = run_of(change.pop("source", source), **change)
    with pytest.raises(ValueError, match=words):
        loop.train(run, tmp_path / "w")
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    "entries, words",
    [
        (("0: 1 1",), "'0: 1 1', a step of at least 1"),
        (("4: 1 1", "4: 1 2"), "'4: 1 2', a step of at least 5"),
        (("x: 1 1",), "a step of at least 1 before ':'"),
        (("4 1 1",), "a step of at least 1"),
        (("4: 1",), "2 weights of at least 0"),
        (("4: 1 -1",), "2 weights of at least 0"),
        (("4: 0 0",), "2 weights of at least 0"),
        (("4: 1 y",), "2 weights of at least 0"),
        (
            ("4: 1 1",),
            "step 4 is inside a pattern of 3 rows; with a batch of 4",
        ),
    ],
)
def test_a_wrong_schedule(place, entries, words):
    mixture = (f"2 shards:{place}/a", f"1 shards:{place}/b")
    with pytest.raises(ValueError) as error:
        made(run_of("", mixture=mixture, schedule=entries))
    assert words in str(error.value)


def test_a_classifier_has_no_schedule(place):
    run = run_of(f"jsonl:{place}/a.jsonl", format="classify", schedule=("1: 1 1",))
    model = bag_of_words.Config(vocab_size=301, context=16, ngrams=1)
    run = dataclasses.replace(run, model=model, objective=Classify())
    with pytest.raises(ValueError, match="data.schedule: .* only a language mod"):
        made(run)


def test_damage_ends_a_run_with_the_file_and_the_byte(place, tmp_path):
    folder = shutil.copytree(place / "a", tmp_path / "a")
    path = folder / "train-00000.tfrecord"
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    run = run_of(f"shards:{folder}", run={"steps": 500})
    with pytest.raises(ValueError) as error:
        loop.train(run, tmp_path / "w")
    words = "record 0 at byte 0: its checksum is wrong; the file is damaged."
    assert str(error.value) == f"{path}: {words}"
    # within the budget: exact, and known before the first step
    run = run_of(f"shards:{folder}", max_bad_rows=1, run={"steps": 3})
    feed = made(run)
    counts = collections.Counter()
    for batch in taken(feed.train(0, {}), feed.rows // 4):
        counts.update((batch["weights"].sum(1) > 0).tolist())
    assert counts[False] > 0 and counts[True] > 0
    os.truncate(folder / "train-00001.tfrecord", 8207)
    with pytest.raises(ValueError, match="2 records are damaged, at most 1 allowed"):
        loop.train(run, tmp_path / "u")
    assert not (tmp_path / "u").exists()


def test_damage_of_what_is_held_out_is_an_error(place, tmp_path):
    folder = shutil.copytree(place / "a", tmp_path / "a")
    path = folder / "valid-00000.tfrecord"
    path.write_bytes(bytes(8208))
    run = run_of(f"shards:{folder}", max_bad_rows=9, run={"eval_every": 5})
    with pytest.raises(ValueError, match=f"{path}: record 0 at byte 0"):
        loop.train(run, tmp_path / "w")
