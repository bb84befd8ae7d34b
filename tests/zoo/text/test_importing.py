"""Tokenizers of others' files: the same ids as from the libraries they came from."""

import itertools
import json
import os

import graph_cases
import pytest
import tokenizers

from zoo.text import tokenizer
from zoo.text.importers import hf_files

TEXTS = [
    *graph_cases.fuzz(300, 5),
    *graph_cases.text(20_000).splitlines()[:200],
    *(" " * i + "a" + " " * j + "b " for i in range(9) for j in range(9)),
]
END = "<|endoftext|>"


def write(folder, name, value):
    (folder / name).write_text(json.dumps(value), encoding="utf-8")


def differing(left, right):
    return [text for text in TEXTS if left(text) != right(text)]


# ---- byte-level BPE ----


@pytest.fixture
def byte_level(tmp_path):
    """vocab.json and merges.txt, and the ids that the library gives."""

    def make(family, **settings):
        engine = tokenizers.Tokenizer.from_str(graph_cases.tokenizer_json(family))
        engine.model.save(str(tmp_path))
        write(tmp_path, "tokenizer_config.json", settings)
        return engine

    return make


@pytest.mark.parametrize("family", ["gpt2", "prefix"])
def test_byte_level(family, byte_level, tmp_path):
    prefix = family == "prefix"
    engine = byte_level(family, add_prefix_space=prefix, unk_token=END, eos_token=END)
    read = hf_files.load(str(tmp_path))
    assert read.end_token == END and read.vocab_size == engine.get_vocab_size()
    engine.encode_special_tokens = True
    assert not differing(read.encode, lambda t: engine.encode(t).ids)
    engine.encode_special_tokens = False
    # only what is named is special: the library has three, the files say one
    one = f"a {END} b"
    assert read.encode(one, special=True) == engine.encode(one).ids
    assert read.end_id not in read.encode(one)


def test_the_usual_names_are_found(byte_level, tmp_path):
    byte_level("gpt2")
    (tmp_path / "tokenizer_config.json").unlink()
    read = hf_files.load(str(tmp_path))
    assert (read.end_token, read.config["bos_token"]) == (END, END)


def test_tokens_that_were_added(byte_level, tmp_path):
    size = byte_level("gpt2").get_vocab_size()
    added = {
        str(size + 1): {"content": "<new>", "special": True, "normalized": False},
        str(size): {"content": "<mine>", "special": False, "lstrip": True},
    }
    settings = {"eos_token": {"content": "<new>", "__type": "AddedToken"}}
    write(tmp_path, "tokenizer_config.json", settings | {"added_tokens_decoder": added})
    read = hf_files.load(str(tmp_path))
    assert read.end_id == size + 1 and read.vocab_size == size + 2
    assert read.encode("  <mine>")[-1] == size
    assert read.decode([size, size + 1]) == "<mine>"
    # the older way to say it
    write(tmp_path, "tokenizer_config.json", settings)
    write(tmp_path, "added_tokens.json", {"<new>": size + 1, "<mine>": size})
    assert hf_files.load(str(tmp_path)).end_id == size + 1
    write(tmp_path, "added_tokens.json", {"<new>": size + 7})
    with pytest.raises(ValueError, match="'<new>' should be .* but is"):
        hf_files.load(str(tmp_path))


def test_a_token_without_an_embedding_is_not_made(byte_level, tmp_path):
    engine = byte_level("gpt2", pad_token="[PAD]", eos_token=END)
    assert hf_files.load(str(tmp_path)).vocab_size == engine.get_vocab_size()


def test_a_start_that_is_asked_for(byte_level, tmp_path):
    byte_level("gpt2", add_bos_token=True, bos_token="<|im_start|>", eos_token=END)
    read = hf_files.load(str(tmp_path))
    engine = tokenizers.Tokenizer.from_str(read.json)
    assert engine.encode("a").tokens == ["<|im_start|>", "a"]
    pair = ["<|im_start|>", "a", "<|im_start|>", "b"]
    assert engine.encode("a", "b").tokens == pair
    assert len(read.encode("a")) == 1  # we add nothing ourselves


