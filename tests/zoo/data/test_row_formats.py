"""Formats of single examples: what is learnt of each, and what is refused."""

import json

import numpy as np
import pytest

from zoo.data import batches, formats, sources, splits
from zoo.text import tokenizer as tokenizers
from zoo.text.chat import rendering

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LAST_ONLY = (
    "{% for m in messages %}{% if loop.last %}[{{ m.content }}]{% else %}"
    "{{ m.content }}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def chatting():
    text = "user assistant the king said unto them what is it yes no [x] " * 20
    special = ["<|im_end|>", "<|im_start|>"]
    made = tokenizers.train([text], 280, special)
    return tokenizers.Tokenizer(made.json, {**made.config, "chat_template": CHATML})


def chat(*texts):
    roles = ("user", "assistant")
    return {
        "messages": [
            {"role": roles[i % 2], "content": text} for i, text in enumerate(texts)
        ]
    }


def read(name, examples, tokenizer, length=64, **options):
    numbered = [(f"x.jsonl, line {i}", e) for i, e in enumerate(examples, 1)]
    return formats.rows.read(
        numbered, formats.BY_NAME[name], tokenizer, length, **options
    )


def learnt(rows, tokenizer, row=0):
    """The text of the tokens with a weight, special tokens by name."""
    place = slice(rows.starts[row], rows.starts[row + 1])
    ids = rows.tokens[place][rows.weights[place] > 0]
    return "".join(
        "<END>" if i in tokenizer.end_ids else tokenizer.decode([i]) for i in ids
    )


def test_a_chat_has_the_tokens_of_the_template(chatting):
    example = chat("what is it", "the king", "yes", "no")
    rows = read("chat", [example], chatting)
    wanted = rendering.encode(chatting, example["messages"], False)
    assert rows.tokens.tolist() == wanted[:-1]  # nothing is learnt behind the end
    assert learnt(rows, chatting) == "the king<END>no<END>"


def test_a_message_cannot_forge_an_end(chatting):
    rows = read("chat", [chat("is <|im_end|> it", "yes<|im_end|> no")], chatting)
    assert learnt(rows, chatting) == "yes<|im_end|> no<END>"


def test_a_chat_of_sharegpt(chatting):
    messages = [{"from": "human", "value": "yes"}, {"from": "gpt", "value": "no"}]
    rows = read(
        "chat",
        [{"conversations": messages}],
        chatting,
        renamed=["messages=conversations"],
    )
    assert learnt(rows, chatting) == "no<END>"


def test_prompt_and_instruction(chatting):
    rows = read("prompt", [{"prompt": "what is", "completion": " it"}], chatting)
    assert learnt(rows, chatting) == " it<END>"
    example = {"instruction": "what", "output": "the king"}
    rows = read("instruction", [example, {**example, "input": "it"}], chatting, 400)
    assert learnt(rows, chatting) == learnt(rows, chatting, 1) == "the king<END>"
    text = chatting.decode(rows.tokens[: rows.starts[1]])
    assert text.startswith("Below is an instruction that describes a task. Write")
    assert text.endswith("### Instruction:\nwhat\n\n### Response:\nthe king")
    text = chatting.decode(rows.tokens[rows.starts[1] :])
    assert "\n\n### Input:\nit\n\n### Response:\n" in text


@pytest.mark.parametrize(
    "name, example, words",
    [
        ("chat", chat("only a user"), "none is the assistant's"),
        ("chat", {"messages": "hello"}, "'hello', a list of messages allowed"),
        ("chat", {"messages": []}, "a list of messages allowed"),
        ("chat", {"messages": [{"role": "user"}]}, "a role and a content allowed"),
        ("chat", {"message": []}, "no column 'messages'. Did you mean message?"),
        ("prompt", {"prompt": "a", "completion": ""}, "the answer is empty"),
        ("prompt", {"prompt": 3, "completion": "b"}, "prompt: 3, a text allowed"),
        ("instruction", {"instruction": "a"}, "no column 'output'"),
    ],
)
def test_a_bad_row_is_named(name, example, words, chatting):
    with pytest.raises(ValueError, match="x.jsonl, line 1: ") as error:
        read(name, [example], chatting)
    assert words in str(error.value)


def test_a_template_that_rewrites_its_past_is_refused(chatting):
    config = {**chatting.config, "chat_template": LAST_ONLY}
    tokenizer = tokenizers.Tokenizer(chatting.json, config)
    with pytest.raises(ValueError, match="has other tokens when more follows"):
        read("chat", [chat("yes", "no", "yes", "no")], tokenizer)


@pytest.mark.parametrize(
    "template, refused",
    [
        (CHATML.replace("{% if add_generation_prompt %}", "{% if false %}"), True),
        (CHATML.replace("{% if add_generation_prompt %}", "{% if true %}"), False),
        ("{% for m in messages %}[{{ m.content }}]{% endfor %}", True),
        (
            "{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]"
            "{% else %} {{ m.content }}<|im_end|>{% endif %}{% endfor %}",
            False,
        ),
    ],
)
def test_a_template_needs_a_generation_prompt(template, refused, chatting):
    config = {**chatting.config, "chat_template": template}
    tokenizer = tokenizers.Tokenizer(chatting.json, config)
    example = chat("yes", "no it is", "yes", "the king")
    if refused:
        with pytest.raises(ValueError, match="but no generation prompt"):
            read("chat", [example], tokenizer)
    else:
        rows = read("chat", [example], tokenizer)
        assert "no it is<END>" in learnt(rows, tokenizer)


def test_bad_rows_have_a_budget(chatting):
    good = {"prompt": "a", "completion": "b"}
    examples = [good, {"prompt": "a"}, good, {"completion": "b"}]
    rows = read("prompt", examples, chatting, max_bad_rows=2)
    assert rows.counts == {"read": 4, "bad": 2, "dropped": 0, "cut": 0}
    with pytest.raises(ValueError, match="2 bad rows, .*max_bad_rows 1 allowed: .*e 2"):
        read("prompt", examples, chatting, max_bad_rows=1)


def test_too_long(chatting):
    long = {"prompt": "a", "completion": "b" * 50}
    short = {"prompt": "a", "completion": "b"}
    with pytest.raises(ValueError, match="line 1: 52 tokens, at most 20 allowed"):
        read("prompt", [long, short], chatting, 20)
    rows = read("prompt", [long, short], chatting, 20, too_long="drop")
    assert len(rows.starts) == 2 and rows.counts["dropped"] == 1
    rows = read("prompt", [long, short], chatting, 20, too_long="cut")
    assert np.diff(rows.starts).tolist() == [20, 3] and rows.counts["cut"] == 1


def test_lines_that_are_not_json_count_as_bad(tmp_path, chatting):
    path = tmp_path / "x.jsonl"
    line = json.dumps({"prompt": "a", "completion": "b"})
    path.write_text(f"{line}\n{{\n{line.replace('b', 'c')}\n")
    train, held_out = splits.examples(f"jsonl:{path}", hold_out=0.5)
    assert len(train) + len(held_out) == 3
    rows = formats.rows.read(
        [*train, *held_out], formats.BY_NAME["prompt"], chatting, 9, max_bad_rows=1
    )
    assert rows.counts["bad"] == 1 and rows.counts["read"] == 3
    with pytest.raises(ValueError, match="x.jsonl, line 2: not JSON"):
        formats.rows.read([*train, *held_out], formats.BY_NAME["prompt"], chatting, 9)


def test_batches_of_rows():
    lengths = [3, 9, 40, 5, 17, 2, 30]
    starts = np.cumsum([0, *lengths]).astype(np.int64)
    tokens = np.arange(starts[-1], dtype=np.int32)
    weights = (tokens % 2).astype(np.float32)
    dataset = batches.row_batches(tokens, weights, starts, 2, seed=3)
    epochs = [[], []]
    for i, batch in enumerate(dataset.take(8).as_numpy_iterator()):
        assert batch["tokens"].shape[1] in (16, 24, 32, 39)  # 39: the longest
        for x, y, w in zip(
            *(batch[k] for k in ("tokens", "targets", "weights")), strict=True
        ):
            n = int((y > 0).sum())
            np.testing.assert_array_equal(y[:n], x[:n] + 1)
            np.testing.assert_array_equal(w[:n], y[:n] % 2)
            assert not w[n:].any()
            if n:
                epochs[i // 4].append((int(x[0]), n + 1))
    wanted = sorted(zip(starts[:-1].tolist(), lengths, strict=True))
    assert sorted(epochs[0]) == sorted(epochs[1]) == wanted and epochs[0] != epochs[1]
    later = batches.row_batches(tokens, weights, starts, 2, seed=3, start=5)
    left = next(iter(later.as_numpy_iterator()))
    right = list(dataset.take(6).as_numpy_iterator())[5]
    np.testing.assert_array_equal(left["tokens"], right["tokens"])
    assert [batches.rows.bucket(n) for n in (1, 16, 17, 25, 33, 49, 65)] == [
        16,
        16,
        24,
        32,
        48,
        64,
        96,
    ]
    dataset = batches.eval_rows(tokens, weights, starts, 2)
    passed = [b["weights"].sum() for b in dataset.as_numpy_iterator()]
    ends = [
        weights[a + 1 : b].sum() for a, b in zip(starts[:-1], starts[1:], strict=True)
    ]
    assert sum(map(float, passed)) == sum(ends)


def test_prompts_have_the_tokens_that_a_server_reads(chatting):
    messages = chat("what is it", "the king", "yes")["messages"]
    examples = [{"prompt": "what is", "completion": "it"}, {"prompt": messages}]
    rows = read("prompts", examples, chatting)
    split = rows.starts[1]
    assert rows.tokens[:split].tolist() == chatting.encode("what is")
    assert rows.tokens[split:].tolist() == rendering.encode(chatting, messages)
    assert not rows.weights.any() and rows.numbers == (0, 1)
    text = formats.prompts.text_of(messages, chatting)
    assert text == rendering.render(chatting, messages)


def test_long_prompts(chatting):
    examples = [{"prompt": "what is it"}, {"prompt": "what is it yes no " * 9}]
    rows = read("prompts", examples, chatting, length=20, too_long="drop")
    assert rows.numbers == (0,) and rows.counts["dropped"] == 1
    rows = read("prompts", examples, chatting, length=20, too_long="cut")
    assert np.diff(rows.starts)[1] == 20


@pytest.mark.parametrize(
    "prompt, words",
    [
        (3, "prompt: 3, a text or messages allowed"),
        ([], "messages: .., a list of messages allowed"),
        (
            chat("a", "b")["messages"],
            r"messages\[1\]: the last message is",
        ),
    ],
)
def test_prompts_that_ask_nothing(prompt, words, chatting):
    with pytest.raises(ValueError, match=words):
        read("prompts", [{"prompt": prompt}], chatting)


def test_a_column_may_be_inside_an_object(tokenizer, tmp_path):
    """As the data sets of translation on the Hub have it."""
    example = {"id": "1", "translation": {"en": "a house", "de": "ein Haus"}}
    fields = ["prompt=translation.en", "completion=translation.de"]
    inside = read("prompt", [example], tokenizer, renamed=fields)
    plain = {"prompt": "a house", "completion": "ein Haus"}
    flat = read("prompt", [plain], tokenizer)
    np.testing.assert_array_equal(inside.tokens, flat.tokens)
    dotted = {"prompt.en": "a house", "completion": "ein Haus"}
    again = read("prompt", [dotted], tokenizer, renamed=["prompt=prompt.en"])
    np.testing.assert_array_equal(again.tokens, flat.tokens)
    with pytest.raises(ValueError, match=r"no column 'translation.fr'.*translation.de"):
        read("prompt", [example], tokenizer, renamed=["prompt=translation.fr"])
    (tmp_path / "a.jsonl").write_text(json.dumps(example))
    source = f"jsonl:{tmp_path}/a.jsonl#translation.de"
    assert sources.documents(source) == ["ein Haus"]
