"""The tokenizers of T5's and Marian's directories, through `zoo.load`."""

import dataclasses
import json
import pathlib
import shutil

import pytest
import sentencepiece_models

import zoo
from zoo import registry
from zoo.directory import hf
from zoo.text import framing
from zoo.text.importers import unigram

sentencepiece = pytest.importorskip("sentencepiece")

GOLDEN = pathlib.Path(__file__).parent / "families" / "seq2seq"
TEXTS = {
    "source": [f"the {n} small fox runs {'far ' * (n % 5)}home" for n in range(99)],
    "target": [f"le {n} petit renard court {'loin ' * (n % 5)}ici" for n in range(99)],
}
MARIAN = ["source.spm", "target.spm", "vocab.json", "target_vocab.json"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """source.spm and target.spm, and a vocabulary of each and of both."""
    base = tmp_path_factory.mktemp("files")
    ids = {}
    for side, lines in TEXTS.items():
        sentencepiece_models.train(lines, base / side, 60)
        (base / f"{side}.model").rename(base / f"{side}.spm")
        path = str(base / f"{side}.spm")
        processor = sentencepiece.SentencePieceProcessor(model_file=path)
        pieces = [processor.id_to_piece(i) for i in range(len(processor))]
        ids[side] = ["</s>", "<unk>", *pieces[3:], "<pad>"]
    both = dict.fromkeys([*ids["source"][:-1], *ids["target"]])
    for name, tokens in {**ids, "both": both}.items():
        numbers = {token: number for number, token in enumerate(tokens)}
        (base / f"{name}.json").write_text(json.dumps(numbers))
    return base


def model_directory(folder, name, **sizes):
    """A directory of a golden model's family without a tokenizer."""
    value = json.loads((GOLDEN / name / "config.json").read_text())
    config = dataclasses.replace(hf.from_hf(value, ""), **sizes, start_id=0)
    zoo.save(folder, registry.build_config(config))
    (folder / "SHA256SUMS").unlink()


def marian(folder, files, separate):
    source, target, both = (
        len(json.loads((files / f"{name}.json").read_text()))
        for name in ("source", "target", "both")
    )
    if separate:
        sizes = {"vocab_size": target, "source_vocab_size": source}
        model_directory(folder, "marian_two", **sizes, padding_id=source - 1)
        shutil.copy(files / "source.json", folder / "vocab.json")
        shutil.copy(files / "target.json", folder / "target_vocab.json")
    else:
        model_directory(folder, "marian", vocab_size=both, padding_id=both - 1)
        shutil.copy(files / "both.json", folder / "vocab.json")
    settings = {"separate_vocabs": separate, "tokenizer_class": "MarianTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    for side in TEXTS:
        shutil.copy(files / f"{side}.spm", folder)


@pytest.mark.parametrize("separate", [False, True])
def test_marian(separate, files, tmp_path):
    marian(tmp_path / "m", files, separate)
    loaded = zoo.load(tmp_path / "m")
    zoo.save(tmp_path / "again", *loaded, source_tokenizer=loaded.source_tokenizer)
    again = zoo.load(tmp_path / "again")  # from tokenizer.json
    vocabularies = {side: side if separate else "both" for side in TEXTS}
    for found in (loaded, again):
        both = {"source": found.source_tokenizer, "target": found.tokenizer}
        for side, tokenizer in both.items():
            path = files / f"{vocabularies[side]}.json"
            ids = json.loads(path.read_text())
            path = str(files / f"{side}.spm")
            theirs = sentencepiece.SentencePieceProcessor(model_file=path)
            for text in TEXTS[side][:9]:
                wanted = [ids[piece] for piece in theirs.encode(text, out_type=str)]
                assert tokenizer.encode(text) == wanted
                assert tokenizer.decode([*wanted, 0]) == text
            assert tokenizer.end_id == ids["</s>"]
            frame = framing.frame(tokenizer, found.model.config)
            assert (frame.before, frame.after) == ([], [0])
    assert "MarianTokenizer" not in str(again.tokenizer.config)


@pytest.mark.parametrize("missing", MARIAN)
def test_marian_without_a_file(missing, files, tmp_path):
    marian(tmp_path / "m", files, True)
    (tmp_path / "m" / missing).unlink()
    with pytest.raises(ValueError, match=f"m/{missing}: no such file"):
        zoo.load(tmp_path / "m")


def test_marian_with_a_broken_vocabulary(files, tmp_path):
    marian(tmp_path / "m", files, True)
    for text, words in (("{", "is not JSON"), ('{"a": "b"}', "ids from 0 without")):
        (tmp_path / "m" / "target_vocab.json").write_text(text)
        with pytest.raises(ValueError, match=f"target_vocab.json: {words}"):
            zoo.load(tmp_path / "m")


def test_t5(files, tmp_path):
    path = str(files / "source.spm")
    engine = unigram.read(path, "T5Tokenizer", {"extra_ids": 4})
    model_directory(tmp_path / "m", "t5", vocab_size=engine.get_vocab_size())
    (tmp_path / "m" / "tokenizer.json").write_text(engine.to_str())
    value = json.dumps({"eos_token": "</s>", "pad_token": "<pad>"})
    (tmp_path / "m" / "tokenizer_config.json").write_text(value)
    model, tokenizer, _ = loaded = zoo.load(tmp_path / "m")
    assert loaded.source_tokenizer is None
    assert framing.frame(tokenizer, model.config).after == [1]
    theirs = sentencepiece.SentencePieceProcessor(model_file=path)
    assert tokenizer.encode(TEXTS["source"][3]) == theirs.encode(TEXTS["source"][3])