def test_roberta_frames(byte_level, tmp_path):
    names = ("bos_token", "eos_token", "cls_token", "sep_token")
    tokens = dict(zip(names, graph_cases.SPECIAL[1:] * 2, strict=True))
    byte_level("gpt2", tokenizer_class="RobertaTokenizerFast", **tokens)
    engine = tokenizers.Tokenizer.from_str(hf_files.load(str(tmp_path)).json)
    assert engine.encode("a").tokens == ["<|im_start|>", "a", "<|im_end|>"]


def test_frames_of_tokens_that_are_not_there(byte_level, tmp_path):
    byte_level("gpt2", tokenizer_class="RobertaTokenizer", eos_token=END)
    with pytest.raises(ValueError, match="sep_token None is not in the vocabulary"):
        hf_files.load(str(tmp_path))
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    (tmp_path / "vocab.txt").write_text("[UNK]\n[SEP]\na\n")
    with pytest.raises(ValueError, match="cls_token None is not in the vocabulary"):
        hf_files.load(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["Qwen2Tokenizer", "CLIPTokenizerFast", "EvilTokenizer"]
)
def test_another_class_splits_in_another_way(name, byte_level, tmp_path):
    byte_level("gpt2", tokenizer_class=name)
    with pytest.raises(ValueError, match="tokenizer_class .*; allowed: GPT2Tokenizer"):
        hf_files.load(str(tmp_path))


# ---- WordPiece ----


@pytest.mark.parametrize("family", ["uncased", "cased"])
def test_wordpiece(family, tmp_path):
    engine = tokenizers.Tokenizer.from_str(graph_cases.tokenizer_json(family))
    vocabulary = engine.get_vocab()
    lines = sorted(vocabulary, key=vocabulary.get)
    (tmp_path / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write(tmp_path, "tokenizer_config.json", {"do_lower_case": family == "uncased"})
    read = hf_files.load(str(tmp_path))
    assert read.end_token == "[SEP]" and read.vocab_size == len(lines)
    engine.encode_special_tokens = True
    assert not differing(read.encode, lambda t: engine.encode(t).ids)
    assert not differing(
        lambda t: read.decode(read.encode(t)),
        lambda t: engine.decode(engine.encode(t).ids),
    )
    framed = tokenizers.Tokenizer.from_str(read.json)
    assert framed.encode("a", "a").tokens == ["[CLS]", "a", "[SEP]", "a", "[SEP]"]
    assert framed.encode("a", "a").type_ids == [0, 0, 0, 1, 1]


# ---- SentencePiece ----

KINDS = {
    "llama": {"add_dummy_prefix": True},
    "gemma": {"add_dummy_prefix": False, "user_defined_symbols": ["<turn>", "<end>"]},
    "no-bytes": {"byte_fallback": False, "character_coverage": 0.98},
}


@pytest.fixture(scope="module")
def sentencepiece():
    return pytest.importorskip("sentencepiece")


@pytest.fixture(scope="module")
def sentences(sentencepiece, tmp_path_factory):
    """A folder with a trained tokenizer.model of each kind."""
    base = tmp_path_factory.mktemp("sentencepiece")
    lines = graph_cases.text(60_000).splitlines() + [t.replace("\0", "") for t in TEXTS]

    def train(name, **options):
        folder = base / name
        folder.mkdir()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=itertools.chain(lines),
            model_prefix=str(folder / "tokenizer"),
            vocab_size=700,
            minloglevel=2,
            **{
                "model_type": "bpe",
                "byte_fallback": True,
                "split_digits": True,
                "remove_extra_whitespaces": False,
                "normalization_rule_name": "identity",
                "allow_whitespace_only_pieces": True,
            }
            | options,
        )
        return folder

    folders = {kind: train(kind, **options) for kind, options in KINDS.items()}
    folders["unigram"] = train("unigram", model_type="unigram")
    folders["nfkc"] = train("nfkc", normalization_rule_name="nmt_nfkc")
    folders["spaces"] = train("spaces", remove_extra_whitespaces=True)
    return folders


