"""The bag of words: scikit-learn's features, padding, and both answers."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.feature_extraction.text import TfidfVectorizer

from zoo import models, registry
from zoo.directory import load, save

V, BUCKETS = 12, 7
SMALL = {"vocab_size": V, "buckets": BUCKETS, "widths": (6,)}
RNG = np.random.default_rng(0)
# repeated tokens, one token, no token, and more tokens than one vector register holds
TEXTS = [
    [3, 3, 3, 5],
    [1],
    [],
    RNG.integers(0, V, 50).tolist(),
    *(RNG.integers(0, V, n).tolist() for n in (7, 2, 21)),
]


def built(**fields):
    model = models.build("bag_of_words", **{**SMALL, **fields})
    for i, v in enumerate(model.trainable_weights):  # initial weights say little
        noise = tf.random.stateless_normal(v.shape, [i, 7], stddev=0.3)
        v.assign(tf.convert_to_tensor(v.value) + noise)
    return model


def padded(texts, width=50, filling=0):
    rows = np.full((len(texts), width), filling, np.int32)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text)] = text
    return tf.constant(rows), tf.constant([len(text) for text in texts])


def flat(texts):
    tokens = np.array([i for text in texts for i in text], np.int32)
    return tokens, np.cumsum([0, *map(len, texts)])[:-1]


def features(ids, ngrams):
    """The features of a text, by Python's integers."""
    found = list(ids)
    for n in range(2, ngrams + 1):
        for t in range(len(ids) - n + 1):
            value = ids[t] + 1
            for i in ids[t + 1 : t + n]:
                value = (value * 1_000_003_127 + i + 1) % (2**31 - 1)
            found.append(V + (value + n) * 1_640_531_527 % (2**31 - 1) % BUCKETS)
    return found


def vectorizer(model):
    """scikit-learn's, with the features of a model."""
    c = model.config
    return TfidfVectorizer(
        analyzer=lambda ids: features(ids, c.ngrams),
        lowercase=False,
        vocabulary={i: i for i in range(c.features)},
        binary=c.weighting == "binary",
        sublinear_tf=c.sublinear and c.weighting != "binary",
        use_idf=c.weighting == "tfidf",
        dtype=np.float64,
    )


def dense(model, texts):
    """The features of a model as rows [R, F]."""
    ids, weights = (x.numpy() for x in model.weights_of(*padded(texts)))
    rows = np.zeros((len(texts), model.config.features))
    for row, i, w in zip(rows, ids, weights, strict=True):
        np.add.at(row, i, w)
    return rows


@pytest.mark.parametrize("ngrams", [1, 3])
@pytest.mark.parametrize("weighting", ["tfidf", "counts", "binary"])
@pytest.mark.parametrize("sublinear", [True, False])
def test_features_are_those_of_scikit_learn(ngrams, weighting, sublinear):
    model = built(ngrams=ngrams, weighting=weighting, sublinear=sublinear)
    model.adapt(*flat(TEXTS))
    wanted = vectorizer(model).fit_transform(TEXTS).toarray()
    np.testing.assert_allclose(dense(model, TEXTS), wanted, atol=1e-5)
    others = [[0, 11, 11], [9] * 40]
    wanted = vectorizer(model).fit(TEXTS).transform(others).toarray()
    np.testing.assert_allclose(dense(model, others), wanted, atol=1e-5)


def test_adapt_counts_in_parts(monkeypatch):
    model, whole = built(), built()
    whole.adapt(*flat(TEXTS))
    monkeypatch.setattr(models.bag_of_words, "_ADAPTED", 20)
    model.adapt(*flat(TEXTS))
    np.testing.assert_array_equal(model.idf, whole.idf)
    assert len(np.unique(model.idf)) > 2


def test_formula():
    model = built(classes=3, activation="tanh", widths=(6, 5))
    model.adapt(*flat(TEXTS))
    table, bias, *rest = (np.asarray(v.value) for v in model.trainable_weights)
    x = dense(model, TEXTS) @ table + bias
    for kernel, bias in zip(rest[::2], rest[1::2], strict=True):
        x = np.tanh(x) @ kernel + bias
    y = model(*padded(TEXTS))
    assert y.shape == (7, 3) and y.dtype == tf.float32
    np.testing.assert_allclose(y, x, atol=1e-4)


def test_regresses_without_a_hidden_layer():
    model = built(task="regress", widths=())
    y = model(*padded(TEXTS))
    table, bias = (np.asarray(v.value) for v in model.trainable_weights)
    assert y.shape == (7,) and table.shape == (V + BUCKETS, 1)
    np.testing.assert_allclose(y, (dense(model, TEXTS) @ table + bias)[:, 0], atol=1e-5)


