"""Pairs and preferences: tokens, weights, batches, and what is refused."""

import numpy as np
import pytest

from zoo.data import batches, formats, sources
from zoo.data.batches.rows import bucket_widths
from zoo.text import framing
from zoo.text import tokenizer as tokenizers
from zoo.text.chat import rendering

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ASK = {"role": "user", "content": "what is it"}
HUMAN = "\n\nHuman: what is it\n\nAssistant: yes\n\nHuman: who\n\nAssistant:"


def answer(text):
    return {"role": "assistant", "content": text}


@pytest.fixture(scope="module")
def chatting():
    text = "user assistant the king said unto them what is it yes no [x] " * 20
    special = ["<|im_end|>", "<|im_start|>"]
    made = tokenizers.train([text], 280, special)
    return tokenizers.Tokenizer(made.json, {**made.config, "chat_template": CHATML})


def read(format, examples, tokenizer, length=200, **options):
    numbered = [(f"x.jsonl, line {i}", e) for i, e in enumerate(examples, 1)]
    return formats.rows.read(
        numbered, formats.BY_NAME[format], tokenizer, length, **options
    )


def parts(rows, tokenizer):
    """Of each row, the text without and with a weight."""
    found = []
    for first, last in zip(rows.starts, rows.starts[1:], strict=False):
        ids, weights = rows.tokens[first:last], rows.weights[first:last]
        found.append([tokenizer.decode(ids[weights == w]) for w in (0, 1)])
    return found


def test_a_group_of_texts(chatting):
    examples = [
        {"anchor": "the king", "positive": "said", "negative": ["yes", "no"]},
        {"anchor": "what", "positive": "it", "negative": "unto"},
        {"anchor": "is", "positive": "them"},
    ]
    rows = read("pair", examples, chatting, renamed=["text=anchor"])
    assert rows.groups.tolist() == [0, 4, 7, 9]
    assert [text for _, text in parts(rows, chatting)] == (
        "the king,said,yes,no,what,it,unto,is,them".split(",")
    )
    (batch,) = batches.eval_pairs(rows.tokens, rows.starts, rows.groups, 4)
    assert batch["tokens"].shape[:2] == (4, 4)
    lengths = np.diff(rows.starts)
    assert batch["lengths"].numpy().tolist() == [
        lengths[:4].tolist(),
        [*lengths[4:7], 0],
        [*lengths[7:], 0, 0],
        [0, 0, 0, 0],
    ]
    last = batch["tokens"][2, 1, : lengths[8]]
    assert chatting.decode(last.numpy()) == "them"
    assert not batch["tokens"][2, 2:].numpy().any()


def test_a_cut_keeps_the_frame(chatting):
    frame = framing.Frame([270], [271, 272], [])
    example = {"text": "the king said unto them", "positive": "it"}
    rows = read("pair", [example], chatting, 6, too_long="cut", frame=frame)
    first = rows.tokens[: rows.starts[1]].tolist()
    assert len(first) == 6 and first[0] == 270 and first[-2:] == [271, 272]
    assert first[1:4] == chatting.encode("the king said unto them")[:3]
    assert rows.counts["cut"] == 1


def test_a_verse_is_in_one_pair():
    for split in ("train", "valid", "test"):
        pairs = list(sources.read("kjv:neighbours", split))
        verses = [pair[name] for pair in pairs for name in ("text", "positive")]
        text = "\n".join(e["text"] for e in sources.read("kjv", split)).split("\n")
        assert len(verses) > 0.95 * len(text) and set(verses) <= set(text)
    assert pairs[0]["text"].startswith("Now it came to pass in the days when the judge")
    assert pairs[0]["positive"].startswith("And the name of the man was Elimelech")
    with pytest.raises(ValueError, match="kjv:x: kjv takes nothing after its name"):
        sources.read("kjv:x")


