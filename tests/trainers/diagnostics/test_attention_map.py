"""The picture of the attention from an answer to its source."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from trainers.diagnostics import attention_map
from zoo import directory

SIZES = {"vocab_size": 300, "context": 16, "width": 16, "encoder_layers": 1}


def test_a_picture_of_the_greedy_answer(tokenizer, tmp_path):
    tf.keras.utils.set_random_seed(0)
    model = zoo.build("encoder_decoder", layers=1, heads=2, **SIZES)
    directory.save(tmp_path / "model", model, tokenizer)
    found = attention_map.of(str(tmp_path / "model"), "abc $a_b^ dab")
    assert found.weights.shape == (len(found.answer), len(found.source))
    np.testing.assert_allclose(found.weights.sum(1), 1, rtol=1e-5)
    assert found.source[0] and found.source[-1] == "<end>"
    attention_map.draw(str(tmp_path / "model"), "abc $a_b^ dab", tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000
    for text in ("", "abc " * 99):
        with pytest.raises(ValueError, match="--attention: a text of"):
            attention_map.of(str(tmp_path / "model"), text)


def test_a_language_model_has_no_source(tokenizer, tmp_path):
    model = zoo.build(
        "transformer_lm", vocab_size=300, context=16, width=16, layers=1, heads=2
    )
    directory.save(tmp_path / "model", model, tokenizer)
    with pytest.raises(ValueError, match="--model: .*an encoder-decoder"):
        attention_map.of(str(tmp_path / "model"), "abc")
