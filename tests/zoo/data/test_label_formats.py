"""Formats with labels: what stands around a text, what a label is, what is refused."""

import json

import numpy as np
import pytest
import tokenizers as library
from tokenizers import models, normalizers, pre_tokenizers, processors

from zoo import registry
from zoo.data import batches, formats, splits
from zoo.data.formats import Labels
from zoo.models import text_encoder
from zoo.text import framing
from zoo.text import tokenizer as tokenizers

NAMES = ("ham", "spam")


@pytest.fixture(scope="module")
def wordpieces():
    """A BERT tokenizer of a few words: [CLS] is 1 and [SEP] is 2."""
    words = ["[UNK]", "[CLS]", "[SEP]", "the", "man", "un", "##happy", "##s", "!", "é"]
    vocabulary = {word: i for i, word in enumerate(words)}
    engine = library.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    engine.normalizer = normalizers.BertNormalizer(strip_accents=False)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizers.Tokenizer(engine.to_str(), {"eos_token": None})


def read(name, examples, tokenizer, length=64, names=NAMES, frame=None, **options):
    numbered = [(f"x.jsonl, line {i}", e) for i, e in enumerate(examples, 1)]
    if not isinstance(names, Labels):
        names = Labels(names)
    frame = frame or framing.frame(tokenizer, text_encoder.Config())
    return formats.rows.read(
        numbered,
        formats.BY_NAME[name],
        tokenizer,
        length,
        labels=names,
        frame=frame,
        **options,
    )


# ---- what stands around a text ----


def test_an_encoder_reads_all_and_a_language_model_what_stands_before(wordpieces):
    assert framing.frame(wordpieces, text_encoder.Config()) == ([1], [2], [])
    decoder = registry.config("transformer_lm")
    assert framing.frame(wordpieces, decoder) == ([1], [], [])


def test_the_kind_of_a_body_decides(wordpieces):
    class Headed:
        task = "classify"
        body = registry.config("lstm_lm")

    assert framing.frame(wordpieces, Headed).after == []
    Headed.body = text_encoder.Config()
    assert framing.frame(wordpieces, Headed).after == [2]


def test_a_text_without_tokens(tokenizer, wordpieces):
    frame = framing.frame(tokenizer, text_encoder.Config())
    assert frame.around([]) == [tokenizer.end_id] and frame.around([5]) == [5]
    rows = read("classify", [{"text": "", "label": "ham"}], tokenizer)
    assert rows.tokens.tolist() == [tokenizer.end_id]
    rows = read("classify", [{"text": "", "label": "ham"}], wordpieces)
    assert rows.tokens.tolist() == [1, 2]


def test_the_last_token_survives_a_cut(wordpieces):
    examples = [{"text": "the man " * 9, "label": "spam"}, {"text": "the", "label": 0}]
    with pytest.raises(ValueError, match="line 1: 20 tokens, at most 6 allowed"):
        read("classify", examples, wordpieces, 6)
    rows = read("classify", examples, wordpieces, 6, too_long="cut")
    assert rows.tokens.tolist() == [1, 3, 4, 3, 4, 2, 1, 3, 2]
    assert rows.starts.tolist() == [0, 6, 9] and rows.counts["cut"] == 1
    assert rows.labels.tolist() == [1, 0]
    rows = read("classify", examples, wordpieces, 6, too_long="drop")
    assert rows.labels.tolist() == [0] and rows.counts["dropped"] == 1


def test_the_signature_puts_the_same_tokens_around(wordpieces, tokenizer):
    from zoo.saved_model.token_rows import framed, ragged

    for frame in (
        framing.frame(wordpieces, text_encoder.Config()),
        framing.frame(tokenizer, text_encoder.Config()),
        framing.Frame([], [4, 5], []),
        framing.Frame([], [], []),
    ):
        ids = framed(ragged([[7, 8], [0, 0]], [2, 0]), frame)
        assert ids.to_list() == [frame.around([7, 8]), frame.around([])]


# ---- labels ----


@pytest.mark.parametrize(
    "names, indexed, value, index",
    [
        (("ham", "spam"), (), "spam", 1),
        (("ham", "spam"), (), 1, 1),
        (("0", "1", "10"), (), 10, 2),
        (("5", "3"), (), 3, 1),
        (("5", "3"), (), "3", 1),
        (("false", "true"), (), True, 1),
        (("neg", "pos"), ("pos", "neg"), 0, 1),
        ((), (), 0.5, 0.5),
        ((), (), 3, 3.0),
    ],
)
def test_what_a_label_means(names, indexed, value, index):
    assert Labels(names, indexed).read(value) == index


