"""XLM-R's tokenizer of 250,002 pieces, of a GGUF file that llama.cpp ships.

python -m pytest tests/real/test_real_unigram.py -m long
"""

import types

import pytest
import real_texts
import tensorflow as tf
from real_packages import Unreachable, fetch

from zoo import directory
from zoo.text.in_graph import tokenizer as graph_tokenizer

TEXTS = 2000


@pytest.mark.long
def test_ids_of_the_graph_are_those_of_the_library():
    try:
        folder = fetch("llama-cpp-python")
    except Unreachable as reason:
        pytest.skip(str(reason))
    tokenizer = directory.read_tokenizer(
        folder / "models/ggml-vocab-nomic-bert-moe.gguf"
    )
    assert tokenizer.vocab_size == 250002
    assert tokenizer.encode("Hello world") == [35378, 8999]
    vocab = {str(i): i for i in range(tokenizer.vocab_size)}
    reference = types.SimpleNamespace(
        vocab=vocab,
        added=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        decode=lambda rows: [tokenizer.decode(row) for row in rows],
    )
    texts = [*real_texts.DOZEN, *real_texts.fuzz(reference, TEXTS, 0)]
    graph = graph_tokenizer.build(tokenizer.json)
    found = tf.function(graph.encode, autograph=False)(tf.constant(texts)).to_list()
    wrong = [
        text
        for text, ids in zip(texts, found, strict=True)
        if ids != tokenizer.encode(text)
    ]
    assert not wrong, wrong[:5]