@pytest.mark.parametrize("ngrams", [1, 2, 5])
def test_padding_changes_nothing(ngrams):
    model = built(ngrams=ngrams)
    model.adapt(*flat(TEXTS))
    y = model(*padded(TEXTS)).numpy()
    np.testing.assert_array_equal(model(*padded(TEXTS, filling=7)), y)
    np.testing.assert_allclose(model(*padded(TEXTS, 90)), y, atol=1e-6)
    for text, wanted in zip(TEXTS, y, strict=True):
        alone = model(*padded([text], len(text)))
        np.testing.assert_allclose(alone[0], wanted, atol=1e-6)


def test_a_row_has_the_same_bits_whoever_stands_beside_it():
    model = built(widths=(33,))
    model.adapt(*flat(TEXTS))
    given, lengths = padded(TEXTS)
    first, order = model(given, lengths).numpy(), [3, 0, 6, 1, 2, 5, 4]
    moved = model(tf.gather(given, order), tf.gather(lengths, order))
    np.testing.assert_array_equal(moved, first[order])


def test_penalties():
    model = built(l1=0.1, l2=0.01)
    kernels = [v.value for v in model.weights if v.name in ("kernel", "table")]
    assert len(kernels) == 2
    wanted = sum(
        0.1 * tf.reduce_sum(tf.abs(k)) + 0.01 * tf.reduce_sum(k**2) for k in kernels
    )
    assert float(sum(model.losses)) == pytest.approx(float(wanted), rel=1e-5)


# Keras' own saving asks numpy in a way that is going out of use
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras_saves_and_loads_it(tmp_path):
    model = built(labels=("a", "b"), dropout=0.2)
    model.adapt(*flat(TEXTS))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.config == model.config
    np.testing.assert_array_equal(again(*padded(TEXTS)), model(*padded(TEXTS)))


def test_a_model_directory_holds_it(tmp_path, tokenizer):
    model = built(vocab_size=tokenizer.vocab_size, labels=("ham", "späm"))
    model.adapt(*flat(TEXTS))
    save(tmp_path / "bag", model, tokenizer)
    loaded = load(tmp_path / "bag")
    assert loaded.model.config == model.config
    assert loaded.tokenizer.json == tokenizer.json
    np.testing.assert_array_equal(loaded.model.idf, model.idf)
    np.testing.assert_array_equal(loaded.model(*padded(TEXTS)), model(*padded(TEXTS)))


def test_learns_a_pair_of_tokens():
    """Single tokens do not tell the classes apart; their order does."""
    keras.utils.set_random_seed(0)
    model = models.build("bag_of_words", **{**SMALL, "buckets": 1000})
    given, labels = RNG.integers(4, V, (128, 12)).astype(np.int32), np.arange(128) % 2
    for row, place, label in zip(given, RNG.integers(0, 11, 128), labels, strict=True):
        row[place : place + 2] = (1, 2) if label else (2, 1)
    model.adapt(given.reshape(-1), np.arange(0, given.size, 12))
    model.compile(
        keras.optimizers.Adam(0.03),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(given, labels, 32, epochs=10, verbose=0)
    assert model.evaluate(given, labels, verbose=0)[1] > 0.95


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"ngrams": 0}, "ngrams: 0, at least 1"),
        ({"buckets": 0}, "buckets: 0, at least 1"),
        ({"weighting": "idf"}, "weighting: 'idf'. Did you mean tfidf?"),
        ({"task": "embed"}, "task: 'embed'. Allowed: classify, regress."),
        ({"classes": 1}, "classes: 1, 0 or at least 2"),
        ({"labels": ("a",)}, "labels: 1 names, classes 2"),
        ({"widths": (8, 0)}, "widths[1]: 0, at least 1"),
        ({"activation": "rely"}, "activation: 'rely'. Did you mean relu?"),
        ({"dropout": 1.0}, "dropout: 1.0, at least 0 and below 1"),
        ({"l1": -1.0}, "l1: -1.0, at least 0"),
    ],
)
def test_refuses(fields, words):
    with pytest.raises(ValueError) as error:
        registry.config("bag_of_words", **fields)
    assert words in str(error.value)


def test_needs_the_number_of_classes():
    config = registry.config("bag_of_words", classes=0)
    with pytest.raises(ValueError, match="classes: 0, which only a Run with data has"):
        registry.build_config(config)


def test_config_is_the_same_after_json():
    config = registry.config("bag_of_words", **SMALL, labels=("a", "b"))
    fields = json.loads(json.dumps(registry.to_fields(config)))
    assert registry.from_fields(fields) == config
