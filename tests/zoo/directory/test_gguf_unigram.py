"""T5's tokenizer in a GGUF file gives the ids of the same SentencePiece file."""

import json

import gguf
import numpy as np
import pytest
import sentencepiece_models

from zoo import directory

WORDS = "the sea sees these trees; a tree is where the three bees rest, he said so"
# characters that the character map changes or drops, and unknown ones
LETTERS = [
    *"etasr hi,.;Z",
    "  ",
    "\t",
    "\u3000",
    "ﬁ",
    "Å",
    "１",
    "\u200b",
    "é",
    "ж",
    "😀",
]


@pytest.fixture(scope="module")
def spiece(tmp_path_factory):
    """A T5 directory's tokenizer, trained on a few words."""
    folder = tmp_path_factory.mktemp("t5")
    lines = [*WORDS.split(), WORDS, WORDS.title()]
    sentencepiece_models.train(lines, folder / "spiece", 50)
    settings = {"tokenizer_class": "T5Tokenizer", "eos_token": "</s>"}
    settings |= {"unk_token": "<unk>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def write(path, folder, change=lambda fields: None):
    """Writes what llama.cpp's convert_hf_to_gguf writes for T5, without tensors."""
    from sentencepiece import sentencepiece_model_pb2 as messages

    proto = messages.ModelProto()
    proto.ParseFromString((folder / "spiece.model").read_bytes())
    # its model has 28 more rows, as T5's has
    tokens = [p.piece for p in proto.pieces] + [f"[PAD{i}]" for i in range(28)]
    fields = {
        "tokenizer_model": "t5",
        "tokenizer_pre": "default",
        "token_list": tokens,
        "token_scores": [p.score for p in proto.pieces] + [-10000.0] * 28,
        "token_types": [p.type for p in proto.pieces] + [gguf.TokenType.UNUSED] * 28,
        "add_space_prefix": proto.normalizer_spec.add_dummy_prefix,
        "remove_extra_whitespaces": proto.normalizer_spec.remove_extra_whitespaces,
        "precompiled_charsmap": proto.normalizer_spec.precompiled_charsmap,
        "eos_token_id": 1,
        "unk_token_id": 2,
        "pad_token_id": 0,
    }
    change(fields)
    writer = gguf.GGUFWriter(path, "t5")
    for name, value in fields.items():
        getattr(writer, f"add_{name}")(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_ids_are_those_of_the_directory(spiece, tmp_path):
    found = directory.read_tokenizer(write(tmp_path / "t5.gguf", spiece))
    wanted = directory.read_tokenizer(spiece)
    random = np.random.default_rng(0)
    texts = ["", "</s>", "the <pad> end", " leading", "trailing "]
    texts += [
        "".join(random.choice(LETTERS, random.integers(1, 40))) for _ in range(95)
    ]
    texts += [" ".join(random.choice(WORDS.split(), 7)) for _ in range(100)]
    for text in texts:
        ids = found.encode(text)
        assert ids == wanted.encode(text), text
        assert found.decode(ids) == wanted.decode(ids), text
    assert len({tuple(found.encode(text)) for text in texts}) > 150
    first, second = json.loads(found.json), json.loads(wanted.json)
    assert first["normalizer"] == second["normalizer"]
    assert first["decoder"] == second["decoder"]
    assert first["post_processor"]["single"] == second["post_processor"]["single"]
    assert (found.end_token, found.end_ids) == ("</s>", [1])
    assert found.vocab_size < wanted.vocab_size  # there are no names of <extra_id_0>


def test_refused(spiece, tmp_path):
    def refused(message, read=directory.read_tokenizer, **changes):
        path = write(tmp_path / "x.gguf", spiece, lambda fields: fields.update(changes))
        with pytest.raises(ValueError, match=message) as error:
            read(path)
        assert str(error.value).startswith(str(path))

    refused("general.architecture 't5'. Allowed: gemma2", read=directory.load)
    refused("add_space_prefix False; True allowed", add_space_prefix=False)
    refused(
        "remove_extra_whitespaces False; True allowed", remove_extra_whitespaces=False
    )
    for content in (b"\3\0\0\0x", b"\4\0\0\0\xff\xff\xff\xffabc\0"):
        refused("precompiled_charsmap: not a map", precompiled_charsmap=content)
    refused("scores has 3 numbers", token_scores=[0.0] * 3)
    usual = [gguf.TokenType.NORMAL] * 3
    refused("no unknown token", token_list=["a", "b", "c"], token_types=usual)
