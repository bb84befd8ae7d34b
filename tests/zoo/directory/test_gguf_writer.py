"""GGUF files that we write, read back by our own reader; llama.cpp is asked by hand."""

import dataclasses
import json

import gguf_files
import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from tokenizers import decoders, normalizers, pre_tokenizers

from zoo import directory, models, registry
from zoo.directory import assemble, hf
from zoo.directory.gguf import file as gguf_file
from zoo.directory.gguf import tokenizer as gguf_tokenizer
from zoo.directory.gguf import vocabulary as gguf_vocabulary
from zoo.directory.gguf import writer as gguf_writer
from zoo.directory.hf.parts import with_defaults
from zoo.text.importers.byte_level_presets import WORDS
from zoo.text.tokenizer import Tokenizer

TEXTS = ["", "the abc cab", " two  spaces\n\nand 1234 é 你 ", "a<|endoftext|>b", "\x00"]
PIECES = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
PIECES += ["▁a", "ab", "bc", "▁ab", "abc", "▁", "a", "b", "c"]
MERGES = [("a", "b"), ("b", "c"), ("▁", "a"), ("▁a", "b"), ("▁", "ab")]
MERGES += [("a", "bc"), ("ab", "c")]
LLAMA = {"norm": "rmsnorm", "positions": "rotary", "activation": "silu", "gated": True}
LLAMA |= {"qkv_bias": False, "out_bias": False, "mlp_bias": False}
SMALL = {"vocab_size": 305, "context": 32, "width": 32, "layers": 2, "heads": 4}


def built(config):
    """A model with weights that the 1 of Gemma's norms does not round."""
    model = registry.build_config(config)
    random = np.random.default_rng(0)
    for v in model.weights:
        if v.dtype == "float32":
            v.assign((random.integers(-8, 8, v.shape) / 8).astype(np.float32))
    return model


def family(name):
    config = hf.from_hf(gguf_files.HF[name], "test")
    return dataclasses.replace(config, vocab_size=305, dropout=0.0)


def logits(model):
    return model(tf.random.stateless_uniform([2, 9], [1, 2], 0, 300, tf.int32)).numpy()


def sentencepiece(begins=True, merges=MERGES, spec=None):
    """As Llama 2 has it; the last piece is a token that users may write."""
    vocabulary = {piece: number for number, piece in enumerate(PIECES)}
    engine = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True
        )
    )
    steps = [normalizers.Prepend("▁")] if begins else []
    engine.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    back = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    back += [decoders.Strip(" ", 1, 0)] if begins else []
    engine.decoder = decoders.Sequence(back)
    for token in PIECES[:3]:
        engine.add_tokens(
            [tokenizers.AddedToken(token, special=True, normalized=False)]
        )
    engine.add_tokens([tokenizers.AddedToken("<think>", normalized=False)])
    engine.post_processor = tokenizers.processors.TemplateProcessing(
        "<s> $A", "<s> $A $B", [("<s>", 1)]
    )
    if not begins:  # as Gemma's, which never has anything to cut at
        engine.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return Tokenizer(json.dumps(json.loads(engine.to_str()) | (spec or {})), names)


def changed(tokenizer, config=None, **parts):
    """A tokenizer with other parts of its tokenizer.json, and other settings."""
    spec = json.loads(tokenizer.json) | parts
    return Tokenizer(json.dumps(spec), tokenizer.config | (config or {}))


def same(found, wanted):
    for text in TEXTS:
        for special in (False, True):
            assert found.encode(text, special) == wanted.encode(text, special), text
        assert found.decode(wanted.encode(text)) == wanted.decode(wanted.encode(text))
    assert found.vocab_size == wanted.vocab_size
    assert (found.end_id, found.prefix) == (wanted.end_id, wanted.prefix)
    assert found.chat_template == wanted.chat_template
    for name in ("bos_token", "eos_token", "end_tokens"):
        assert found.config.get(name) == wanted.config.get(name)


# ------------------------------------------------------------------ models


