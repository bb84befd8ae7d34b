"""Tokenizers: round trips, special tokens in user text, files of others."""

import json
import random
import subprocess
import sys

import pytest

from zoo.data import sources
from zoo.text import tokenizer, word_cache

HARD = [
    "",
    "plain text",
    "  two spaces, trailing  ",
    "\r\n\t\x00 naïve — “quotes” 中文 🙂\u200d\u0301",
    "I'll don't 123,456.00  \n\n\n  x",
    "<|endoftext|> is text",
]


@pytest.fixture(scope="module")
def texts():
    return sources.documents("kjv", "valid")


@pytest.fixture(scope="module")
def trained(texts):
    return tokenizer.train(texts, 600, ("<|endoftext|>", "<|user|>"))


def test_round_trip(trained, texts):
    for text in [*HARD, *texts]:
        assert trained.decode(trained.encode(text)) == text
    assert trained.encode_batch(HARD) == [trained.encode(text) for text in HARD]
    assert trained.encode_batch([]) == []


def test_vocabulary_and_compression(trained, texts):
    assert trained.vocab_size == 600 and trained.end_id == 0
    assert max(max(trained.encode(text)) for text in texts) < 600
    assert len(trained.encode(texts[0])) < len(texts[0]) / 2


def test_spaces_belong_to_the_word_after_them(trained):
    # A word at the start of a text gets no space of its own.
    assert trained.encode("the") != trained.encode(" the")
    assert trained.encode("of the") == trained.encode("of") + trained.encode(" the")


def test_special_tokens_in_user_text_stay_text(trained):
    text = "a<|user|>b<|endoftext|>"
    plain = trained.encode(text)
    assert 0 not in plain and 1 not in plain
    assert trained.decode(plain) == text
    special = trained.encode(text, special=True)
    assert special == trained.encode("a") + [1] + trained.encode("b") + [0]
    assert trained.decode(special) == "ab"
    assert trained.encode(text) == plain  # the call before changes nothing
    assert trained.encode_batch([text], special=True) == [special]


def test_training_on_texts_that_name_special_tokens():
    text = "<|endoftext|> " * 1000
    assert 0 not in tokenizer.train([text], 262).encode(text)


def test_bytes_are_a_vocabulary():
    trained = tokenizer.train([], 257)
    assert trained.vocab_size == 257
    for text in HARD:
        ids = trained.encode(text)
        assert len(ids) == len(text.encode()) and trained.decode(ids) == text


def test_training_is_deterministic_in_and_across_processes(trained, texts):
    again = tokenizer.train(iter(texts), 600, ("<|endoftext|>", "<|user|>"))
    assert again.json == trained.json
    code = (
        "from zoo.data import sources; from zoo.text import tokenizer;"
        "texts = sources.documents('kjv', 'valid');"
        "print(tokenizer.train(texts, 600, ('<|endoftext|>', '<|user|>')).json, end='')"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True
    )
    assert other.stdout.decode() == trained.json


def test_several_end_tokens(trained):
    ends = {"end_tokens": ["<|user|>", "<|endoftext|>", "<|user|>"]}
    several = tokenizer.Tokenizer(trained.json, ends)
    assert several.end_ids == [trained.end_id, several.encode("<|user|>", True)[0]]
    assert trained.end_ids == [trained.end_id]
    for odd in (["<|nobody|>"], [3], 3, [["<|user|>"]]):
        with pytest.raises(ValueError, match="end_tokens: .* not in the vocabulary"):
            tokenizer.Tokenizer(trained.json, {"end_tokens": odd})


def test_vocabularies_that_cannot_be():
    with pytest.raises(ValueError, match="vocab_size: 256, at least 257"):
        tokenizer.train(["abc"], 256)
    with pytest.raises(ValueError, match="vocab_size: 300.*supports at most 260"):
        tokenizer.train(["abc abc"], 300)
    assert tokenizer.train(["abc abc"], 260).vocab_size == 260
    with pytest.raises(ValueError, match="special_tokens"):
        tokenizer.train(["abc"], 300, ())


def test_save_and_load(trained, tmp_path):
    trained.config["chat_template"] = "{{ messages }}"
    trained.save(tmp_path / "t")
    loaded = tokenizer.load(tmp_path / "t")
    assert loaded.json == trained.json
    assert loaded.chat_template == "{{ messages }}"
    assert (loaded.end_id, loaded.vocab_size) == (trained.end_id, trained.vocab_size)
    config = json.loads((tmp_path / "t/tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert config["eos_token"] == "<|endoftext|>"
    # Files of others come back as they were, what we do not know included.
    loaded.save(tmp_path / "u")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "t" / name).read_bytes() == (
            tmp_path / "u" / name
        ).read_bytes()
    assert sorted(p.name for p in (tmp_path / "t").iterdir()) == [
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_load_reads_what_others_write(trained, tmp_path):
    fields = json.loads(trained.json)
    fields["truncation"] = {
        "direction": "Right",
        "max_length": 4,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields))
    config = {"eos_token": {"content": "<|user|>", "special": True}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "chat_template.jinja").write_text("{{ x }}")
    loaded = tokenizer.load(tmp_path)
    assert loaded.end_id == 1 and loaded.end_token == "<|user|>"
    assert loaded.chat_template == "{{ x }}"
    text = "nothing is cut silently, however long"
    assert loaded.decode(loaded.encode(text)) == text


@pytest.mark.parametrize(
    "files, message",
    [
        ({}, "tokenizer.json: no such file"),
        ({"tokenizer.json": "{}"}, "tokenizer.json: not a tokenizer"),
        ({"tokenizer.json": "GOOD", "tokenizer_config.json": "["}, "not JSON"),
        ({"tokenizer.json": "GOOD", "tokenizer_config.json": "[]"}, "a list"),
        (
            {
                "tokenizer.json": "GOOD",
                "tokenizer_config.json": '{"eos_token": "</s>"}',
            },
            "eos_token: '</s>' is not in the vocabulary",
        ),
    ],
)
def test_broken_directories(trained, tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text.replace("GOOD", trained.json))
    with pytest.raises(ValueError) as error:
        tokenizer.load(tmp_path)
    assert message in str(error.value)


def test_decode_of_unknown_ids(trained):
    assert trained.decode([10_000_000]) == ""
    with pytest.raises(ValueError, match="Token id -1"):
        trained.decode([5, -1])


def test_words_have_the_tokens_of_texts(trained, texts):
    """A table that starts anew between two calls, and characters of each kind."""
    rng = random.Random(0)
    pieces = [*map(chr, range(128)), *"  \n\n''", "'s", "'ll", "\x85", "\xe9"]
    made = ["".join(rng.choices(pieces, k=rng.randint(0, 40))) for _ in range(1000)]
    cache = word_cache.WordCache(trained, characters=5000)
    for given in (made[:500], made[500:], texts[:1], HARD, []):
        found = [ids.tolist() for ids in cache.encode_batch(given)]
        assert found == trained.encode_batch(given)


def test_another_tokenizer_encodes_whole_texts(trained):
    fields = json.loads(trained.json)
    fields["pre_tokenizer"]["add_prefix_space"] = True
    other = tokenizer.Tokenizer(json.dumps(fields), trained.config)
    found = word_cache.WordCache(other).encode_batch(HARD)
    assert [ids.tolist() for ids in found] == other.encode_batch(HARD)
    assert found[1].tolist() != trained.encode(HARD[1])
