"""An answer continues its prompt: the space before its first word stays."""

import json
import types

import pytest
import tensorflow as tf
import tokenizers

from zoo.decode import generate
from zoo.directory import GenerationConfig
from zoo.saved_model.signatures.language_model import TextGenerator
from zoo.text.tokenizer import Tokenizer

WORDS = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁world"]
WORDS += ["▁Hello", *"Hedlorw"]
SPACE = "▁"


def llama_tokenizer():
    """BPE as Llama 2 has it: each space, and one before the text, is ▁."""
    merges, vocab = [], {word: i for i, word in enumerate(WORDS)}
    for word in ("▁world", "▁Hello"):
        for end in range(2, len(word) + 1):
            merges.append((word[: end - 1], word[end - 1]))
            vocab.setdefault(word[:end], len(vocab))
    engine = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True)
    )
    normalizers, decoders = tokenizers.normalizers, tokenizers.decoders
    engine.normalizer = normalizers.Sequence(
        [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
    )
    engine.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    engine.add_special_tokens(["<unk>", "</s>"])
    fields = json.loads(engine.to_str())
    return Tokenizer(json.dumps(fields), {"eos_token": "</s>"})


class Always:
    """A Decoder that always says one token."""

    limit, weights = 0, ()

    def __init__(self, token, rows):
        self.token, self.rows = token, rows
        self.config = types.SimpleNamespace(
            vocab_size=rows, task="generate", reads="text"
        )

    def start(self, tokens_BT, lengths_B, capacity):
        del tokens_BT, capacity
        return self.step(lengths_B, [])

    def step(self, token_B, state, in_place=False):
        del in_place
        return 9 * tf.one_hot(tf.ones_like(token_B) * self.token, self.rows), state


@pytest.fixture(scope="module")
def parts():
    tokenizer = llama_tokenizer()
    return Always(WORDS.index("▁world"), tokenizer.vocab_size), tokenizer


CASES = [
    ("Hello", (), " world world world", "length"),
    ("", (), "world world world", "length"),  # a document begins without a space
    ("Hello", (" world world",), "", "stop"),
    ("Hello", ("d w",), " worl", "stop"),
]


@pytest.mark.parametrize("prompt, stop, text, reason", CASES)
def test_generate(parts, prompt, stop, text, reason):
    knobs = GenerationConfig(max_new_tokens=3, stop=stop)
    (one,) = generate(*parts, [prompt], knobs)
    assert (one.text, one.finish_reason) == (text, reason)


def test_signatures(parts):
    model, tokenizer = parts
    module = TextGenerator(model, tokenizer, GenerationConfig(max_new_tokens=3))
    prompts, _, texts, reasons = zip(*CASES, strict=True)
    stops = [[*stop, ""][:1] for _, stop, _, _ in CASES]
    _, _, defaults = module.signatures()["generate"]
    answer = module.generate(
        tf.constant(prompts), **{**defaults, "stop": tf.constant(stops)}
    )
    assert [text.decode() for text in answer["text"].numpy()] == list(texts)
    assert [r.decode() for r in answer["finish_reason"].numpy()] == list(reasons)
    ids = tf.constant([tokenizer.encode("Hello world")] * 2)
    texts = module.detokenize(ids, tf.constant([2, 2]), tf.constant([False, True]))
    assert texts["text"].numpy().tolist() == [b"Hello world", b" Hello world"]


def test_bytes_that_are_no_text_are_escaped_in_the_message(parts):
    module = TextGenerator(*parts, GenerationConfig(max_new_tokens=3))
    tokenize = tf.function(module.tokenize, autograph=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="row 1 has .*caf\ufffd"):
        tokenize(tf.constant([b"a", b"caf\xe9"]))


def test_without_an_end_token_the_length_ends(parts):
    model, tokenizer = parts
    tokenizer = llama_tokenizer()
    tokenizer.end_id, tokenizer.end_ids = None, []
    (one,) = generate(model, tokenizer, ["Hello"], GenerationConfig(max_new_tokens=2))
    assert (one.text, one.finish_reason) == (" world world", "length")
    with pytest.raises(ValueError, match="prompt: empty, and the tokenizer has no"):
        generate(model, tokenizer, [""])
    module = TextGenerator(model, tokenizer, GenerationConfig(max_new_tokens=2))
    _, _, defaults = module.signatures()["generate"]
    answer = module.generate(tf.constant(["Hello"]), **defaults)
    assert answer["finish_reason"].numpy().tolist() == [b"length"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="row 1 has 0, tokens, at"):
        module.generate(tf.constant(["Hello", ""]), **defaults)
