import itertools
import json
import random

import graph_cases
import pytest
import tensorflow as tf
from tokenizers import AddedToken, Tokenizer

from zoo.text import tokenizer
from zoo.text.in_graph import byte_level
from zoo.text.in_graph import tokenizer as graph_tokenizer

TRICKY = [
    "",
    " ",
    "   ",
    "I'M HERE, don't  stop!!  ",
    "12345 apples 1234567",
    "tab\there \t x",
    "x  \n\n y",
    "trailing   ",
    "  lead",
    "\r\n\r\nx \r\n  y\n",
    " 's it's 'S 'ſ 'Re",
    "a\u0301b \u0344 e\u0323\u0301",
    "\x85x\u3000\u3000y z\u2028 q",
    "foo(bar)\n\n\n\tbaz!\n\n  x",
    "\0a\0\ufeffx",
    "İstanbul ΑΣ ǅ",
    "aaaa " + "a" * 99,
    "z" * 101,
    "-" * 500 + "=" * 77,
]


@pytest.fixture(params=graph_cases.FAMILIES, scope="module")
def pair(request):
    return graph_cases.pair(request.param)


def test_ids_are_those_of_the_library(pair):
    assert pair.differing(TRICKY) == []
    assert pair.differing(graph_cases.fuzz(1500, seed=1)) == []
    assert pair.differing(graph_cases.fuzz(500, seed=2), special=True) == []


def test_a_whole_text_as_one_request(pair):
    whole = graph_cases.text(400_000)[180_000:220_000]
    assert pair.differing([whole, whole.replace(" ", "")]) == []


def test_a_sample_of_all_characters(pair):
    points = [*range(0, 0x3200, 3), *range(0x3200, 0x110000, 577)]
    texts = [
        form.format(chr(point))
        for point in points
        if not 0xD800 <= point < 0xE000
        for form in ("{}", "a{}1", " {} ")
    ]
    assert pair.differing(texts) == []


def test_decoding_is_that_of_the_library(pair):
    texts = TRICKY + graph_cases.fuzz(1000, seed=3)
    ids = pair.expected(texts)
    wanted = [pair.library.decode(i, skip_special_tokens=True) for i in ids]
    assert [text.decode() for text in pair.decode(ids)] == wanted


def test_no_text_and_no_rows(pair):
    assert pair.encode([]) == []
    assert pair.encode(["", ""]) == [[], []]
    assert pair.decode([]).tolist() == []
    assert pair.decode([[], []]).tolist() == [b"", b""]
    nothing = [-1, pair.graph.vocab_size, 2**31 - 1]
    assert pair.decode([nothing]).tolist() == [b""]


def test_special_tokens_come_only_where_they_are_asked_for():
    pair = graph_cases.pair("gpt2")
    text = "a<|im_start|>b"
    number = pair.library.token_to_id("<|im_start|>")
    assert pair.encode([text], special=True)[0][1] == number
    assert number not in pair.encode([text])[0]
    assert pair.decode([[number, *pair.encode(["x"])[0], number]]).tolist() == [b"x"]


def test_prepended_spaces_behind_an_added_token():
    for family in ("llama2", "mistral", "metaspace", "prefix"):
        texts = ["<s>a", "a<s>a b</s>", "</s> a", "<|im_end|>a", "a<|im_end|> b"]
        assert graph_cases.pair(family).differing(texts, special=True) == []


def test_text_out_is_always_valid():
    pair = graph_cases.pair("gpt2")
    a, b, cut = pair.expected(["a", "b", "你"])
    assert len(cut) == 3
    assert pair.decode([cut[:1], cut[:2], [*cut, *cut[:2]]]).tolist() == [
        b"",
        b"",
        "你".encode(),
    ]
    broken = [cut[0], *a, cut[1], cut[2], *b]
    assert pair.decode([broken])[0].decode() == pair.library.decode(broken)


@pytest.mark.parametrize("family", ["gpt2", "llama2"])
def test_broken_bytes_are_replaced_as_by_the_library(family):
    pair = graph_cases.pair(family)
    names = {"gpt2": byte_level.byte_letters()}
    names["llama2"] = [f"<0x{byte:02X}>" for byte in range(256)]
    parts = [0x41, 0x80, 0xBF, 0xC2, 0xE0, 0xA0, 0xED, 0x9F, 0xF0, 0x90, 0xF4, 0x8F]
    tokens = [pair.library.token_to_id(names[family][byte]) for byte in parts]
    rng = random.Random(0)
    # Behind them a whole character, so that none is cut at the end.
    rows = [
        [*rng.choices(tokens, k=rng.randint(1, 7)), pair.library.token_to_id("a")]
        for _ in range(2000)
    ]
    got = [text.decode() for text in pair.decode(rows)]
    assert got == [pair.library.decode(row) for row in rows]