@pytest.mark.parametrize(
    "example, prompt, answers",
    [
        (
            {"prompt": "what is it", "chosen": " yes", "rejected": " no"},
            "what is it",
            (" yes", " no"),
        ),
        (
            {"chosen": f"{HUMAN} the king", "rejected": f"{HUMAN} the said"},
            HUMAN,
            (" the king", " the said"),
        ),
    ],
)
def test_preferences_of_texts(example, prompt, answers, chatting):
    rows = read("preference", [example], chatting)
    assert parts(rows, chatting) == [[prompt, answers[0]], [prompt, answers[1]]]
    assert (rows.tokens[rows.starts[1:] - 1] == chatting.end_id).all()


@pytest.mark.parametrize(
    "example",
    [
        {"chosen": [ASK, answer("yes")], "rejected": [ASK, answer("no")]},
        {"prompt": [ASK], "chosen": [answer("yes")], "rejected": [answer("no")]},
        {"prompt": [ASK], "chosen": "yes", "rejected": "no"},
        {
            "prompt": "what is it",
            "chosen": [ASK, answer("yes")],
            "rejected": [ASK, answer("no")],
        },
    ],
)
def test_preferences_of_chats(example, chatting):
    rows = read("preference", [example], chatting)
    prompt = rendering.encode(chatting, [ASK])
    assert rows.groups.tolist() == [0, 2]
    for row, text in enumerate(("yes", "no")):
        ids = rows.tokens[rows.starts[row] : rows.starts[row + 1]].tolist()
        whole = rendering.encode(chatting, [ASK, answer(text)], False)
        assert whole[: len(ids)] == ids and ids[-1] == chatting.end_id
        weights = rows.weights[rows.starts[row] : rows.starts[row + 1]]
        learnt = [*chatting.encode(text), chatting.end_id]
        assert ids[: len(prompt)] == prompt and not weights[: len(prompt)].any()
        assert weights[len(prompt) :].sum() == len(learnt)
        assert ids[len(prompt) :][: len(learnt)] == learnt


def test_batches_of_preferences(chatting):
    examples = [
        {"prompt": "what", "chosen": " yes" * n, "rejected": " no"} for n in (30, 1, 9)
    ]
    rows = read("preference", examples, chatting)
    found = list(batches.eval_preferences(*rows[:3], rows.groups, 2))
    assert [batch["tokens"].shape[0] for batch in found] == [2, 2]
    lengths = [batch["lengths"].numpy().tolist() for batch in found]
    wanted = (np.diff(rows.starts) - 1).reshape(3, 2)
    assert lengths == [wanted[[1, 2]].tolist(), [wanted[0].tolist(), [0, 0]]]
    total = sum(float(batch["weights"].numpy().sum()) for batch in found)
    assert total == rows.weights.sum()
    batch = found[1]
    ids = rows.tokens[: rows.starts[1]]
    size = len(ids) - 1
    assert batch["tokens"][0, 0, :size].numpy().tolist() == ids[:-1].tolist()
    assert batch["targets"][0, 0, :size].numpy().tolist() == ids[1:].tolist()


def test_a_batch_is_a_function_of_seed_and_number(chatting):
    examples = [
        {"text": "what", "positive": "it" * (1 + n % 7), "chosen": "x", "rejected": "y"}
        for n in range(20)
    ]
    rows = read("pair", examples, chatting)
    more = read("preference", [{**e, "prompt": "a"} for e in examples], chatting)

    def made(seed, start, kind):
        if kind == "pairs":
            data = rows.tokens, rows.starts, rows.groups
            dataset = batches.pair_batches(*data, 8, seed, start)
        else:
            dataset = batches.preference_batches(*more[:3], more.groups, 8, seed, start)
        return [
            {name: x.numpy().tolist() for name, x in b.items()}
            for b in dataset.take(9 - start)
        ]

    for kind in ("pairs", "preferences"):
        assert made(0, 0, kind)[5:] == made(0, 5, kind)
    assert made(0, 0, "pairs") != made(1, 0, "pairs")
    # an epoch has every pair once, and another epoch mixes them in another way
    lengths = [b["lengths"] for b in made(0, 0, "pairs")[:5]]
    first, second = sum(lengths, [])[:20], sum(lengths, [])[20:40]
    assert sorted(first) == sorted(second) and first != second


