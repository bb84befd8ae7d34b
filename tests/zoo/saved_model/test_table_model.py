"""What is exported of a dense net, against `model.predict`."""

import numpy as np
import pytest
import tensorflow as tf

from zoo import models
from zoo.directory import GenerationConfig, Loaded
from zoo.saved_model import writer
from zoo.saved_model.checker import c_api
from zoo.saved_model.checker.c_api import Error

F, LABELS = 3, ("rain", "snow", "sün")
KINDS = {
    "classify": {"classes": 3, "labels": LABELS},
    "classify without labels": {"classes": 3},
    "regress": {"classes": 0},
}
FEATURES = np.random.default_rng(0).normal(0, 4, (9, F)).astype(np.float32)


def export(folder, batch=0, **fields):
    """The model, and a session with what was exported of it."""
    model = models.build("dense_net", features=F, widths=(8, 8), **fields)
    for i, weight in enumerate(model.weights):
        weight.assign(tf.random.stateless_normal(weight.shape, [i, 3]))
    model.adapt(FEATURES)
    path = writer.write(folder, Loaded(model, None, GenerationConfig()), batch=batch)
    return model, c_api.Session(str(path))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    model, session = export(tmp_path_factory.mktemp("net"), classes=3, labels=LABELS)
    with session:
        yield model, session


@pytest.mark.parametrize(
    "kind, batch",
    [
        *((kind, 0) for kind in KINDS),
        ("classify", 4),
        pytest.param("regress", 4, marks=pytest.mark.long),
        pytest.param("classify without labels", 4, marks=pytest.mark.long),
    ],
)
def test_answers_are_those_of_predict(tmp_path, kind, batch):
    model, session = export(tmp_path, batch, **KINDS[kind])
    signature = kind.split()[0]
    with session:
        assert set(session.signatures) == {"serving_default", signature}
        wanted = model.predict(FEATURES, verbose=0)
        for rows in (9, 1):
            inputs = {"features": FEATURES[:rows].tolist()}
            outputs = session.run(signature, inputs)
            assert session.run("serving_default", inputs) == outputs
            got = {name: value.tolist() for name, value in outputs.items()}
            if signature == "regress":
                assert set(got) == {"value"}
                np.testing.assert_allclose(got["value"], wanted[:rows], atol=1e-5)
                continue
            power = np.exp(wanted[:rows])
            share = power / power.sum(-1, keepdims=True)
            np.testing.assert_allclose(got["probabilities"], share, atol=1e-5)
            np.testing.assert_allclose(got["probability"], share.max(-1), atol=1e-5)
            names = KINDS[kind].get("labels") or ("0", "1", "2")
            labels = [names[i].encode() for i in wanted[:rows].argmax(-1)]
            assert got["label"] == labels
    assert signature == "regress" or len(set(wanted.argmax(-1))) > 1


def test_a_row_has_the_same_bytes_at_any_place(classifier):
    _, session = classifier
    rows = FEATURES[:4].tolist()
    first = session.run("classify", {"features": rows})
    again = session.run("classify", {"features": [rows[2], rows[0], rows[2], rows[1]]})
    for place, row in enumerate((2, 0, 2, 1)):
        for name in first:
            assert again[name].row(place) == first[name].row(row)


BAD = {
    "no rows": (("float32", (0, F), b""), "features: a batch of 0 rows, at least 1"),
    "NaN": ([[1, 2, 3], [1, float("nan"), 3]], "features: row 1 has"),
    "infinity": ([[1, 2, 3], [float("inf"), 2, 3]], "features: row 1 has"),
    "one feature": ([[1], [2]], "not compatible with expected shape [?,3]"),
    "too many": ([[1, 2, 3, 4]], "not compatible with expected shape [?,3]"),
    "no features": (("float32", (2, 0), b""), "not compatible with expected shape"),
    "rank 0": (1.0, "not compatible with expected shape"),
    "rank 1": ([1, 2, 3], "not compatible with expected shape"),
    "rank 3": ([[[1, 2, 3]]], "not compatible with expected shape"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_refused(classifier, name):
    _, session = classifier
    value, words = BAD[name]
    good = {"features": FEATURES.tolist()}
    before = session.run("classify", good)
    for signature in ("classify", "serving_default"):
        with pytest.raises(Error) as error:
            session.run(signature, {"features": value})
        assert error.value.code == "INVALID_ARGUMENT"
        assert words in error.value.text
    assert session.run("classify", good) == before