@pytest.mark.parametrize("name", gguf_files.HF)
def test_what_is_written_is_read_back(name, tmp_path, tokenizer):
    config = family(name)
    if name in ("gemma2", "gemma3"):
        config = dataclasses.replace(config, tied_head=True)
    if name == "qwen2":  # of which llama.cpp wants heads that fill the width
        config = dataclasses.replace(config, head_width=8, query_scalar=8)
    if name == "mistral":  # whose window llama.cpp does not know
        config = dataclasses.replace(config, window=32)
    model, path = built(config), tmp_path / "a" / "model.gguf"
    gguf_writer.write(path, model, tokenizer)
    assert [p.name for p in path.parent.iterdir()] == ["model.gguf"]
    found = directory.load(path)
    assert with_defaults(
        dataclasses.replace(found.model.config, dropout=0.0)
    ) == with_defaults(config)
    for mine, other in zip(found.model.weights, model.weights, strict=True):
        np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(logits(found.model), logits(model))
    same(found.tokenizer, tokenizer)
    kinds = {stored.kind.name for stored in gguf_file.read(path).tensors.values()}
    assert kinds == {"F32"}


def test_rows_are_where_llama_cpp_has_them(tmp_path, tokenizer):
    """The same bytes as `test_gguf` writes, whose writer is llama.cpp's converter's."""
    for name in ("biased", "gpt2", "gemma3", "llama"):
        value = gguf_files.HF[name] | {"vocab_size": 300}
        if "gemma" in name:
            value["tie_word_embeddings"] = True
        gguf_files.write(tmp_path / f"{name}-1.gguf", name, value)
        model = registry.build_config(hf.from_hf(value, "test"))
        directory.save(tmp_path / name, model, tokenizer)
        pretrained = directory.read(tmp_path / f"{name}-1.gguf")
        model = directory.load(tmp_path / name).model
        for mapping in assemble.weight_mappings(model, value["model_type"]):
            variable = assemble.by_path(model)[mapping.path]
            variable.assign(
                mapping.to_variable([pretrained.tensors[n] for n in mapping.hf_names])
            )
        gguf_writer.write(tmp_path / f"{name}-2.gguf", model, tokenizer)
        first, second = (gguf_file.read(tmp_path / f"{name}-{i}.gguf") for i in (1, 2))
        assert first.tensors.keys() == second.tensors.keys()
        for tensor in first.tensors:
            np.testing.assert_allclose(
                first.array(tensor), second.array(tensor), rtol=1e-6, err_msg=tensor
            )


# ------------------------------------------------------------------ tokenizers


@pytest.mark.parametrize("name", ["gpt-2", "smollm", "llama-bpe", "qwen2"])
def test_words_have_a_name(name, tokenizer):
    rule = WORDS[name]()
    engine = tokenizers.Tokenizer.from_str(tokenizer.json)
    engine.pre_tokenizer = rule.split
    if rule.normalizer:
        engine.normalizer = rule.normalizer
    spec = json.loads(engine.to_str())
    spec["model"]["ignore_merges"] = rule.ignore_merges
    said = gguf_vocabulary.fields(Tokenizer(json.dumps(spec), tokenizer.config), 300)
    assert said["tokenizer.ggml.model"] == "gpt2"
    assert said["tokenizer.ggml.pre"] == name


@pytest.mark.parametrize("begins", [True, False])
def test_sentencepiece(begins, tmp_path):
    wanted = sentencepiece(begins)
    model = built(models.transformer_lm.Config(**SMALL, **LLAMA))
    gguf_writer.write(tmp_path / "model.gguf", model, wanted)
    fields = gguf_file.read(tmp_path / "model.gguf").fields
    assert fields["tokenizer.ggml.model"] == "llama"
    assert fields["tokenizer.ggml.add_space_prefix"] is begins
    assert len(fields["tokenizer.ggml.tokens"]) == 305
    assert fields["tokenizer.ggml.token_type"][[0, 1, 3, 260, 268, 304]].tolist() == [
        *(2, 3, 6, 1, 4, 5)
    ]
    found = directory.load(tmp_path / "model.gguf").tokenizer
    same(found, wanted)
    random = np.random.default_rng(0)
    for _ in range(200):
        text = "".join(random.choice([*"abc é", "<think>"], 12))
        assert found.encode(text) == wanted.encode(text)


def test_pieces_of_equal_scores():
    """Gemma 3 mixes the merges of its runs of spaces, the longest left part first."""
    mixed = sentencepiece(merges=[*MERGES[:4], MERGES[6], MERGES[4], MERGES[5]])
    fields = gguf_vocabulary.fields(mixed, 305)
    scores = dict(zip(PIECES, fields["tokenizer.ggml.scores"], strict=False))
    assert scores["▁ab"] == scores["abc"] < scores["▁a"] < scores["ab"]
    same(gguf_tokenizer.read(fields, "GGUF"), mixed)