def test_margins_and_several_rejected_answers(chatting):
    pair = {"prompt": "it", "chosen": " yes", "rejected": " no"}
    rows = read("preference", [{**pair, "margin": 2}, pair], chatting)
    assert rows.labels.tolist() == [2, 2, 0, 0]
    beside = {"margin": rows.labels[rows.groups[:-1]]}
    batch = next(iter(batches.eval_preferences(*rows[:3], rows.groups, 3, beside)))
    assert batch["margin"].numpy().tolist() == [2, 0, 0]
    several = {**pair, "rejected": [" no", " never", " them"]}
    rows = read("preference", [several, pair], chatting)
    assert rows.groups.tolist() == [0, 4, 6] and not len(rows.labels)
    assert parts(rows, chatting)[:4] == [
        ["it", text] for text in (" yes", " no", " never", " them")
    ]
    batch = next(iter(batches.eval_preferences(*rows[:3], rows.groups, 2)))
    assert np.count_nonzero(batch["lengths"], 1).tolist() == [2, 4]


def test_answers_that_are_cut_to_the_same_are_dropped(chatting):
    pair = {"prompt": "it", "chosen": " the king of it", "rejected": " the king of us"}
    other = {"prompt": "it", "chosen": "b", "rejected": "a"}
    length = len(chatting.encode("it")) + len(chatting.encode(" the king"))
    rows = read("preference", [pair, other], chatting, length, too_long="cut")
    assert rows.counts["dropped"] == 1 and len(rows.groups) == 2


def test_no_batch_is_wider_than_the_longest_text():
    assert bucket_widths(40) == [16, 24, 32, 40]
    assert bucket_widths(16) == [16]
    assert bucket_widths(5) == [5]


@pytest.mark.parametrize(
    "name, example, words",
    [
        ("pair", {"text": "a", "positive": ""}, "a text of the pair is empty"),
        ("pair", {"text": "a"}, "no column 'positive'"),
        ("pair", {"text": "a", "positive": "b", "negative": 3}, "negative: 3, a text"),
        ("pair", {"text": "a", "positive": "b", "negative": [3]}, "negative: 3, a te"),
        ("preference", {"chosen": "a", "rejected": "a"}, "are equal"),
        ("preference", {"chosen": "a", "rejected": "b"}, "no prompt, and the texts"),
        (
            "preference",
            {"chosen": f"{HUMAN} yes", "rejected": f"{HUMAN} no\n\nHuman: x"},
            "differ in more than the last answer",
        ),
        (
            "preference",
            {"chosen": [ASK, answer("a")], "rejected": [answer("b")]},
            "differ in more than the assistant's last message",
        ),
        (
            "preference",
            {"prompt": "x", "chosen": [ASK, answer("a")], "rejected": [ASK]},
            "prompt: a text that is no message of both chats",
        ),
        ("preference", {"chosen": [ASK], "rejected": "b"}, "rejected|messages: 'b'"),
        ("preference", {"prompt": "x", "chosen": "a"}, "no column 'rejected'"),
        (
            "preference",
            {"prompt": "x", "chosen": "a", "rejected": ""},
            "the answer is empty",
        ),
        (
            "preference",
            {"chosen": [ASK, answer("a")], "rejected": [ASK, answer(" ")]},
            "the answer has no tokens",
        ),
        (
            "preference",
            {"prompt": "x", "chosen": "a", "rejected": ["b", "a"]},
            "are equal",
        ),
        ("preference", {"prompt": "x", "chosen": "a", "rejected": []}, "rejected: no"),
        (
            "preference",
            {"prompt": "x", "chosen": "a", "rejected": "b", "margin": "1"},
            "margin: '1', a number",
        ),
        (
            "preference",
            {"prompt": "x", "chosen": "a", "rejected": ["b"], "margin": 1},
            "margin: allowed beside one",
        ),
    ],
)
def test_what_is_refused(name, example, words, chatting):
    with pytest.raises(ValueError, match=words) as error:
        read(name, [example], chatting)
    assert "x.jsonl, line 1" in str(error.value)
