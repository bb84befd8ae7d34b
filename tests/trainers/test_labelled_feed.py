"""Models that answer with labels learn from texts: to the same bits after a stop."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

import zoo
from trainers import feeds, loop
from trainers import roles as roles_lib
from trainers.evaluation import labels as label_answers
from trainers.objectives import Classify, LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo import directory, registry
from zoo.models import bag_of_words, headed, recurrent_lm, text_encoder
from zoo.text import framing

ENCODER = dict(vocab_size=300, context=16, width=16, layers=1, heads=2)
LSTM = dict(cell="lstm", vocab_size=300, context=16, width=16, units=16, layers=1)


def write(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture(scope="module")
def mails(tmp_path_factory):
    """Texts that one word decides."""
    words = ["ab", "ca", "d", "fa", "ji"]  # short: one bucket, so one trace
    rng = np.random.default_rng(0)
    rows = []
    for i in range(80):
        text = [str(w) for w in rng.choice(words, rng.integers(2, 5))]
        text[rng.integers(len(text))] = ("he", "bi")[i % 2]
        rows.append({"body": " ".join(text), "kind": ("spam", "ham")[i % 2], "n": i})
    return write(tmp_path_factory.mktemp("mails") / "mails.jsonl", rows)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """Words that each have one tag."""
    rng = np.random.default_rng(1)
    words = {"aj": "O", "cj": "O", "fd": "B-X", "bd": "B-X", "gg": "I-X"}
    rows = []
    for i in range(60):
        chosen = [str(w) for w in rng.choice(list(words), rng.integers(2, 4))]
        rows.append({"tokens": [*chosen, f"{i}"], "tags": [words[w] for w in chosen]})
        rows[-1]["tags"].append("O")
    return write(tmp_path_factory.mktemp("tags") / "tags.jsonl", rows)


@pytest.fixture(scope="module")
def vocabulary(tokenizer, tmp_path_factory):
    """A folder with the byte-level tokenizer."""
    folder = tmp_path_factory.mktemp("vocabulary")
    tokenizer.save(str(folder))
    return folder


def run_of(source, vocabulary, model=None, **fields):
    """A Run on mails; fields of Data have the prefix data_."""
    data = dict(
        source=f"jsonl:{source}",
        format="classify",
        fields=("text=body", "label=kind"),
        hold_out=0.2,
        batch=8,
        tokenizer=str(vocabulary),
    )
    own = {k.removeprefix("data_"): v for k, v in fields.items() if "data_" in k}
    fields = {k: v for k, v in fields.items() if "data_" not in k}
    if model is None:
        model = bag_of_words.Config(vocab_size=300, context=16, ngrams=1, classes=0)
    usual = dict(steps=6, eval_every=3, save_every=3, log_every=1)
    return Run(
        model=model,
        objective=Classify(),
        data=Data(**{**data, **own}),
        optimizer=Optimizer(name="adam", lr=1e-2, decay="constant"),
        **{**usual, **fields},
    )


def lines(workdir):
    text = (workdir / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


# ---- what is learnt ----


@pytest.mark.parametrize(
    "model",
    [
        bag_of_words.Config(vocab_size=300, context=16, ngrams=1, classes=0),
        headed.Config(body=recurrent_lm.Config(**LSTM), classes=2),
    ],
    ids=["bag_of_words", "lstm"],
)
def test_texts_are_learnt(model, mails, vocabulary, tmp_path, capsys):
    run = run_of(
        mails,
        vocabulary,
        model,
        steps=60,
        eval_every=30,
        save_every=0,
    )
    result = loop.train(run, tmp_path / "w")
    assert result.metrics["accuracy"] > 0.95 and result.metrics["macro_f1"] > 0.95
    assert {"loss", "matthews", "ece"} < result.metrics.keys()
    assert lines(tmp_path / "w")[0]["accuracy"] < 0.9  # before the first step
    out = capsys.readouterr().out
    assert "held out: " in out and "0 bad, 0 dropped" in out
    saved = directory.load(tmp_path / "w/model")
    assert saved.model.config.labels == ("ham", "spam")
    assert saved.tokenizer is not None
    pictures = [
        value.tag
        for path in (tmp_path / "w/tensorboard").iterdir()
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "images"
    ]
    assert pictures == ["confusion"] * 3


def test_tags_are_learnt(sentences, vocabulary, tmp_path):
    model = headed.Config(body=text_encoder.Config(**ENCODER), task="tag", classes=0)
    run = run_of(
        sentences,
        vocabulary,
        model,
        steps=60,
        eval_every=60,
        data_format="tag",
        data_fields=(),
        best="+entity_f1",
    )
    result = loop.train(run, tmp_path / "w")
    assert result.metrics["accuracy"] > 0.95 and result.metrics["entity_f1"] > 0.9
    config = directory.load(tmp_path / "w/model").model.config
    assert config.labels == ("B-X", "I-X", "O")


def test_values_are_learnt(vocabulary, tmp_path):
    rows = [{"body": f"{'a ' * (i % 4)}b{i}", "kind": i % 4} for i in range(60)]
    source = write(tmp_path / "x.jsonl", rows)
    model = bag_of_words.Config(
        vocab_size=300, context=16, ngrams=1, task="regress", weighting="counts"
    )
    run = run_of(source, vocabulary, model, steps=80, eval_every=80)
    result = loop.train(run, tmp_path / "w")
    first = lines(tmp_path / "w")[0]
    assert result.metrics["mse"] == result.metrics["loss"] < first["loss"] / 4
    assert min(result.metrics["pearson"], result.metrics["spearman"]) > 0.8


def test_a_new_tokenizer_is_trained_on_the_texts(mails, tmp_path):
    model = bag_of_words.Config(vocab_size=270, context=16, ngrams=1, classes=0)
    run = run_of(mails, "", model)
    tokenizer = feeds.make(run, roles_lib.start(run)).tokenizer
    assert tokenizer.vocab_size == 270 and len(tokenizer.encode(" he")) == 1
    model = dataclasses.replace(model, vocab_size=5000)
    with pytest.raises(ValueError, match="vocab_size: 5000, but this corpus supports"):
        loop.train(run_of(mails, "", model), tmp_path / "v")


def test_adapt_sees_the_training_rows(mails, vocabulary):
    run = run_of(mails, vocabulary)
    begun = roles_lib.start(run)
    feed = feeds.make(run, begun)
    begun = roles_lib.with_labels(begun, feed.labels)
    roles = roles_lib.make(run, begun)
    feed.prepare(roles)
    idf = roles["policy"].idf.numpy()
    assert idf.min() < idf.max() == pytest.approx(np.log(1 + feed.rows) + 1)


@pytest.mark.parametrize(
    "kind", ["classify", pytest.param("tag", marks=pytest.mark.long)]
)
def test_a_stop_changes_no_bit(kind, mails, sentences, vocabulary, tmp_path):
    if kind == "tag":
        body = text_encoder.Config(**ENCODER, dropout=0.2)
        model = headed.Config(body=body, task="tag", classes=0, dropout=0.1)
        fields = dict(source=sentences, data_format="tag", data_fields=())
    else:
        model = bag_of_words.Config(
            vocab_size=300, context=16, ngrams=1, classes=0, dropout=0.2
        )
        fields = dict(source=mails)
    run = run_of(vocabulary=vocabulary, model=model, **fields)
    loop.train(run, tmp_path / "whole")
    loop.train(dataclasses.replace(run, steps=3), tmp_path / "parts")
    loop.train(run, tmp_path / "parts")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        whole, parts = (tmp_path / w / "model" / name for w in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes(), name


def test_a_head_on_a_pretrained_encoder(mails, tokenizer, tmp_path):
    body = zoo.build("text_encoder", **ENCODER)
    directory.save(tmp_path / "body", body, tokenizer)
    model = headed.Config(body=None, classes=0, labels=())
    run = run_of(
        mails,
        "",
        model,
        init_from=str(tmp_path / "body"),
        steps=2,
        eval_every=0,
    )
    loop.train(run, tmp_path / "w")
    saved = directory.load(tmp_path / "w/model")
    assert registry.name_of(saved.model.config) == "headed"
    assert saved.tokenizer.json == tokenizer.json


# ---- what is refused, before anything is written ----


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"format": "lm"}, "config.data.format: 'lm', but the model's task is classi"),
        ({"format": "tag"}, "config.data.format: 'tag', but the model's task is class"),
        ({"fields": ()}, ": no column 'label'"),
        ({"fields": ("label=kind",)}, ": no column 'text'"),
        ({"fields": ("text=body", "label=n")}, "occurs in the evaluation data only"),
        ({"length": 1}, "tokens, at most 1 allowed"),
        ({"too_long": "shorten"}, "config.data.too_long: 'shorten'"),
    ],
)
def test_what_is_refused(fields, words, mails, vocabulary, tmp_path):
    run = run_of(mails, vocabulary)
    run = dataclasses.replace(run, data=dataclasses.replace(run.data, **fields))
    with pytest.raises(ValueError) as error:
        loop.train(run, tmp_path / "w")
    assert words in str(error.value)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    "model, words",
    [
        (
            {"labels": ("ham", "eggs"), "classes": 2},
            ": label: 'spam'. Allowed: eggs, ham.",
        ),
        ({"classes": 3}, "labels: 2 classes (ham, spam), the model has 3."),
        ({"vocab_size": 290}, "config.model.vocab_size: 290, at least the tokenizer's"),
        ({"task": "regress"}, "a finite number allowed"),
    ],
)
def test_what_does_not_fit_the_model(model, words, mails, vocabulary, tmp_path):
    usual = dict(vocab_size=300, context=16, ngrams=1, classes=0)
    run = run_of(mails, vocabulary, bag_of_words.Config(**{**usual, **model}))
    with pytest.raises(ValueError) as error:
        loop.train(run, tmp_path / "w")
    assert words in str(error.value)
    assert words[0] != ":" or "mails.jsonl, line " in str(error.value)
    assert not (tmp_path / "w").exists()


def test_a_label_of_the_evaluation_data_alone(mails, vocabulary, tmp_path):
    other = write(
        tmp_path / "v.jsonl", [{"body": "a", "kind": k} for k in ("ham", "eggs")]
    )
    run = run_of(mails, vocabulary, data_valid=f"jsonl:{other}", data_max_bad_rows=9)
    with pytest.raises(ValueError) as error:
        loop.train(run, tmp_path / "w")
    assert "v.jsonl, line 2: the label 'eggs' occurs in the evaluation data only" in (
        str(error.value)
    )


def test_a_language_model_learns_no_labels(mails, vocabulary, tmp_path):
    run = run_of(mails, vocabulary, registry.config("lstm_lm", vocab_size=300))
    run.objective = LanguageModel()
    with pytest.raises(ValueError, match="config.data.format: 'classify'. Allowed: c"):
        loop.train(run, tmp_path / "w")


def test_a_length_without_room_for_a_text(mails, vocabulary, monkeypatch):
    run = run_of(mails, vocabulary, data_length=2)
    frame = framing.Frame([1], [2], [])
    monkeypatch.setattr(framing, "frame", lambda tokenizer, config: frame)
    with pytest.raises(ValueError, match="config.data.length: 2, but 2 tokens stand"):
        feeds.make(run, roles_lib.start(run))


# ---- answers ----


def test_measures_of_answers():
    config = bag_of_words.Config(classes=2, labels=("a", "b"))
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    labels = np.array([0, 1, 1, 1], np.int32)
    losses = -np.log(probabilities[np.arange(4), labels])
    found = np.argmax(probabilities, 1)
    answers = label_answers.Answers(np.arange(4), labels, found, losses, probabilities)
    values = label_answers.metrics(answers, config)
    assert values["loss"] == pytest.approx(losses.mean())
    assert values["accuracy"] == 0.75
    assert label_answers.confusion(answers, config).tolist() == [[1, 0], [1, 2]]
    low, high = label_answers.interval(answers, config)
    assert 0 <= low < 0.75 < high <= 1
    assert label_answers.main_metric(config) == "accuracy"


def test_a_resample_draws_whole_rows():
    config = headed.Config(task="tag", classes=3, labels=("O", "B-X", "I-X"))
    rows = np.array([0, 0, 0, 2, 2])
    labels = np.array([1, 2, 0, 1, 0])
    found = np.array([1, 2, 0, 1, 2])
    answers = label_answers.Answers(rows, labels, found, np.zeros(5))
    sampled, measure = label_answers.sample_rows(answers, config)
    assert sampled.tolist() == [[1, 1, 1], [0, 1, 1]] and measure(sampled) == 0.5
    plain = dataclasses.replace(config, labels=("a", "b", "c"))
    sampled, measure = label_answers.sample_rows(answers, plain)
    assert sampled.tolist() == [[3, 3], [1, 2]] and measure(sampled) == 0.8