@pytest.mark.parametrize("kind", KINDS)
def test_sentencepiece(kind, sentences, sentencepiece):
    folder = sentences[kind]
    theirs = sentencepiece.SentencePieceProcessor(
        model_file=str(folder / "tokenizer.model")
    )
    read = hf_files.load(str(folder))
    assert (read.end_token, read.config["bos_token"]) == ("</s>", "<s>")
    assert read.vocab_size == theirs.get_piece_size()
    assert not differing(read.encode, theirs.encode)
    if kind != "no-bytes":  # where the library writes ?? for a token that we skip
        assert not differing(
            lambda t: read.decode(read.encode(t)),
            lambda t: theirs.decode(read.encode(t)),
        )
    engine = tokenizers.Tokenizer.from_str(read.json)
    assert engine.encode("a").tokens[0] == "<s>"


def test_llama_of_later_transformers(sentences, tmp_path):
    """A text behind a special token gets no space, the first one gets one."""
    text = (sentences["llama"] / "tokenizer.model").read_bytes()
    (tmp_path / "tokenizer.model").write_bytes(text)
    write(tmp_path, "tokenizer_config.json", {"legacy": False, "add_bos_token": False})
    new = hf_files.load(str(tmp_path))
    old = hf_files.load(str(sentences["llama"]))
    the = new.encode("the")
    assert the == old.encode("the")
    assert new.encode("<s>the", special=True)[1:] != the
    assert old.encode("<s>the", special=True)[1:] == the
    assert tokenizers.Tokenizer.from_str(new.json).encode("the").ids == the


@pytest.mark.parametrize(
    "kind, words",
    [
        ("unigram", "a SentencePiece model of kind 1, only BPE"),
        ("nfkc", "changes characters by 'nmt_nfkc' or removes spaces"),
        ("spaces", "changes characters by 'identity' or removes spaces"),
    ],
)
def test_sentencepiece_that_has_no_exact_form(kind, words, sentences):
    with pytest.raises(ValueError) as error:
        hf_files.load(str(sentences[kind]))
    assert words in str(error.value) and str(sentences[kind]) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"IQ== 0\nIg== 1\n"])
