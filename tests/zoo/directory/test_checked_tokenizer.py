"""Tokenizers with more tokens than their model has rows, and without an end token."""

import json

import pytest
import tokenizers
from directory_cases import LLAMA, SMALL, read, write

from zoo import directory, models
from zoo.directory import checked_tokenizer
from zoo.directory.gguf import writer as gguf_writer
from zoo.text.tokenizer import Tokenizer


def spec_of(tokenizer):
    return json.loads(tokenizer.json)


def test_an_added_token_beyond_the_rows(tokenizer, tmp_path):
    """As in Gemma 3 1B: rows for 0 to 299, and an added token 300 for images."""
    spec = spec_of(tokenizer)
    image = {**spec["added_tokens"][0], "id": 300, "content": "<image>"}
    spec["added_tokens"].append(image)
    config = {**tokenizer.config, "image_token": "<image>", "end_tokens": ["<image>"]}
    larger = Tokenizer(json.dumps(spec), config)
    assert larger.vocab_size == 301 and larger.encode("<image>", special=True) == [300]
    directory.save(tmp_path / "m", models.build("gru_lm", **SMALL, units=8), larger)
    for found in (
        directory.load(tmp_path / "m").tokenizer,
        directory.read_tokenizer(tmp_path / "m"),
    ):
        assert found.vocab_size == 300 and found.config["image_token"] is None
        assert found.end_ids == tokenizer.end_ids
        for special in (True, False):
            ids = found.encode("an <image> in it", special)
            assert max(ids) < 300 and found.decode(ids) == "an <image> in it"


def test_a_token_of_text_beyond_the_rows(tokenizer):
    with pytest.warns(UserWarning, match="300 tokens, the model 295 rows; 5 tokens"):
        found = checked_tokenizer.check(tokenizer, 295, "here")
    assert found.vocab_size == 295 and checked_tokenizer.check(found, 295, "") is found
    last = tokenizer.decode([299])
    assert tokenizer.encode(last) == [299]
    assert max(found.encode(last)) < 295 and found.decode(found.encode(last)) == last


@pytest.mark.parametrize(
    "model",
    [
        tokenizers.models.Unigram([("<u>", 0.0), ("a", -1.0), ("b", -2.0)], 0, False),
        tokenizers.models.WordPiece({"<u>": 0, "a": 1, "b": 2}, unk_token="<u>"),
    ],
    ids=lambda model: type(model).__name__,
)
def test_other_kinds_of_tokenizers(model):
    larger = Tokenizer(tokenizers.Tokenizer(model).to_str(), {"eos_token": "<u>"})
    with pytest.warns(UserWarning, match="such as 'b'"):
        found = checked_tokenizer.check(larger, 2, "here")
    assert larger.encode("b") == [2] and found.encode("b") == [0]


def test_a_frame_beyond_the_rows_is_refused(tokenizer):
    spec = spec_of(tokenizer)
    token = {"id": "x", "ids": [299], "tokens": ["x"]}
    frame = [{"SpecialToken": {"id": "x", "type_id": 0}}]
    frame.append({"Sequence": {"id": "A", "type_id": 0}})
    spec["post_processor"] = {
        "type": "TemplateProcessing",
        "single": frame,
        "pair": frame,
        "special_tokens": {"x": token},
    }
    larger = Tokenizer(json.dumps(spec), tokenizer.config)
    with pytest.raises(ValueError, match="here: the tokenizer adds the token 299"):
        checked_tokenizer.check(larger, 299, "here")


def test_no_end_token(tokenizer, tmp_path):
    """As base models are published: `eos_token_id` is null in all files."""
    spec = json.loads(tokenizer.json.replace("<|endoftext|>", "<|start|>"))
    base = Tokenizer(json.dumps(spec), {"eos_token": None})
    assert base.end_id is None and base.end_ids == [] and base.end_token is None
    model = models.build("gru_lm", **SMALL, units=8)
    directory.save(tmp_path / "m", model, base)
    assert read(tmp_path / "m")["eos_token_id"] is None
    with pytest.warns(UserWarning, match="no token ends a text"):
        found = directory.load(tmp_path / "m").tokenizer
    assert found.end_ids == [] and found.encode("abc") == base.encode("abc")
    llama = models.build("transformer_lm", **SMALL, **LLAMA)
    gguf_writer.write(tmp_path / "m.gguf", llama, base)
    with pytest.warns(UserWarning, match="no token ends a text"):
        found = directory.load(tmp_path / "m.gguf").tokenizer
    assert found.end_ids == [] and found.encode("abc") == base.encode("abc")


def test_a_tokenizer_that_was_lost(tokenizer, tmp_path, caplog):
    model = models.build("gru_lm", **SMALL, units=8)
    directory.save(tmp_path / "m", model, tokenizer)
    (tmp_path / "m/tokenizer.json").unlink()
    with pytest.warns(UserWarning, match="m: has no tokenizer, although tokenizer_con"):
        assert directory.load(tmp_path / "m").tokenizer is None
    directory.save(tmp_path / "bare", model)
    with caplog.at_level("WARNING", logger="absl"):
        assert directory.load(tmp_path / "bare").tokenizer is None
    assert "bare: has no tokenizer: none of tokenizer.json" in caplog.text
    caplog.clear()
    net = models.build("dense_net", features=2)
    directory.save(tmp_path / "net", net)
    with caplog.at_level("WARNING", logger="absl"):
        assert directory.load(tmp_path / "net").tokenizer is None
    assert not caplog.text  # a model of features needs none


# ---- one reader ----


def test_every_kind_of_tokenizer_file_is_read(tokenizer, tmp_path):
    """`read_tokenizer` needs no config.json and no weights."""
    text = "abc <|endoftext|> def"
    wanted = tokenizer.encode(text)
    model = spec_of(tokenizer)["model"]
    vocab = {**model["vocab"], "<|endoftext|>": tokenizer.end_id}
    parts, own = tmp_path / "parts", tmp_path / "own"
    for folder in (parts, own):
        folder.mkdir()
    write(parts, vocab, "vocab.json")
    merges = [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]
    (parts / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    tokenizer.save(str(own))
    for folder in (parts, own):
        assert directory.read_tokenizer(folder).encode(text) == wanted
        assert directory.read_tokenizer(folder).end_id == tokenizer.end_id
    llama = models.build("transformer_lm", **SMALL, **LLAMA)
    gguf_writer.write(tmp_path / "m.gguf", llama, tokenizer)
    assert directory.read_tokenizer(tmp_path / "m.gguf").encode(text) == wanted


def test_the_end_token_of_a_config(tokenizer, tmp_path):
    """`eos_token_id` of a config.json beside a tokenizer.json alone."""
    tokenizer.save(str(tmp_path))
    (tmp_path / "tokenizer_config.json").unlink()
    write(tmp_path, {"eos_token_id": 2})
    assert directory.read_tokenizer(tmp_path).end_id == 2


@pytest.mark.parametrize("name", ["empty", "x.keras"])
def test_a_source_without_a_tokenizer(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"") if name == "x.keras" else path.mkdir()
    with pytest.raises(ValueError, match=f"{name}: has no tokenizer; tokenizer.json"):
        directory.read_tokenizer(path)
