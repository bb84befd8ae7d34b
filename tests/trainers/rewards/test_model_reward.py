"""The reward of a model directory: the model's own value of the sampled tokens."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from trainers import rewards
from trainers.feeds import companions
from trainers.rewards import Sample
from zoo import directory
from zoo.data import fingerprints
from zoo.models import headed
from zoo.text import tokenizer as tokenizers

CONFIG = dict(vocab_size=300, context=32, width=16, layers=1, heads=2)


@pytest.fixture(scope="module")
def folder(tokenizer, corpus, tmp_path_factory):
    """Model directories: a reward model, one of other tokens, a classifier."""
    folder = tmp_path_factory.mktemp("models")
    tf.keras.utils.set_random_seed(1)
    body = zoo.build("transformer_lm", **CONFIG)
    model = headed.put_on(body, task="regress", classes=0)
    directory.save(folder / "reward", model, tokenizer)
    other = tokenizers.train([corpus.read_text()[:3000]], 290)
    directory.save(folder / "other", model, other)
    directory.save(folder / "classes", headed.put_on(body), tokenizer)
    return folder


def samples():
    rng = np.random.default_rng(0)
    sizes = rng.permutation(np.arange(2, 33))
    return [
        Sample("p", f"{n}", rng.integers(0, 300, n).tolist(), bool(n % 2), {})
        for n in sizes
    ]


def test_is_the_model_s_value_of_the_tokens(folder, tokenizer):
    model = directory.load(folder / "reward").model
    entries = ["1 contains:1", f"2 model:{folder / 'reward'}"]
    with rewards.make(entries, tokenizer=tokenizer) as made:
        assert made.names == ("contains", "model")
        found = made(samples())
    for sample, (text, value) in zip(samples(), found, strict=True):
        assert text == ("1" in sample.answer)
        # the end token is none of the text that the model judges
        tokens = sample.tokens[:-1] if sample.ended else sample.tokens
        alone = model(tf.constant([tokens]), tf.constant([len(tokens)]))
        assert value == pytest.approx(float(alone[0]), abs=1e-5)
    assert np.ptp(found[:, 1]) > 0.1


def test_what_is_refused(folder, tokenizer):
    for name, message in (
        ("other", "another vocabulary than the model that answers .290 and 300"),
        ("classes", "has the task 'classify', regress"),
        ("none", "there is no such model directory"),
    ):
        with pytest.raises(ValueError, match=message):
            rewards.make([f"1 model:{folder / name}"], tokenizer=tokenizer)
    with pytest.raises(ValueError, match="a tokenizer is missing"):
        rewards.make([f"1 model:{folder / 'reward'}"])
    with rewards.make([f"1 model:{folder / 'reward'}"], tokenizer=tokenizer) as made:
        assert made([]).shape == (0, 1)
        made.check_length(32)
        with pytest.raises(ValueError, match="at most 32 tokens, .* may have 33"):
            made.check_length(33)
        with pytest.raises(ValueError, match="33 tokens, 1 to 32 allowed: prompt 'p'"):
            made([Sample("p", "a", [1] * 33, False, {})])


def test_a_resume_sees_that_the_model_changed(folder, tokenizer, tmp_path):
    model = directory.load(folder / "reward").model
    where = tmp_path / "reward"
    entries, found = [f"1 model:{where}"], []
    for factor in (1.0, 1.01):
        model.classifier.bias.assign(model.classifier.bias * factor + factor)
        directory.save(where, model, tokenizer, replace=True)
        found.append(companions.of_rewards(entries))
    line = f"reward model:{where} model.safetensors: the content changed"
    assert fingerprints.changes(*found) == [line]


def test_a_model_that_gives_nan_is_named(folder, tokenizer):
    made = rewards.make(
        [f"1 model:{folder / 'reward'}"], errors="score", tokenizer=tokenizer
    )
    made._models[0]._values = lambda tokens, lengths: tf.constant([1.0, np.nan])
    pair = [Sample("p", "a", [1], False, {}), Sample("p", "b", [1], False, {})]
    assert made(pair).tolist() == [[1], [0]] and made.failed == {"model": 1}
    made._errors = "stop"
    with pytest.raises(ValueError, match="'model' returned nan: .*answer 'b'"):
        made(pair)
