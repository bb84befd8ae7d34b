"""The files of `benchmarks.align_story`: chats, prompts, pairs, and a tokenizer."""

import json
import pathlib
import re

from benchmarks import story_rewards
from benchmarks.preference_pairs import read, split
from zoo.data import sources
from zoo.text import tokenizer as tokenizers

VOCABULARY = 4096
_SPECIAL = (tokenizers.END, "<|user|>", "<|assistant|>")
_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}<|endoftext|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_HELD_OUT = 64  # training questions that choose the model of a run
_LONGEST = 240  # characters of a solution; 97 % of those have at most 128 tokens
_FILES = ("train", "test", "solution_preferences")


def write(given: pathlib.Path, folder: pathlib.Path, prompts: int) -> None:
    """Writes what the stages read.

        chats.jsonl, chats_valid.jsonl              training questions with answers;
                                                    chats also has what is below
        prompts.jsonl, prompts_valid.jsonl          the same questions, to be answered
        prompts_test.jsonl                          the first test questions
        pairs.jsonl, pairs_valid.jsonl, pairs_test.jsonl     preferences, split by id
        tokenizer                                   with a chat template

    The questions are those with a short solution that has annotations. A small model
    writes annotations long before it can calculate. So the right annotations of each
    training solution are one more chat: expressions, and their results.

    Args:
      given: the folder with the three files of GSM8K.
      folder: made here.
      prompts: how many test questions.

    Raises:
      ValueError: a file is missing or broken.
    """
    train, test, pairs = (f"jsonl:{given}/gsm8k_{name}.jsonl.xz" for name in _FILES)
    folder.mkdir(parents=True, exist_ok=True)
    every = _questions(train)
    questions = _short(every)
    parts = {
        "": questions[:-_HELD_OUT],
        "_valid": questions[-_HELD_OUT:],
        "_test": _short(_questions(test))[:prompts],
    }
    for name, rows in parts.items():
        asked = [_user(row["question"]) for row in rows]
        _rows(
            folder / f"prompts{name}.jsonl",
            [
                {"prompt": prompt, "answer": row["answer"]}
                for prompt, row in zip(asked, rows, strict=True)
            ],
        )
        if name != "_test":
            chats = [
                {"messages": [*prompt, _message("assistant", row["answer"])]}
                for prompt, row in zip(asked, rows, strict=True)
            ]
            if not name:
                held_out = {row["question"] for row in parts["_valid"]}
                chats += _calculations(every, held_out)
            _rows(folder / f"chats{name}.jsonl", chats)
    rest, held_out = split(read(pairs))
    learnt, valid = split(rest)
    parts = {"": learnt, "_valid": valid[:_HELD_OUT], "_test": held_out}
    for name, rows in parts.items():
        rows = [{**row, "prompt": _user(row["prompt"])} for row in rows]
        _rows(folder / f"pairs{name}.jsonl", rows)
    _tokenizer(every).save(str(folder / "tokenizer"))


def rows_of(path) -> list[dict]:
    """The rows of a file of this module."""
    with open(path, encoding="utf-8") as lines:  # a text may have other line ends
        return [json.loads(line) for line in lines]


def _questions(source: str) -> list[dict]:
    """The questions and answers of a file."""
    rows = []
    for where, row in sources.numbered(source):
        if isinstance(row, ValueError):
            raise row
        for name in ("question", "answer"):
            if not isinstance(row.get(name), str):
                raise ValueError(f"{where}: no column {name!r} with a text.")
        rows.append(row)
    return rows


def _short(questions) -> list[dict]:
    """The questions with a short solution that has annotations."""
    return [
        row
        for row in questions
        if len(row["answer"]) <= _LONGEST and story_rewards.texts(row["answer"])
    ]


def _calculations(questions, held_out) -> list[dict]:
    """A chat of the right annotations of each solution that is not held out."""
    chats = []
    for row in questions:
        found = filter(story_rewards.right, story_rewards.texts(row["answer"]))
        sides = [text.rpartition("=")[::2] for text in found]
        if not sides or row["question"] in held_out:
            continue
        asked = "\n".join(left for left, _ in sides)
        answer = "\n".join(f"<<{left}={value}>>{value}" for left, value in sides)
        chats.append({"messages": [*_user(asked), _message("assistant", answer)]})
    return chats


def _tokenizer(questions) -> tokenizers.Tokenizer:
    """Byte-level BPE with a chat template, in which each digit is a token.

    The texts that train it have no digits, so no merge has one.
    """
    texts = (re.sub(r"\d+", " ", row[n]) for row in questions for n in row)
    made = tokenizers.train(texts, VOCABULARY, _SPECIAL)
    return tokenizers.Tokenizer(made.json, {**made.config, "chat_template": _TEMPLATE})


def _user(question: str) -> list[dict]:
    """A chat that waits for an answer."""
    return [_message("user", question)]


def _message(role: str, content: str) -> dict:
    """A message of a chat."""
    return {"role": role, "content": content}


def _rows(path, rows) -> None:
    """Writes a JSON object a line."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, "utf-8")
