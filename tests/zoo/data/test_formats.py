"""The stream that a language model learns from."""

import numpy as np
import pytest

from zoo.data import formats
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
    assert stream.documents == 3
    assert stream.bytes == len("ab\né<|endoftext|>\n".encode())


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