def test_what_is_no_sentencepiece(content, sentencepiece, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(
        ValueError, match="tokenizer.model: is not a SentencePiece model"
    ):
        hf_files.load(str(tmp_path))


def test_without_the_package(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    (tmp_path / "tokenizer.model").write_bytes(b"x")
    with pytest.raises(ValueError, match="needs the package sentencepiece"):
        hf_files.load(str(tmp_path))


# ---- what ends a text ----


@pytest.fixture
def folder(tmp_path):
    """A tokenizer.json without any settings."""
    engine = tokenizers.Tokenizer.from_str(graph_cases.tokenizer_json("llama2"))
    (tmp_path / "tokenizer.json").write_text(engine.to_str(), encoding="utf-8")
    return tmp_path


def test_the_order_of_those_who_say_it(folder):
    assert hf_files.load(str(folder)).end_ids == []
    assert hf_files.load(str(folder), [10**6]).end_id is None  # not a token of it
    write(folder, "special_tokens_map.json", {"eos_token": {"content": "<s>"}})
    assert hf_files.load(str(folder)).end_token == "<s>"
    assert hf_files.load(str(folder), [10**6]).end_token == "<s>"
    assert hf_files.load(str(folder), [2]).end_token == "</s>"
    write(folder, "tokenizer_config.json", {"eos_token": None})
    assert hf_files.load(str(folder), [2]).end_token == "</s>"
    write(folder, "tokenizer_config.json", {"eos_token": {"content": "<unk>"}})
    assert hf_files.load(str(folder), [0]).end_token == "<unk>"
    assert "end_tokens" not in hf_files.load(str(folder), [0]).config


def test_several_ends_are_kept(folder):
    write(folder, "tokenizer_config.json", {"eos_token": "</s>"})
    read = hf_files.load(str(folder), [1, 2, 2])
    assert read.end_token == "</s>"
    assert read.config["end_tokens"] == ["</s>", "<s>"]


def test_other_settings_travel(folder):
    settings = {"eos_token": "</s>", "bos_token": "<s>", "chat_template": "a"}
    write(folder, "tokenizer_config.json", settings)
    read = hf_files.load(str(folder))
    assert settings.items() <= read.config.items()
    (folder / "chat_template.jinja").write_text("{{ b }}\r\n")
    assert hf_files.load(str(folder)).chat_template == "{{ b }}\r\n"


def test_nothing_there(tmp_path):
    assert hf_files.load(str(tmp_path)) is None
    write(tmp_path, "tokenizer_config.json", {})
    assert hf_files.load(str(tmp_path)) is None
    write(tmp_path, "vocab.json", {})
    with pytest.raises(ValueError, match="vocab.json and merges.txt are needed"):
        hf_files.load(str(tmp_path))


@pytest.mark.parametrize("kind", ["gpt2", "uncased", "llama"])
def test_transformers_gives_the_same(kind, request, byte_level, tmp_path):
    transformers = pytest.importorskip("transformers")
    settings = {"tokenizer_class": "GPT2Tokenizer"}
    if kind == "llama":
        trained = request.getfixturevalue("sentences")[kind] / "tokenizer.model"
        (tmp_path / "tokenizer.model").write_bytes(trained.read_bytes())
        settings = {"tokenizer_class": "LlamaTokenizer", "legacy": False}
    elif kind == "gpt2":
        byte_level("gpt2")
    else:
        engine = tokenizers.Tokenizer.from_str(graph_cases.tokenizer_json(kind))
        lines = sorted(engine.get_vocab(), key=engine.get_vocab().get)
        (tmp_path / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")
        settings = {"tokenizer_class": "BertTokenizer"}
    write(tmp_path, "tokenizer_config.json", settings)
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    read = hf_files.load(str(tmp_path))
    assert not differing(
        lambda t: read.encode(t, special=True),
        lambda t: theirs(t, add_special_tokens=False)["input_ids"],
    )


# ---- what tokenizer_config.json adds to tokenizer.json ----


def test_tokens_that_are_special_only_in_the_settings(tmp_path):
    tokens = [*"abc", "ab", "<user>", "<eot>", "<x>"]
    (tmp_path / "tokenizer.json").write_text(
        graph_cases.with_merges(tokens, [("a", "b")])
    )
    settings = {"eos_token": "<eot>", "additional_special_tokens": ["<x>"]}
    settings["added_tokens_decoder"] = {
        "4": {"content": "<user>", "special": True, "normalized": False},
        "7": {"content": "<new>", "special": True, "normalized": False},
    }
    write(tmp_path, "tokenizer_config.json", settings)
    read = hf_files.load(str(tmp_path))
    assert read.encode("ab<user>c<new><x><eot>", special=True) == [3, 4, 2, 7, 6, 5]
    assert not {4, 5, 6, 7} & {*read.encode("ab<user>c<new><x><eot>")}
    assert read.decode([3, 4, 2, 7, 6, 5]) == "abc"
    # the zoo's own directory holds them in tokenizer.json
    read.save(str(tmp_path / "saved"))
    assert tokenizer.load(str(tmp_path / "saved")).decode([3, 4, 2, 5]) == "abc"


def test_a_tokenizer_that_names_nothing_new_is_not_written_again(folder):
    write(folder, "tokenizer_config.json", {"eos_token": "</s>", "bos_token": "<s>"})
    before = (folder / "tokenizer.json").read_text(encoding="utf-8")
    assert hf_files.load(str(folder)).json == before


@pytest.mark.parametrize(
    "settings, prefix",
    [
        ({"tokenizer_class": "LlamaTokenizerFast"}, [1]),
        ({"tokenizer_class": "LlamaTokenizer", "add_bos_token": False}, []),
        ({"tokenizer_class": "GPTNeoXTokenizer"}, []),
        ({"tokenizer_class": "GPTNeoXTokenizer", "add_bos_token": True}, [1]),
        ({"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": True}, []),
        ({"add_bos_token": True}, [1]),
        ({}, []),
    ],
)
def test_start_tokens_without_a_post_processor(settings, prefix, folder):
    """As the classes of transformers 4.57 do it; R1-Distill is the first case."""
    names = {"bos_token": {"content": "<s>"}, "eos_token": "</s>"}
    write(folder, "tokenizer_config.json", names | settings)
    assert hf_files.load(str(folder)).prefix == prefix


def test_a_start_token_that_the_settings_take_away(folder):
    names = {"bos_token": "<s>", "eos_token": "</s>"}
    names["tokenizer_class"] = "LlamaTokenizerFast"
    write(folder, "tokenizer_config.json", names)
    (folder / "tokenizer.json").write_text(hf_files.load(str(folder)).json)
    read = hf_files.load(str(folder))
    assert read.prefix == [1]
    assert read.json == (folder / "tokenizer.json").read_text()
    write(folder, "tokenizer_config.json", names | {"add_bos_token": False})
    assert hf_files.load(str(folder)).prefix == []


# ---- files that cannot be ----


def test_two_tokens_with_one_id(folder):
    fields = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    fields["model"]["vocab"]["twice"] = 300
    write(folder, "tokenizer.json", fields)
    with pytest.raises(ValueError, match="the tokens .*'twice'.* have one id, 300"):
        hf_files.load(str(folder), [2])


def test_merges_that_repeat_are_refused_before_they_are_parsed(folder):
    text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    start = text.index('"merges":[') + len('"merges":[')
    much = '["a","b"],' * 2_000_000
    (folder / "tokenizer.json").write_text(text[:start] + much + text[start:])
    with pytest.raises(ValueError, match="model.merges: [0-9]+ or more for"):
        hf_files.load(str(folder), [2])


def test_a_file_that_is_too_large(folder, monkeypatch):
    monkeypatch.setattr(tokenizer, "LARGEST", 1000)
    with pytest.raises(ValueError, match="characters, up to 1000 allowed"):
        hf_files.load(str(folder), [2])


def test_a_pipe_is_no_tokenizer(tmp_path):
    os.mkfifo(tmp_path / "tokenizer.json")  # opening it would wait for ever
    os.mkfifo(tmp_path / "tokenizer_config.json")
    assert hf_files.load(str(tmp_path)) is None
    with pytest.raises(ValueError, match="no such file"):
        tokenizer.load(str(tmp_path))


# ---- scores ----


def test_pieces_of_equal_scores():
    """As Mistral and Gemma have runs of spaces: the longest left part comes first."""
    from zoo.text.importers import sentencepiece as importer

    pieces = ["<unk>", "▁", "▁▁", "▁▁▁", "<", "▁<"]
    scores = [0.0, -5.0, -9.0, -9.0, -6.0, -1.0]
    engine = importer.pipeline(pieces, scores, "<unk>", False, False)
    merges = json.loads(engine.to_str())["model"]["merges"]
    assert merges == [["▁", "<"], ["▁▁", "▁"], ["▁", "▁▁"], ["▁", "▁"]]
    assert engine.encode("   ").ids == [3]
    assert engine.encode("  <").ids == [1, 5]
