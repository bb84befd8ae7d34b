"""Unigram tokenizers: the graph, `tokenizers` and the `sentencepiece` package."""

import json
import random

import graph_cases
import pytest
import tokenizers
from tokenizers import normalizers, pre_tokenizers

from zoo.data.preparation import vocabulary
from zoo.text.importers import hf_files, named_pieces, unigram
from zoo.text.in_graph import tokenizer as graph_tokenizer

sentencepiece = pytest.importorskip("sentencepiece")

_CLUSTERS = (
    "abeAé①²ﬁ½\u0301\u0302\u0323\u200d‼😀©\ufe0fक्\u0958\u1100\u1161\u11a8\u0600\t\n\r  "
    "가ｶﾞ…\u0344\u0340\xa0你好"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a SentencePiece file of each kind, and Marian's two."""
    base = tmp_path_factory.mktemp("unigram")
    lines = graph_cases.text(60_000).splitlines()
    kinds = {
        "t5": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
        "xlmr": {"normalization_rule_name": "nmt_nfkc_cf"},
        "albert": {
            "pad_id": 0,
            "unk_id": 1,
            "bos_id": -1,
            "eos_id": -1,
            "control_symbols": ["[CLS]", "[SEP]", "[MASK]"],
        },
    }
    for name, options in kinds.items():
        _train(base / name, lines, 500, **options)
    for side, name in (("source", "t5"), ("target", "xlmr")):
        (base / f"{side}.spm").write_bytes((base / f"{name}.model").read_bytes())
    both = [_pieces(base / f"{name}.spm") for name in ("target", "source")]
    tokens = ["</s>", "<unk>", ">>fra<<", *sum(both, []), "<pad>"]
    tokens = [t for t in tokens if t != "<s>"]
    ids = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    (base / "vocab.json").write_text(json.dumps(ids))
    return base


def _train(prefix, lines, size, **options):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(prefix),
        vocab_size=size,
        minloglevel=2,
        **{"normalization_rule_name": "nmt_nfkc"} | options,
    )


def _pieces(path):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [processor.id_to_piece(i) for i in range(processor.get_piece_size())]


_KINDS = ["t5", "xlmr", "albert", "source", "target"]
_QUICK = ["albert", "source"]
_CLASSES = {"t5": "T5", "xlmr": "XLMRoberta", "albert": "Albert"}


def _engine(folder, kind):
    if kind in ("source", "target"):
        return unigram.marian(str(folder))[kind == "target"]
    path = str(folder / f"{kind}.model")
    return unigram.read(path, f"{_CLASSES[kind]}Tokenizer", {})


def _marks(kind):
    return () if kind in _QUICK else pytest.mark.long


@pytest.fixture(
    scope="module", params=[pytest.param(k, marks=_marks(k)) for k in _KINDS]
)
def pair(request, folder):
    return graph_cases.Pair(_engine(folder, request.param).to_str())


def _texts(count, seed):
    rng = random.Random(seed)
    mixed = [
        "".join(rng.choices(_CLUSTERS, k=rng.randint(1, 14))) for _ in range(count)
    ]
    return graph_cases.fuzz(count, seed) + mixed


def _characters(points):
    points = [p for p in points if not 0xD800 <= p < 0xE000]
    forms = ("{}", "a{}\u0301b", " {} ")
    return [form.format(chr(point)) for point in points for form in forms]


def test_ids_and_texts_are_those_of_the_library(pair):
    texts = _texts(100, seed=1) + ["a</s>b <pad><unk><extra_id_0>", "[SEP]<s></s><"]
    assert pair.differing(texts) == []
    assert pair.differing(texts, special=True) == []
    assert pair.differing(_characters(range(0, 0x110000, 1777))) == []
    assert pair.differing([graph_cases.text(10_000)]) == []
    ids = pair.expected(texts)
    wanted = [pair.library.decode(i, skip_special_tokens=True) for i in ids]
    assert [text.decode() for text in pair.decode(ids)] == wanted


@pytest.mark.long
def test_many_texts_and_all_characters(pair):
    assert pair.differing(_texts(20_000, seed=2)) == []
    whole = graph_cases.text(1_000_000)
    assert pair.differing([whole, *whole.split("\n")]) == []
    for start in range(0, 0x110000, 0x10000):
        assert pair.differing(_characters(range(start, start + 0x10000))) == []