def test_a_byte_that_is_a_token_of_its_own():
    """Gemma has a tabulator where its byte would be."""
    text = sentencepiece().json.replace('"<0x09>"', '"\\t"')
    wanted = Tokenizer(text, sentencepiece().config)
    assert wanted.encode("\t")[-1] == PIECES.index("<0x09>")
    same(gguf_tokenizer.read(gguf_vocabulary.fields(wanted, 305), "GGUF"), wanted)


def test_ends_and_the_chat_template(tmp_path):
    engine = tokenizers.Tokenizer.from_str(sentencepiece().json)
    settings = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": "no"}
    settings |= {"end_tokens": ["</s>", "<s>", "<unk>"], "add_bos_token": True}
    settings["chat_template"] = "{{ messages[0].content }}"
    wanted = Tokenizer(engine.to_str(), settings)
    said = gguf_vocabulary.fields(wanted, 300)
    assert [said[f"tokenizer.ggml.{x}_token_id"] for x in ("eos", "eot", "eom")] == [
        *(2, 1, 0)
    ]
    assert said["tokenizer.ggml.bos_token_id"] == 1
    assert "tokenizer.ggml.padding_token_id" not in said
    assert said["tokenizer.ggml.add_bos_token"] is True
    assert said["tokenizer.ggml.add_eos_token"] is False
    assert said["tokenizer.chat_template"] == settings["chat_template"]


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"positions": "learned"}, "of the kind transformer_lm; a transformer_lm with"),
        (
            {"window": 8},
            "llama with window 8, which llama.cpp does not support; 0 allowed",
        ),
        ({"head_width": 6, "qkv_bias": True}, "qwen2 with head_width 6, which"),
        (
            {"rope_scaling": "llama3", "rope_context": 16, "rope_fast": 4.0},
            "llama with rope_context 16; 8192 allowed",
        ),
        (
            {"rope_scaling": "yarn", "rope_context": 16, "rope_fast": 16.0},
            "llama with rope_fast 16.0; 32.0 allowed",
        ),
        (
            {"rope_scaling": "llama3", "rope_context": 8192, "rope_fast": 4.0}
            | {"qk_norm": True, "rope_factor": 8.0, "rope_theta": 500000.0},
            "qwen3 with rope_scaling 'llama3', which llama.cpp does not support; none",
        ),
        (
            {"qk_norm": True, "qkv_bias": True, "out_bias": True},
            "qwen3 with out_bias True, which llama.cpp does not support; False allowed",
        ),
        (
            {"qk_norm": True, "window": 8, "global_layers": (0,)},
            "qwen3 with global_layers|qwen3 with window 8; 0 allowed",
        ),
    ],
)
def test_models_that_a_file_cannot_say(fields, message, tmp_path, tokenizer):
    model = models.build("transformer_lm", **SMALL, **{**LLAMA, **fields})
    with pytest.raises(ValueError, match=f"GGUF: .*{message}"):
        gguf_writer.write(tmp_path / "model.gguf", model, tokenizer)
    assert not [*tmp_path.iterdir()]


def test_other_models(tmp_path, tokenizer):
    path = tmp_path / "model.gguf"
    lstm = models.build("lstm_lm", vocab_size=300, width=8, layers=1, units=8)
    with pytest.raises(ValueError, match="kind lstm_lm; .*gemma2, gemma3, gpt2, llam"):
        gguf_writer.write(path, lstm, tokenizer)
    free = dataclasses.replace(family("gemma2"), tied_head=False)
    with pytest.raises(ValueError, match="gemma2 with tied_head False"):
        gguf_writer.write(path, registry.build_config(free), tokenizer)
    opt = {"activation": "relu", "position_offset": 2}
    opt = models.build("transformer_lm", **SMALL, **opt)
    with pytest.raises(ValueError, match="of the kind opt; a transformer_lm with"):
        gguf_writer.write(path, opt, tokenizer)
    with pytest.raises(ValueError, match="the model has no tokenizer"):
        gguf_writer.write(path, built(family("gpt2")), None)
    assert not [*tmp_path.iterdir()]


