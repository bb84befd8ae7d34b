"""Exported models that answer to whole texts, against the models themselves."""

import json

import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import models
from zoo.directory import GenerationConfig, Loaded
from zoo.saved_model import checker, writer
from zoo.saved_model.checker import c_api
from zoo.saved_model.signatures.classifier import Classifier
from zoo.text import framing

LABELS = ("ham", "späm", "other")
TEXTS = ["abc def", "", "a  b\n\nc", "<|endoftext|>", "é😀 x", "jig " * 40]
_BODY = {"vocab_size": 300, "context": 256, "width": 16, "layers": 1}
KINDS = {
    "text_cnn": {"vocab_size": 300, "width": 8, "filters": 6},
    "bag_of_words": {"vocab_size": 300, "buckets": 50, "widths": (7,)},
    "transformer": {"body": {"name": "transformer_lm", "heads": 2, **_BODY}},
    "lstm": {"body": {"name": "lstm_lm", "units": 16, **_BODY}},
    "encoder": {"body": {"name": "text_encoder", "heads": 2, **_BODY}},
}


def built(kind, **fields):
    name = kind if kind in zoo.names() else "headed"
    model = models.build(name, **KINDS[kind], **fields)
    for i, weight in enumerate(model.weights):
        noise = tf.random.stateless_normal(weight.shape, [i, 4], stddev=0.7)
        weight.assign(noise + (1.0 if weight.path.endswith("scale") else 0.0))
    return model


def answers(model, tokenizer, texts):
    """What the model says of texts, one by one."""
    frame = framing.frame(tokenizer, model.config)
    rows = [frame.around(tokenizer.encode(text)) for text in texts]
    return np.array(
        [model(tf.constant([row]), tf.constant([len(row)]))[0] for row in rows]
    )


def shares(logits):
    power = np.exp(logits - logits.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tokenizer):
    """A network of convolutions, and the folder of its version."""
    model = built("text_cnn", classes=3, labels=LABELS)
    loaded = Loaded(model, tokenizer, GenerationConfig())
    return model, writer.write(tmp_path_factory.mktemp("cnn") / "x", loaded)


@pytest.fixture(scope="module")
def session(exported):
    with c_api.Session(str(exported[1])) as opened:
        yield opened


def test_classifies_as_the_model_does(exported, session, tokenizer):
    out = session.run("classify", {"text": TEXTS})
    assert session.run("serving_default", {"text": TEXTS}) == out
    wanted = shares(answers(exported[0], tokenizer, TEXTS))
    np.testing.assert_allclose(out["probabilities"].tolist(), wanted, atol=1e-5)
    np.testing.assert_allclose(out["probability"].tolist(), wanted.max(-1), atol=1e-5)
    labels = [LABELS[i].encode() for i in wanted.argmax(-1)]
    assert out["label"].tolist() == labels and len(set(labels)) > 1


def test_tokenizes_as_the_model_reads(session, tokenizer):
    out = session.run("tokenize", {"text": TEXTS[:2]})
    ids = tokenizer.encode(TEXTS[0])
    assert out["lengths"].tolist() == [len(ids), 1]
    assert out["tokens"].tolist() == [ids, [tokenizer.end_id] + [0] * (len(ids) - 1)]


def test_a_row_has_the_same_bytes_at_any_place(session):
    first = session.run("classify", {"text": TEXTS})
    order = [5, 3, 0, 1, 4, 2]
    again = session.run("classify", {"text": [TEXTS[i] for i in order]})
    for place, row in enumerate(order):
        for name in first:
            assert again[name].row(place) == first[name].row(row)


def test_merges_requests_and_regresses(tmp_path, tokenizer, write_some):
    model = built("bag_of_words", task="regress")
    model.adapt(np.arange(300), np.arange(0, 300, 5))
    loaded = Loaded(model, tokenizer, GenerationConfig())
    folder = write_some(tmp_path / "x", loaded, "regress", batch=4)
    with c_api.Session(str(folder)) as session:
        for texts in (TEXTS[:3], TEXTS):  # more than a batch holds
            out = session.run("regress", {"text": texts})
            assert list(out) == ["value"]
            wanted = answers(model, tokenizer, texts)
            np.testing.assert_allclose(out["value"].tolist(), wanted, atol=1e-5)


@pytest.mark.parametrize(
    "kind, task",
    [("transformer", "classify"), ("lstm", "regress"), ("encoder", "classify")],
)
def test_headed_models_in_this_process(kind, task, tokenizer):
    classes = {"classes": 3} if task == "classify" else {}
    model = built(kind, task=task, **classes)
    signatures = Classifier(model, tokenizer).signatures()
    assert set(signatures) == {"serving_default", task, "tokenize"}
    method, specs, _ = signatures[task]
    answer = tf.function(method, input_signature=[*specs.values()], autograph=False)
    # a text encoder has no token for an empty text, so the end token stands there
    out, wanted = answer(tf.constant(TEXTS)), answers(model, tokenizer, TEXTS)
    if task == "regress":
        np.testing.assert_allclose(out["value"], wanted, atol=1e-4)
        return
    np.testing.assert_allclose(out["probabilities"], shares(wanted), atol=1e-4)
    names = [str(i).encode() for i in wanted.argmax(-1)]
    assert out["label"].numpy().tolist() == names


@pytest.mark.parametrize(
    "given, words",
    [
        (["a", b"b\xff"], "text: row 1 has"),
        (["a" * (2**20 + 1)], "text: row 0 has 1048577, bytes, at most 1048576"),
        (["😀" * 20_000], "tokens, at most 65536 allowed"),
        ([], "text: a batch of 0 rows, at least 1 allowed"),
    ],
    ids=["utf-8", "bytes", "tokens", "rows"],
)
def test_refuses(given, words, session):
    with pytest.raises(c_api.Error) as error:
        session.run("classify", {"text": given})
    assert error.value.code == "INVALID_ARGUMENT" and words in str(error.value)


def test_refuses_more_tokens_than_the_body_reads(tokenizer):
    method = Classifier(built("transformer"), tokenizer).classify
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 256 allowed"):
        method(tf.constant(["a " * 300]))


def test_the_checker_says_yes(exported):
    report = checker.check(str(exported[1]), calls=0)
    assert report.ok, report.failures()
    recorded = exported[1] / "assets.extra/requests.json"
    asked = {item["signature"] for item in json.loads(recorded.read_text())}
    assert asked == {"serving_default", "classify", "tokenize"}


def test_a_command_asks(exported, commands):
    done = commands("zoo.ask", f"--saved_model={exported[1]}", "--text=abc", "--text=")
    assert done.code == 0, done.out
    first, second = done.out.splitlines()[-2:]
    for line in (first, second):
        label, probability = line.split()
        assert label in LABELS and 0 < float(probability) <= 1
    done = commands("zoo.ask", f"--saved_model={exported[1]}", "--text=a", "--top_k=3")
    assert done.code == 1 and "--top_k: for --prompt" in done.out


def test_needs_a_tokenizer(tmp_path):
    loaded = Loaded(built("text_cnn"), None, GenerationConfig())
    with pytest.raises(ValueError, match="the model directory has no tokenizer.json"):
        writer.write(tmp_path / "x", loaded)