@pytest.mark.parametrize(
    "names, indexed, value, words",
    [
        (NAMES, (), "spa", "label: 'spa'. Did you mean spam? Allowed: ham, spam."),
        (NAMES, (), 2, "label: 2, 0 to 1 allowed"),
        (NAMES, (), -1, "label: -1, 0 to 1 allowed"),
        (NAMES, (), True, "label: 'true'. Allowed: ham, spam."),
        (NAMES, (), 0.5, "label: 0.5, a name or an integer allowed"),
        (NAMES, (), None, "label: None, a name or an integer allowed"),
        (NAMES, (), " ", "label: ' ', a name"),
        (("neg", "pos"), ("neg", "pos", "odd"), 2, "label: 'odd'. Allowed: neg, pos."),
        ((), (), "high", "label: 'high', a finite number allowed"),
        ((), (), True, "label: True, a finite number allowed"),
        ((), (), float("nan"), "label: nan, a finite number allowed"),
        ((), (), 1e39, "label: 1e+39, a finite number allowed"),
    ],
)
def test_a_bad_label(names, indexed, value, words, tokenizer):
    labels = Labels(names, indexed)
    examples = [{"text": "a", "label": value}]
    with pytest.raises(ValueError) as error:
        read("classify", examples, tokenizer, names=labels)
    assert str(error.value).startswith("x.jsonl, line 1: ") and words in str(
        error.value
    )


def test_bad_labels_have_a_budget(tokenizer):
    examples = [{"text": "a", "label": x} for x in ("ham", "eggs", "spam")]
    rows = read("classify", examples, tokenizer, max_bad_rows=1)
    assert rows.labels.tolist() == [0, 1] and rows.counts["bad"] == 1


def test_names_of_training_data():
    def found(*values, **options):
        rows = [(f"line {i}", {"y": v}) for i, v in enumerate(values)]
        names = formats.labels.names_of(rows, "y", options.pop("indexed", ()))
        return formats.labels.ordered(names, **options)

    assert found("b", "a", "b", None, 0.5) == ("a", "b")
    assert found(10, 9, 100) == ("9", "10", "100")
    assert found(["nn", "at"], ["nn"]) == ("at", "nn")
    assert found(0, 2, classes=3) == ("0", "1", "2")
    names = formats.labels.names_of([("x, line 3", {"y": 1})], "y", ("no", "yes"))
    assert names == {"yes": "x, line 3"}
    with pytest.raises(ValueError, match=r"labels: 3 classes .a, b, c., the model h"):
        found("a", "b", "c", classes=2)
    with pytest.raises(ValueError, match=r"labels: 1 classes .a., at least 2 needed"):
        found("a")


# ---- tags ----


def test_a_tag_stands_on_the_first_token_of_its_word(wordpieces):
    example = {"tokens": ["the", "Unhappys", "man!"], "tags": ["at", "jj", "nn"]}
    rows = read("tag", [example], wordpieces, names=("at", "jj", "nn"))
    assert rows.tokens.tolist() == [1, 3, 5, 6, 7, 4, 8, 2]
    assert rows.weights.tolist() == [0, 1, 1, 0, 0, 1, 0, 0]
    assert rows.labels.tolist() == [0, 0, 1, 0, 0, 2, 0, 0]
    cut = read("tag", [example], wordpieces, 5, ("at", "jj", "nn"), too_long="cut")
    assert cut.tokens.tolist() == [1, 3, 5, 6, 2]
    assert cut.weights.tolist() == [0, 1, 1, 0, 0]


def test_a_space_may_be_in_a_words_token(tokenizer):
    words = ["abc", "jig", "éé", "-", "日本", "dab"]
    example = {"tokens": words, "tags": list("abcdef")}
    rows = read("tag", [example], tokenizer, names=tuple("abcdef"))
    assert rows.tokens.tolist() == tokenizer.encode(" ".join(words))
    at = np.flatnonzero(rows.weights)
    assert rows.labels[at].tolist() == [0, 1, 2, 3, 4, 5]
    for first, last, word in zip(at, [*at[1:], None], words, strict=True):
        assert tokenizer.decode(rows.tokens[first:last]).strip() == word


@pytest.mark.parametrize(
    "example, words",
    [
        ({"tokens": ["a"], "tags": []}, "tags: 0, as many as the 1 words"),
        ({"tokens": [], "tags": []}, "tokens: [], a list of words allowed"),
        ({"tokens": ["a", " "], "tags": [0, 1]}, "a list of words allowed"),
        ({"tokens": ["a", 3], "tags": [0, 1]}, "a list of words allowed"),
        ({"tokens": ["a", "b"], "tags": [0, None]}, "tags[1]: None"),
        ({"tokens": ["a", "\x00", "the"], "tags": [0, 0, 0]}, "tokens[1]: '\\x00' has"),
        ({"tokens": ["a"], "tags": ["egg"]}, "label: 'egg'. Allowed: ham, spam."),
    ],
)
def test_bad_tags(example, words, wordpieces):
    with pytest.raises(ValueError, match="x.jsonl, line 1: ") as error:
        read("tag", [example], wordpieces)
    assert words in str(error.value)


