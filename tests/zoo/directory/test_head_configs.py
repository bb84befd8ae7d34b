"""The config.json of a model with a head: labels, and what is refused."""

import json
import pathlib

import pytest

from zoo.directory import hf
from zoo.models.text_encoder import Config as Encoder

FOLDER = pathlib.Path(__file__).parent / "families" / "heads"


def read(path):
    return json.loads((path / "config.json").read_text())


@pytest.mark.parametrize(
    "fields, labels",
    [
        ({"id2label": {"1": "b", "0": "a"}}, ("a", "b")),
        ({"id2label": {str(i): f"x{i}" for i in reversed(range(11))}}, None),
        ({"label2id": {"b": 1, "a": 0}}, ("a", "b")),
        ({"label2id": {"x": 0}, "id2label": {"0": "a", "1": "b"}}, ("a", "b")),
        ({"num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({"id2label": {"0": 4, "1": 5}}, ("4", "5")),
        ({"id2label": None, "problem_type": None}, ("LABEL_0", "LABEL_1")),
    ],
    ids=lambda value: str(value)[:40],
)
def test_labels(fields, labels):
    value = {**read(FOLDER / "bert_classify"), **fields}
    wanted = labels or tuple(f"x{i}" for i in range(11))
    assert hf.from_hf(value, "").labels == wanted


MULTI = "multi_label_classification"
SINGLE = "single_label_classification"
ALONE = {"id2label": {"0": "a"}}


@pytest.mark.parametrize(
    "name, fields, words",
    [
        (
            "bert_classify",
            {"problem_type": MULTI},
            f"problem_type '{MULTI}'; allowed: ",
        ),
        ("phi_classify", {"problem_type": MULTI}, f"problem_type '{MULTI}'; allowed: "),
        ("bert_classify", {"problem_type": "regression"}, "number of labels is 2; reg"),
        (
            "bert_classify",
            {"problem_type": SINGLE, **ALONE},
            "number of labels is 1; reg",
        ),
        (
            "bert_classify",
            {"id2label": {"0": "a", "2": "b"}},
            "id2label {'0': 'a', '2'",
        ),
        ("bert_classify", {"id2label": ["a", "b"]}, "id2label ['a', 'b'], a name for"),
        ("bert_classify", {"id2label": {"0": None, "1": "b"}}, "id2label {'0': None"),
        ("bert_classify", {"label2id": {"a": 1, "b": 1}}, "label2id {'a': 1, 'b': 1}"),
        ("bert_tag", {"num_labels": 3}, "num_labels 3, but id2label has 9 names"),
        ("bert_classify", {"num_labels": 10**12}, "num_labels 1000000000000, 1 to"),
        ("bert_classify", {"num_labels": 0}, "num_labels 0, 1 to 100000 allowed"),
        ("bert_classify", {"num_labels": "3"}, "num_labels '3' is not an integer"),
        ("bert_tag", ALONE, "headed.classes: 1"),
        ("bert_tag", {"classifier_dropout": 2.0}, "headed.dropout: 2.0"),
        (
            "bert_mask",
            {"tie_word_embeddings": False},
            "tie_word_embeddings False; allo",
        ),
        ("roberta_mask", {"hidden_act": "relu"}, "hidden_act 'relu'; allowed: gelu"),
        ("bert_tag", {"hidden_size": "8"}, "text_encoder.width: '8' is a str"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refused_configs(name, fields, words):
    with pytest.raises(ValueError) as error:
        hf.from_hf({**read(FOLDER / name), **fields}, "DIR/config.json")
    message = str(error.value)
    assert message.startswith("DIR/config.json: ") and words in message
    assert "\n" not in message and message.count("DIR") == 1


@pytest.mark.parametrize("names", [None, "BertForTokenClassification", [7], []])
def test_architectures_that_are_none(names):
    value = {**read(FOLDER / "bert_classify"), "architectures": names}
    assert isinstance(hf.from_hf(value, ""), Encoder)