def test_byte_tokens_cut_at_the_end_are_left_out():
    pair = graph_cases.pair("llama2")
    a, e4, bd, a0 = (
        pair.library.token_to_id(t) for t in ("▁a", "<0xE4>", "<0xBD>", "<0xA0>")
    )
    rows = [[a, e4, bd, a0], [a, e4, bd], [a, a0, e4], [e4]]
    assert [t.decode() for t in pair.decode(rows)] == ["a你", "a", "a\ufffd", ""]


def test_valid_utf8_is_that_of_python():
    edges = [0, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0]
    edges += [0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]
    texts = [
        bytes(text)
        for size in range(4)
        for text in itertools.product(edges, repeat=size)
    ]
    texts += [bytes([0xF0, b, 0x80, 0x80]) for b in range(256)]
    texts += [bytes([0xF4, b, 0xBF, 0xBF]) for b in range(256)]

    def valid(text):
        try:
            return bool(text.decode()) or True
        except UnicodeDecodeError:
            return False

    got = graph_tokenizer.valid_utf8(tf.constant(texts)).numpy().tolist()
    assert got == [valid(text) for text in texts]


def test_a_saved_model_needs_nothing_else(tmp_path):
    tokenizer = graph_tokenizer.build(graph_cases.tokenizer_json("qwen2"))
    module = tf.Module()
    module.tokenizer = tokenizer

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def serve(text):
        tokens = tokenizer.encode(text)
        return {"tokens": tokens.to_tensor(-1), "text": tokenizer.decode(tokens)}

    module.serve = serve
    tf.saved_model.save(module, tmp_path, signatures={"serving_default": serve})
    answer = tf.saved_model.load(tmp_path).signatures["serving_default"](
        tf.constant(["Hello,  wörld 42"])
    )
    wanted = graph_cases.pair("qwen2").expected(["Hello,  wörld 42"])
    assert answer["tokens"].numpy().tolist() == wanted
    assert answer["text"].numpy().tolist() == ["Hello,  wörld 42".encode()]
    nodes = list(serve.get_concrete_function().graph.as_graph_def().node)
    for function in serve.get_concrete_function().graph.as_graph_def().library.function:
        nodes += function.node_def
    kinds = {node.op for node in nodes}
    assert not kinds & {"PyFunc", "EagerPyFunc", "MutableHashTableV2"}
    # It gives each array to other threads, which costs more than all the rest.
    assert "Roll" not in kinds
    assert {n.device for n in nodes if n.op.startswith("LookupTableFind")} <= {
        "/device:CPU:0",
        "/CPU:0",
        "",
    }


def _changed(family, **fields):
    changed = json.loads(graph_cases.tokenizer_json(family))
    for path, value in fields.items():
        part = changed
        *parents, last = path.split("__")
        for name in parents:
            part = part[name]
        part[last] = value
    return json.dumps(changed)


def _pattern(pattern, removed=False):
    """A pre-tokenizer with a pattern that the graph does not support."""
    behavior = "Removed" if removed else "Isolated"
    return {"type": "Split", "pattern": {"Regex": pattern}} | {
        "behavior": behavior,
        "invert": removed,
    }


@pytest.mark.parametrize(
    "text, message",
    [
        (_changed("gpt2", normalizer={"type": "NFKC"}), "normalizer .*NFKC"),
        (_changed("gpt2", pre_tokenizer={"type": "Whitespace"}), "Whitespace"),
        (_changed("gpt2", pre_tokenizer=_pattern(r"\S+|\s+")), "pre_tokenizer .*S"),
        (_changed("gpt2", pre_tokenizer=_pattern(r"\p{N}", True)), "pre_tokenizer .*N"),
        (_changed("gpt2", decoder=None), "decoder None"),
        (_changed("gpt2", model__dropout=0.1), "model.dropout 0.1"),
        (_changed("llama2", decoder={"type": "Fuse"}), "decoder .*Fuse"),
        (_changed("uncased", normalizer=None), "normalizer None"),
        ("{}", "no tokenizer"),
    ],
)
def test_what_is_not_exact_is_refused(text, message):
    with pytest.raises(ValueError, match=f"cannot be put in the graph: .*{message}"):
        graph_tokenizer.build(text)