def test_tags_of_a_file(tmp_path, tokenizer):
    path = tmp_path / "x.jsonl"
    rows = [{"words": ["abc", f"d{i}"], "pos": ["nn", "vb"]} for i in range(6)]
    path.write_text("\n".join(map(json.dumps, rows)))
    train, valid = splits.examples(f"jsonl:{path}", hold_out=0.3)
    format = formats.BY_NAME["tag"]
    column = formats.rows.columns(format, ["tokens=words", "tags=pos"])["tags"]
    names = formats.labels.ordered(formats.labels.names_of(train, column))
    assert names == ("nn", "vb")
    renamed = ["tokens=words", "tags=pos"]
    made = formats.rows.read(
        [*train, *valid], format, tokenizer, 64, renamed, labels=Labels(names)
    )
    assert made.labels[made.weights > 0].tolist() == [0, 1] * 6


# ---- batches ----


def many(count=50, seed=0):
    """Rows of 1 to 40 tokens; the tokens and the label of row i are i."""
    lengths = np.random.default_rng(seed).integers(1, 41, count)
    starts = np.cumsum([0, *lengths]).astype(np.int64)
    tokens = np.repeat(np.arange(count), lengths).astype(np.int32)
    return tokens, starts, np.arange(count, dtype=np.int32)


@pytest.mark.parametrize("count", [1, 3, 50, 97])
def test_each_epoch_takes_each_row_once(count):
    tokens, starts, labels = many(count)
    dataset = batches.labelled_batches(tokens, starts, labels, 3, seed=5)
    size = -(-count // 3)
    orders = [[], []]
    for i, batch in enumerate(dataset.take(2 * size).as_numpy_iterator()):
        wide = batches.bucket(max(batch["lengths"]))
        assert batch["tokens"].shape[1] == min(wide, max(np.diff(starts)))
        rows = zip(*(batch[k] for k in ("tokens", "lengths", "label")), strict=True)
        for weight, (row_T, length, label) in zip(batch["weights"], rows, strict=True):
            if weight:
                assert length == starts[label + 1] - starts[label]
                assert set(row_T[:length]) == {label} and not row_T[length:].any()
                orders[i // size].append(int(label))
            else:
                assert not row_T.any() and length == 1
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(count))
    assert count < 9 or orders[0] != orders[1]


def test_labelled_batches_go_on_from_any_number():
    arrays = many()
    whole = list(batches.labelled_batches(*arrays, 4, 7).take(30).as_numpy_iterator())
    for start in (0, 11, 13, 29):
        later = batches.labelled_batches(*arrays, 4, 7, start=start)
        (batch,) = later.take(1).as_numpy_iterator()
        for name, value in batch.items():
            np.testing.assert_array_equal(value, whole[start][name])
    other = next(batches.labelled_batches(*arrays, 4, 8).as_numpy_iterator())
    assert other["label"].tolist() != whole[0]["label"].tolist()


def test_rows_of_a_batch_have_near_lengths_but_not_one_order():
    tokens, starts, labels = many(640)
    spread, firsts = [], set()
    for batch in batches.labelled_batches(tokens, starts, labels, 8, 0).take(160):
        lengths = batch["lengths"].numpy()
        spread.append(max(lengths) - min(lengths))
        firsts.add(frozenset(batch["label"].numpy().tolist()))
    assert np.mean(spread) < 8  # 31 at random
    assert len(firsts) > 150  # a global sort would give the same 80 batches twice


def test_an_evaluation_takes_each_row_once_with_its_number():
    tokens, starts, labels = many(10)
    seen = {}
    for batch in batches.eval_labelled(tokens, starts, labels, 4):
        for row, label, weight in zip(
            *(batch[k].numpy() for k in ("row", "label", "weights")), strict=True
        ):
            if weight:
                seen[int(row)] = int(label)
    assert seen == {i: i for i in range(10)}


def test_tagged_batches():
    tokens, starts, _ = many(10)
    weights = (np.arange(len(tokens)) % 2).astype(np.float32)
    dataset = batches.eval_labelled(tokens, starts, tokens + 100, 4, weights)
    total = 0
    for batch in dataset:
        real = batch["weights"].numpy() > 0
        assert batch["label"].shape == batch["tokens"].shape == batch["weights"].shape
        np.testing.assert_array_equal(
            batch["label"].numpy()[real], batch["tokens"].numpy()[real] + 100
        )
        total += batch["weights"].numpy().sum()
    assert total == weights.sum()
    with pytest.raises(ValueError, match="labels"):
        batches.eval_labelled(tokens, starts, tokens[1:], 4, weights)