def test_tokenizers_that_a_file_cannot_say(tokenizer):
    with pytest.raises(ValueError, match="a tokenizer of 300 tokens; up to 299 allow"):
        gguf_vocabulary.fields(tokenizer, 299)
    spec = json.loads(tokenizer.json)
    bare = {**spec["model"], "merges": []}
    added = spec["added_tokens"][0]
    digits = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(False), WORDS["gpt-2"]().split]
    )
    around = {"id": "<think>", "ids": [268], "tokens": ["<think>"]}
    around = {"special_tokens": {"<think>": around}, "type": "TemplateProcessing"}
    around["single"] = [
        {"SpecialToken": {"id": "<think>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ]
    around["pair"] = [*around["single"], {"Sequence": {"id": "B", "type_id": 1}}]
    split = json.loads(digits.__getstate__())
    ends = {"end_tokens": ["<|endoftext|>", "a", "b", "c"]}
    space = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}
    words = "by a rule without a name; byte-level BPE with the words of gpt-2, smollm"
    word = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"a": 0, "<|endoftext|>": 1}, "a")
    )
    for broken, message in (
        (Tokenizer(word.to_str()), "of the type WordLevel; byte-level BPE with"),
        (changed(tokenizer, pre_tokenizer=split), words),
        (changed(tokenizer, pre_tokenizer=space | {"use_regex": True}), words),
        (changed(tokenizer, normalizer={"type": "Lowercase"}), words),
        (changed(tokenizer, model=bare), "without merges"),
        (changed(tokenizer, ends), "with 4 tokens that end a text; at most 3 allowed"),
        (changed(tokenizer, {"chat_template": [{}]}), "with several chat templates"),
        (
            changed(tokenizer, added_tokens=[{**added, "rstrip": True}]),
            "with added tokens that a file cannot express; those that",
        ),
        (
            changed(tokenizer, {"unk_token": "a"}),
            "with added tokens that a file cannot express; those that",
        ),
        (
            changed(sentencepiece(), post_processor=around),
            "puts the tokens \\[268\\] around a text; none or bos",
        ),
        (
            sentencepiece(merges=MERGES[:-1]),
            "with merges that a file cannot express; merges of every",
        ),
        (
            sentencepiece(merges=[*MERGES[:3], *(MERGES[i] for i in (6, 3, 5, 4))]),
            "with merges that a file cannot express; merges of every",
        ),
        (
            sentencepiece(spec={"normalizer": {"type": "NFKC"}}),
            "with words that a file cannot express; what Sent",
        ),
    ):
        with pytest.raises(ValueError, match=f"GGUF: a tokenizer .*{message}") as error:
            gguf_vocabulary.fields(broken, 305)
        assert str(error.value).count("\n") == 0 and len(str(error.value)) < 300


# ------------------------------------------------------------------ the command


def test_the_command(tmp_path, tokenizer, commands):
    model = built(models.transformer_lm.Config(**SMALL, **LLAMA))
    directory.save(tmp_path / "model", model, tokenizer)

    def convert(name, *args):
        given = (f"--source={tmp_path / 'model'}", f"--output={tmp_path / name}")
        return commands("zoo.convert", *given, *args)

    done = convert("x.gguf", "--format=gguf")
    assert done.code == 0, done.out
    assert done.out.splitlines()[-1] == str(tmp_path / "x.gguf")
    found = directory.load(tmp_path / "x.gguf")
    np.testing.assert_array_equal(logits(found.model), logits(model))
    same(found.tokenizer, tokenizer)
    before = (tmp_path / "x.gguf").read_bytes()
    for name, message in (
        ("x.gguf", "x.gguf: exists; give the name of a new file."),
        ("x.bin", "x.bin: a name that ends in .gguf allowed."),
    ):
        done = convert(name, "--format=gguf")
        assert done.code == 1 and len(done.errors) == 1, done.out
        assert done.errors[0].endswith(message)
    assert (tmp_path / "x.gguf").read_bytes() == before
    assert convert("y", "--format=onnx").code
    assert {p.name for p in tmp_path.iterdir()} == {"model", "x.gguf"}


def test_nothing_stays_after_an_error(tmp_path, tokenizer, monkeypatch):
    def broken(*args):
        raise OSError("disk full")

    monkeypatch.setattr(gguf_writer.ggml.GGUFWriter, "write_tensor_data", broken)
    model = built(models.transformer_lm.Config(**SMALL, **LLAMA))
    with pytest.raises(OSError):
        gguf_writer.write(tmp_path / "model.gguf", model, tokenizer)
    assert not [*tmp_path.iterdir()]
