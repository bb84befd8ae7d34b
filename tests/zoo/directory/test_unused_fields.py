"""Fields of a config.json that a family does not have: one warning, or a refusal."""

import warnings

import numpy as np
import pytest
from directory_cases import built, output, read, write

from zoo import directory

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4}
LINEAR = {"rope_type": "linear", "factor": 2.0}


@pytest.fixture
def folder(tmp_path):
    directory.save(tmp_path / "m", built("llama"))
    return tmp_path / "m"


def load(folder, **fields):
    """Loads the model with other fields; returns it and the warnings."""
    write(folder, read(folder) | fields)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = directory.load(folder).model
    return output(model, "llama"), [str(w.message) for w in caught]


@pytest.mark.parametrize(
    "same, more, names",
    [
        ({}, {"pretraining_tp": 2}, ""),
        ({}, {"is_fast": True, "x": [1]}, "is_fast, x"),
        ({"rope_scaling": YARN}, {"attn_factor": 1.0}, "rope_scaling.attn_factor"),
        ({"rope_scaling": YARN}, {"finetuned": True}, "rope_scaling.finetuned"),
        (
            {"rope_scaling": LINEAR},
            {"original_max_position_embeddings": 8},
            "rope_scaling.original_max_position_embeddings",
        ),
    ],
    ids=lambda case: str(case)[:40],
)
def test_what_changes_nothing_is_read(same, more, names, folder):
    first, none = load(folder, **same)
    assert none == []
    if "rope_scaling" in same:
        more = {"rope_scaling": same["rope_scaling"] | more}
    second, messages = load(folder, **same | more)
    np.testing.assert_array_equal(first, second)
    assert len(messages) == (names != "")
    if names:
        assert f"config.json: the fields {names} are not used" in messages[0]


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"rope_scaling": YARN | {"attn_factor": 2.0}}, "attn_factor 2.0; allowed: 1"),
        (
            {"quantization_config": {"quant_method": "fp8", "x": "y" * 300}},
            "quantization_config 'fp8'; weights in float32",
        ),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads {'0': [1]}; allowed: {}"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder True; allowed: False"),
    ],
    ids=lambda case: str(case)[:40],
)
def test_what_changes_the_numbers_is_refused(fields, words, folder):
    write(folder, read(folder) | fields)
    with pytest.raises(ValueError) as error:
        directory.load(folder)
    assert words in str(error.value) and len(str(error.value)) < 300
