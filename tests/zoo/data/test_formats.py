"""The stream that a language model learns from."""

import numpy as np
import pytest
import tokenizers
from tokenizers import processors

from zoo.data import batches, formats
from zoo.data.formats import lm
from zoo.text import tokenizer


@pytest.fixture(scope="module")
def bytes_tokenizer():
    return tokenizer.train([], 257)


def test_documents_are_framed_by_end_tokens(bytes_tokenizer):
    stream = formats.language_model(["ab", "é<|endoftext|>", ""], bytes_tokenizer)
    end = bytes_tokenizer.end_id
    assert stream.tokens.dtype == np.int32
    assert np.flatnonzero(stream.tokens == end).tolist() == [0, 3, 19, 20]
    assert bytes_tokenizer.decode(stream.tokens[1:3]) == "ab"
    assert bytes_tokenizer.decode(stream.tokens[4:19]) == "é<|endoftext|>"
    assert stream.documents == 3 and stream.weights is None
    assert stream.bytes == len("ab\né<|endoftext|>\n".encode())


def test_documents_need_an_end_token(bytes_tokenizer):
    endless = tokenizer.Tokenizer(bytes_tokenizer.json, {"eos_token": None})
    with pytest.raises(ValueError, match="no token that ends a text"):
        formats.language_model(["ab"], endless)


@pytest.fixture(scope="module")
def start_tokenizer():
    """Bytes, with `<s>` 0 before a text and `</s>` 1 after a document."""
    plain = tokenizer.train([], 258, ("<s>", "</s>"))
    return _with_prefix(plain, {"eos_token": "</s>"}, "<s>")


def _with_prefix(plain, config, *names):
    engine = tokenizers.Tokenizer.from_str(plain.json)
    engine.post_processor = processors.TemplateProcessing(
        single=f"{' '.join(names)} $A",
        special_tokens=[(name, engine.token_to_id(name)) for name in names],
    )
    return tokenizer.Tokenizer(engine.to_str(), config)


def test_documents_start_as_prompts_do(start_tokenizer):
    a = start_tokenizer.encode("a")[0]
    stream = formats.language_model(["ab", "cd", ""], start_tokenizer)
    wanted = [0, a, a + 1, 1, 0, a + 2, a + 3, 1, 0, 1]
    assert stream.tokens.tolist() == wanted
    # Nobody asks a model to predict the start token.
    assert stream.weights.tolist() == [t != 0 for t in wanted]
    assert stream.documents == 3 and stream.bytes == 6


@pytest.mark.parametrize("names", [["<e>"], ["<e>", "<x>"]])
def test_an_end_token_that_starts_a_text_is_there_once(names):
    plain = tokenizer.train([], 258, ("<e>", "<x>"))
    both = _with_prefix(plain, plain.config, *names)
    stream = formats.language_model(["a", "b"], both)
    a = both.encode("a")[0]
    more = [1] * (len(names) - 1)
    assert stream.tokens.tolist() == [0, *more, a, 0, *more, a + 1, 0]
    if more:
        assert stream.weights.tolist() == [t != 1 for t in stream.tokens]
    else:
        assert stream.weights is None


def test_start_tokens_are_context_and_no_target(start_tokenizer):
    stream = formats.language_model(["ab", "cd"] * 4, start_tokenizer)
    length = len(stream.tokens) - 1
    dataset, _ = batches.eval_windows(stream.tokens, length, 1, weights=stream.weights)
    trained = batches.lm_batches(
        stream.tokens, length, 1, seed=0, weights=stream.weights
    )
    for batch in (next(iter(dataset)), next(iter(trained))):
        targets, weights = batch["targets"][0].numpy(), batch["weights"][0].numpy()
        np.testing.assert_array_equal(weights, targets != 0)
        assert batch["tokens"][0, 0] == 0


def test_chunks_of_any_size_give_the_same_stream(bytes_tokenizer, monkeypatch):
    texts = [f"text {i}" * i for i in range(50)]
    whole = formats.language_model(iter(texts), bytes_tokenizer)
    monkeypatch.setattr(lm, "_CHUNK", 100)
    parts = formats.language_model(iter(texts), bytes_tokenizer)
    np.testing.assert_array_equal(whole.tokens, parts.tokens)
    assert (whole.bytes, whole.documents) == (parts.bytes, parts.documents)


def test_no_document_is_an_error(bytes_tokenizer):
    with pytest.raises(ValueError, match="no document"):
        formats.language_model([], bytes_tokenizer)
