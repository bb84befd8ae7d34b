"""The format, the batches and the feed of sources with targets."""

import json

import numpy as np
import pytest

import zoo
from trainers import feeds
from trainers.objectives import LanguageModel
from trainers.roles import Start
from trainers.run import Data, Run
from zoo.data import batches
from zoo.metrics import bootstrap, overlap
from zoo.models.encoder_decoder_config import Config
from zoo.text import tokenizer as tokenizers

SOURCES = [f"{'ab ' * (n % 17 + 1)}{n}" for n in range(90)]
TARGETS = [f"{n} {'xy ' * (n % 11 + 1)}" for n in range(90)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    made = tokenizers.train(SOURCES + TARGETS, 300)
    folder = tmp_path_factory.mktemp("tokenizer")
    made.save(str(folder))
    return made, str(folder)


def run_of(rows, tmp_path, folder, **fields):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    data = {"source": f"jsonl:{path}", "tokenizer": folder, "format": "seq2seq"}
    own = {"batch": 8, "fields": ("source=en", "target=de"), "hold_out": 0.0}
    return Run(
        model=Config(vocab_size=300, context=64, start_id=0, padding_id=7),
        objective=LanguageModel(),
        data=Data(**{**data, **own, **fields}),
        steps=1,
    )


def feed_of(*args, **fields):
    run = run_of(*args, **fields)
    return feeds.make(run, Start(run.model))


def pairs():
    return [{"en": s, "de": t} for s, t in zip(SOURCES, TARGETS, strict=True)]


def taken(dataset, count):
    return [{k: v.numpy() for k, v in b.items()} for b in dataset.take(count)]


def test_an_epoch_has_every_pair_once_and_goes_on_anywhere(tokenizer, tmp_path):
    own, folder = tokenizer
    feed = feed_of(pairs(), tmp_path, folder)
    assert feed.rows == 90
    made = taken(feed.train(0, {}), 24)
    seen = []
    for batch in made[:12]:
        for i in range(8):
            source = batch["source"][i, : batch["source_lengths"][i]]
            there = batch["weights"][i] > 0
            if not there.any():
                continue
            target = batch["targets"][i][there]
            assert source[-1] == target[-1] == own.end_id
            assert batch["lengths"][i] == there.sum()
            assert batch["tokens"][i][0] == 0
            assert (batch["tokens"][i][there][1:] == target[:-1]).all()
            padding = batch["source"][i, batch["source_lengths"][i] :]
            assert (padding == 7).all()
            seen.append((own.decode(source), own.decode(target)))
    assert sorted(seen) == sorted(zip(SOURCES, TARGETS, strict=True))
    for number in (1, 13):
        for left, right in zip(
            taken(feed.train(number, {}), 3), made[number:], strict=False
        ):
            assert all(np.array_equal(left[k], right[k]) for k in left)
    first, second = (
        {tuple(b["source"][0]) for b in part} for part in (made[:12], made[12:])
    )
    assert first != second  # other rows share a batch in another epoch


def test_evaluation_has_every_pair_once():
    lengths = np.tile([3, 5, 40, 9], 5)
    starts = np.cumsum([0, *lengths])
    made = taken(
        batches.eval_seq2seq(np.arange(starts[-1], dtype=np.int32), starts, 4), 9
    )
    rows = np.concatenate([b["row"] for b in made])
    weight = np.concatenate([b["weights"].sum(1) for b in made])
    assert sorted(rows[weight > 0]) == list(range(10))
    assert sum(weight) == sum(lengths[1::2] - 1)


def test_a_side_is_as_wide_as_its_longest_row_needs():
    rng = np.random.default_rng(0)
    source = rng.integers(1, 61, 500)
    target = np.maximum(source * rng.uniform(0.5, 1.5, 500), 1).astype(int)
    starts = np.cumsum([0, *np.stack([source, target + 1], 1).ravel()])
    tokens = np.ones(starts[-1], np.int32)
    widths = set()
    for batch in taken(batches.seq2seq_batches(tokens, starts, 16, 0), 32):
        there = batch["weights"].any(1)
        for name, lengths, longest in (
            ("source", batch["source_lengths"], source.max()),
            ("tokens", batch["lengths"], target.max()),
        ):
            width = batch[name].shape[1]
            assert 0 <= width - lengths[there].max() < 8
            assert width % 8 == 0 or width == longest
        widths.add((batch["source"].shape[1], batch["tokens"].shape[1]))
    assert len(widths) > 8


def test_a_cut_source_keeps_its_end_and_a_cut_target_has_none(tokenizer, tmp_path):
    own, folder = tokenizer
    rows = [{"en": "ab " * 40, "de": "xy " * 40}]
    feed = feed_of(rows, tmp_path, folder, length=8, too_long="cut", batch=1)
    (batch,) = taken(feed.train(0, {}), 1)
    assert batch["source_lengths"][0] == batch["lengths"][0] == 8
    assert batch["source"][0, 7] == own.end_id
    assert own.end_id not in batch["targets"][0, :8]


def test_a_prefix_stands_before_each_source(tokenizer, tmp_path):
    own, folder = tokenizer
    feed = feed_of(pairs()[:1], tmp_path, folder, prefix="9: ", batch=1)
    (batch,) = taken(feed.train(0, {}), 1)
    assert own.decode(batch["source"][0, : batch["source_lengths"][0]]) == "9: ab 0"


@pytest.mark.parametrize(
    "row, fields, message",
    [
        ({"en": " ", "de": "x"}, {}, "rows.jsonl, line 1: source: the text is empty"),
        ({"en": "x", "de": ""}, {}, "target: the text is empty"),
        ({"en": "x"}, {}, "no column 'de'"),
        ({"en": "ab " * 90, "de": "x"}, {}, "source of .* tokens, at most 64 allowed"),
        ({"en": "x", "de": "ab " * 90}, {}, "target of .* tokens, at most 65 allowed"),
        ({"en": "x", "de": "x"}, {"format": "lm", "fields": ()}, "config.data.format"),
        ({"en": "x", "de": "x"}, {"length": 1}, "at least 2 allowed"),
        ({"en": "x", "de": "x"}, {"metrics": ("bleu",)}, "nothing is held out"),
    ],
)
def test_refuses(tokenizer, tmp_path, row, fields, message):
    with pytest.raises(ValueError, match=message):
        feed_of([row], tmp_path, tokenizer[1], **fields)


def test_span_corruption_needs_no_targets(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join(SOURCES))
    source = f"text:{tmp_path}/a.txt"
    own = {"source": source, "tokenizer": "", "fields": (), "hold_out": 0.2}
    feed = feed_of([], tmp_path, "", format="span_corruption", **own)
    (batch,) = taken(feed.train(0, {}), 1)
    marks = [i for i in range(300) if feed.tokenizer.decode([i]) == ""]
    assert len(marks) == 22  # the end token and the sentinels of a small vocabulary
    assert (batch["targets"][:, 0] == batch["targets"][0, 0]).all()
    assert batch["targets"][0, 0] in marks[1:] and batch["lengths"].max() <= 64
    with pytest.raises(ValueError, match="0 sentinels, and span_corruption"):
        bare = tokenizers.train(SOURCES, 300)
        bare.save(str(tmp_path / "bare"))
        own["tokenizer"] = str(tmp_path / "bare")
        feed_of([], tmp_path, "", format="span_corruption", **own)


def test_bad_rows_are_counted(tokenizer, tmp_path, capsys):
    feed = feed_of(
        [*pairs(), {"en": "", "de": "x"}], tmp_path, tokenizer[1], max_bad_rows=1
    )
    assert feed.rows == 90
    assert "1 bad" in capsys.readouterr().out


def test_shares_of_words():
    repeated = overlap.repetition(["a b c d a b c d", "a b"])
    assert repeated.tolist() == [[1, 5], [0, 0]]
    copied = overlap.copying(["the red house", "x"], ["The red car", "x"])
    assert copied.tolist() == [[1, 2], [0, 0]]
    assert bootstrap.ratio(overlap.lengths(["a b", "c"], ["a", "b c d"])) == 0.75


@pytest.mark.long
def test_answers_of_a_search_are_measured(tokenizer, tmp_path, commands):
    """With beams from the command line; and a model's default gives way to them."""
    path, output = tmp_path / "rows.jsonl", tmp_path / "found.json"
    rows = [{"source": "ab", "target": "xy"}, {"source": "ab ab", "target": "xy xy"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    sizes = {"vocab_size": 300, "context": 8, "width": 8, "heads": 2, "layers": 1}
    model = zoo.build("encoder_decoder", **sizes, encoder_layers=1)
    generation = zoo.GenerationConfig(beams=2, num_return_sequences=2)
    zoo.save(tmp_path / "model", model, tokenizer[0], generation=generation)
    args = f"--model={tmp_path}/model", f"--source=jsonl:{path}", "--metrics=chrf"
    done = commands("trainers.evaluate", *args, "--beams=3", f"--output={output}")
    assert done.code == 0, done.out
    facts = json.loads(output.read_text())["generation"]
    assert facts["num_beams"] == 3 and "num_return_sequences" not in facts
