"""Exported masked language models: the tokens for each mask of a text."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from zoo import directory, models, registry
from zoo.directory import GenerationConfig, Loaded
from zoo.saved_model import checker
from zoo.saved_model.checker import c_api
from zoo.saved_model.signatures.fill_mask import FillMask
from zoo.text.tokenizer import Tokenizer

ENCODERS = pathlib.Path(__file__).parents[1] / "directory/families/encoders"
MASKS = {"bert": "[MASK]", "roberta": "<mask>"}
TEXTS = ["the {} of god", "{} a b {} [SEP] </s>", "x {}"]


def loaded(family):
    """A masked language model on a golden encoder, with its tokenizer."""
    body, tokenizer, _ = directory.load(ENCODERS / family)
    fields = registry.to_fields(body.config)
    model = models.build("headed", body=fields, task="fill_mask", hidden=True)
    for i, weight in enumerate(model.weights):
        noise = tf.random.stateless_normal(weight.shape, [i, 3], stddev=0.3)
        weight.assign(noise + (1.0 if weight.path.endswith("scale") else 0.0))
    config = {**tokenizer.config, "mask_token": MASKS[family]}
    return Loaded(model, Tokenizer(tokenizer.json, config), GenerationConfig())


def texts(family):
    return [text.format(*[MASKS[family]] * 2) for text in TEXTS]


def check(out, model, tokenizer, family, k):
    """Compares with the model's answers to ids that are put together by hand."""
    (mask_id,) = tokenizer.encode(MASKS[family], special=True)
    first, last = (2, 3) if family == "bert" else (0, 2)
    V = tokenizer.vocab_size
    for row, text in enumerate(texts(family)):
        parts = text.split(MASKS[family])
        if family == "roberta":  # this mask takes the spaces before it
            parts = [*(part.rstrip() for part in parts[:-1]), parts[-1]]
        ids = [first]
        for number, part in enumerate(parts):
            ids += [mask_id] * bool(number) + tokenizer.encode(part)
        ids = np.array([*ids, last])
        logits = model(tf.constant([ids]), tf.constant([len(ids)]))[0].numpy()
        masks = np.flatnonzero(ids == mask_id)
        assert out["num_masks"][row] == len(masks)
        for m, place in enumerate(masks):
            power = np.exp(logits[place] - logits[place].max())
            shares = power / power.sum()
            best = np.argsort(-shares[:V], kind="stable")[: k[row]]
            got = out["probabilities"][row][m]
            np.testing.assert_allclose(got[: k[row]], shares[best], atol=1e-5)
            assert not any(got[k[row] :])
            names = [tokenizer.decode([i]).encode() for i in best]
            assert out["tokens"][row][m][: k[row]] == names
            ids[place] = best[0]
        assert out["text"][row].decode() == tokenizer.decode(ids[1:-1])


@pytest.fixture(scope="module")
def exported(tmp_path_factory, write_some):
    """BERT with batching in the graph, and its folder."""
    one = loaded("bert")
    names = "serving_default fill_mask tokenize"
    base = tmp_path_factory.mktemp("mask") / "x"
    return one, write_some(base, one, names, batch=4)


@pytest.fixture(scope="module")
def session(exported):
    with c_api.Session(str(exported[1])) as opened:
        yield opened


def test_fills_masks_as_the_model_does(exported, session):
    k = [2, 6, 1]
    out = session.run("fill_mask", {"text": texts("bert"), "k": k})
    out = {name: value.tolist() for name, value in out.items()}
    check(out, exported[0].model, exported[0].tokenizer, "bert", k)


def test_five_tokens_by_default(exported, session):
    usual = session.run("fill_mask", {"text": texts("bert")})
    assert usual["tokens"].shape == (3, 2, 5)
    assert session.run("serving_default", {"text": texts("bert")}) == usual
    given = session.run("fill_mask", {"text": texts("bert"), "k": [5, 5, 5]})
    assert given == usual


def test_a_mask_that_takes_spaces_in_this_process():
    one = loaded("roberta")
    method, specs, _ = FillMask(one.model, one.tokenizer).signatures()["fill_mask"]
    fill = tf.function(method, input_signature=[*specs.values()], autograph=False)
    out = fill(tf.constant(texts("roberta")), tf.constant([3]))
    out = {name: value.numpy().tolist() for name, value in out.items()}
    check(out, one.model, one.tokenizer, "roberta", [3, 3, 3])


@pytest.mark.parametrize(
    "inputs, words",
    [
        ({"text": ["a [MASK]", "a"]}, "text: row 1 has 0, masks [MASK], at least 1"),
        ({"text": ["[MASK] " * 63]}, "text: row 0 has 65, tokens, at most 64 allowed"),
        ({"text": ["[MASK]"], "k": [0]}, "k: row 0 has 0, 1 to"),
        ({"text": ["[MASK]"], "k": [101]}, "k: row 0 has 101, 1 to"),
        ({"text": [b"[MASK]\xff"]}, "text: row 0 has"),
        ({"text": []}, "text: a batch of 0 rows"),
    ],
)
def test_refuses(inputs, words, session):
    with pytest.raises(c_api.Error) as error:
        session.run("fill_mask", inputs)
    assert error.value.code == "INVALID_ARGUMENT" and words in str(error.value)


def test_the_checker_says_yes(exported):
    report = checker.check(str(exported[1]), calls=0)
    assert report.ok, report.failures()


def test_a_command_asks(exported, commands):
    done = commands("zoo.ask", f"--saved_model={exported[1]}", "--text=x [MASK] [SEP]")
    assert done.code == 0, done.out
    tokens, text = done.out.splitlines()[-2:]
    assert len(tokens.split(", ")) == 5 and text.endswith("[ sep ]")


def test_needs_a_mask_token():
    one = loaded("bert")
    tokenizer = directory.load(ENCODERS / "bert").tokenizer
    with pytest.raises(ValueError, match="mask_token None, the name of one token"):
        FillMask(one.model, tokenizer)