def test_text_never_becomes_a_special_token(pair):
    fields = json.loads(pair.library.to_str())
    special = {t["id"]: t["content"] for t in fields["added_tokens"] if t["special"]}
    names = [name for name in special.values() if name != "<unk>"]
    texts = [*names, *(f"a{name}{name[:-1]} {name}b" for name in names)]
    unknown = pair.library.token_to_id("<unk>")
    for ids in pair.encode(texts):
        assert not {*ids} & {*special} - {unknown}
    for name, ids in zip(names, pair.encode(names, special=True), strict=True):
        assert [special[i] for i in ids] == [name]


def test_a_file_with_special_tokens_in_text_is_refused(folder):
    engine = _engine(folder, "xlmr")
    engine.pre_tokenizer = pre_tokenizers.Metaspace()
    with pytest.raises(ValueError, match=r"special tokens that text becomes, .'</s>'"):
        graph_tokenizer.build(engine.to_str())


@pytest.mark.parametrize("kind", ["t5", "xlm-roberta", "albert"])
def test_a_directory_is_read_by_its_model_type(kind, folder, tmp_path):
    name = kind.replace("-roberta", "r")
    spiece = "spiece.model" if kind != "xlm-roberta" else "sentencepiece.bpe.model"
    (tmp_path / spiece).write_bytes((folder / f"{name}.model").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    found = hf_files.load(str(tmp_path))
    assert found.end_token == ("[SEP]" if kind == "albert" else "</s>")
    text = "The </s> first <pad> day"
    assert found.json == _engine(folder, name).to_str(pretty=True)
    assert found.end_id not in found.encode(text)
    assert found.end_id in found.encode(f"a{found.end_token}", special=True)
    found.save(str(tmp_path))
    assert hf_files.load(str(tmp_path)).json == found.json


def test_marian_hands_on_single_unknown_characters(tmp_path):
    lines = ["abc abd bad cab dab"] * 20
    for side, text in (("source", lines), ("target", [x.upper() for x in lines])):
        _train(tmp_path / side, text, 11)
        (tmp_path / f"{side}.model").rename(tmp_path / f"{side}.spm")
    pieces = _pieces(tmp_path / "source.spm")
    tokens = [t for t in pieces if t in ("<unk>", "</s>") or len(t) == 1]
    ids = {t: n for n, t in enumerate([*tokens, "A"])}
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    with pytest.warns(UserWarning, match="vocab.json lacks .* pieces"):
        engine = unigram.marian(str(tmp_path))[0]
    unknown = ids["<unk>"]
    assert engine.encode("a A").ids[-2] == ids["A"]
    assert engine.encode("a AB").ids[-2] == unknown
    assert engine.encode("a B").ids[-2] == unknown


@pytest.mark.parametrize("kind", ["t5", "source", "target"])
def test_ids_are_those_of_sentencepiece(kind, folder):
    path = next(
        folder / n for n in (f"{kind}.model", f"{kind}.spm") if (folder / n).is_file()
    )
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    engine = _engine(folder, kind)
    for line in graph_cases.text(60_000).splitlines():
        wanted = theirs.encode(line, out_type=str)
        wanted = [
            engine.token_to_id(p)
            if engine.token_to_id(p) is not None
            else engine.token_to_id("<unk>")
            for p in wanted
        ]
        assert engine.encode(line).ids == [*wanted, engine.token_to_id("</s>")]


def test_pieces_of_a_preparation():
    """No normalizer, no space in front, and bytes of what has no piece."""
    lines = graph_cases.text(20_000).splitlines()
    made = graph_cases.Pair(vocabulary.train(lambda: lines, 400, "unigram").json)
    texts = _texts(100, seed=3) + ["<0x41><unk> <|endoftext|>\0", *lines[:20]]
    assert made.differing(texts) == []
    assert made.differing(texts, special=True) == []
    for text, found in zip(texts, made.decode(made.encode(texts)), strict=True):
        assert found.decode() == text.replace("\u2581", " ")


def test_what_is_not_exact_is_refused(folder):
    engine = _engine(folder, "t5")
    engine.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    with pytest.raises(ValueError, match="'first' behind Precompiled"):
        graph_tokenizer.build(engine.to_str())
    engine.pre_tokenizer = pre_tokenizers.Metaspace()
    named_pieces.keep_out(engine)
    engine.normalizer = normalizers.Replace(tokenizers.Regex("x+"), "y")
    with pytest.raises(ValueError, match="normalizer .*x+"):
        graph_tokenizer.build(engine.to_str())


def test_marian_without_its_second_vocabulary(folder, tmp_path):
    for name in ("vocab.json", "source.spm"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ValueError, match="target.spm: no such file"):
        unigram.marian(str(tmp_path))