@pytest.mark.parametrize(
    "tokens, message",
    [
        ([AddedToken("cat", single_word=True)], "single_word"),
        ([AddedToken("|>")], "added tokens"),
        ([AddedToken(" x"), AddedToken("<mask>", lstrip=True)], "spaces"),
    ],
)
def test_added_tokens_that_are_more_than_text_are_refused(tokens, message):
    tokenizer = Tokenizer.from_str(graph_cases.tokenizer_json("gpt2"))
    tokenizer.add_tokens(tokens)
    with pytest.raises(ValueError, match=message):
        graph_tokenizer.build(tokenizer.to_str())


@pytest.mark.long
def test_all_characters(pair):
    points = [*range(0xD800), *range(0xE000, 0x110000)]
    for form in ("{}", "a{}1", " {}\u0301 '{}"):
        for start in range(0, len(points), 100_000):
            part = points[start : start + 100_000]
            texts = [form.replace("{}", chr(point)) for point in part]
            assert pair.differing(texts) == []


@pytest.mark.long
def test_many_texts(pair):
    assert pair.differing(graph_cases.fuzz(20_000, seed=4)) == []
    assert pair.differing(graph_cases.fuzz(20_000, seed=5), special=True) == []
    whole = graph_cases.text(1_000_000)
    assert pair.differing([whole, *whole.split("\n")]) == []


def test_the_first_space_of_a_continuation_is_kept():
    pair = graph_cases.pair("llama2")
    python = tokenizer.Tokenizer(pair.library.to_str(), {"eos_token": "</s>"})
    world = [pair.library.token_to_id(token) for token in ("▁w", "or", "ld")]
    assert pair.decode([world]).tolist() == [b"world"]
    rows = tf.ragged.constant([world, world], tf.int32)
    assert pair.graph.decode(rows, continuing=True).numpy().tolist() == [b" world"] * 2
    mixed = pair.graph.decode(rows, continuing=tf.constant([True, False]))
    assert mixed.numpy().tolist() == [b" world", b"world"]
    assert python.decode(world) == "world"
    assert python.decode(world, continuing=True) == " world"
    assert python.decode([], continuing=True) == ""


def test_continuations_are_decoded_as_behind_another_token(pair):
    """In the graph and in Python, as the library decodes them in their whole text."""
    end = "[SEP]" if pair.library.token_to_id("[SEP]") else "</s>"
    end = end if pair.library.token_to_id(end) else "<|endoftext|>"
    python = tokenizer.Tokenizer(pair.library.to_str(), {"eos_token": end})
    ids = pair.expected(TRICKY + graph_cases.fuzz(300, seed=6))
    (before,) = pair.expected(["a"])
    start = pair.library.decode(before)
    wanted = [pair.library.decode([*before, *i])[len(start) :] for i in ids]
    assert [python.decode(i, continuing=True) for i in ids] == wanted
    rows = tf.ragged.constant(ids, tf.int32, ragged_rank=1)
    got = pair.graph.decode(rows, continuing=True).numpy()
    assert [text.decode() for text in got] == wanted


def _without_byte(family, byte, letter):
    """A tokenizer whose byte token is replaced by the character itself."""
    changed = json.loads(graph_cases.tokenizer_json(family))
    vocab = changed["model"]["vocab"]
    number = vocab.pop(f"<0x{byte:02X}>")
    vocab.pop(letter, None)
    changed["model"]["merges"] = [
        pair
        for pair in changed["model"]["merges"]
        if letter not in "".join(pair).replace("<0x", "")
    ]
    vocab[letter] = number
    return json.dumps(changed)


def test_a_byte_that_is_a_token_of_its_own():
    """Gemma has a tabulator where its byte would be."""
    pair = graph_cases.Pair(_without_byte("gemma", 9, "\t"))
    texts = ["a\tb", "\t\t x\t", "é\t你\t", "\x85\t\x0b"]
    assert pair.differing([*texts, *graph_cases.fuzz(500, seed=7)]) == []
    ids = pair.expected(texts)
    wanted = [pair.library.decode(i) for i in ids]
    assert [text.decode() for text in pair.decode(ids)] == wanted


def test_a_byte_that_a_text_needs_is_needed():
    with pytest.raises(ValueError, match="model.vocab without <0x80>"):
        graph_tokenizer.build(_without_byte("gemma", 0x80, "\t"))
