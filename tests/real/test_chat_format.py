"""The format `chat` on every published template: training reads what a server sends.

    python -m pytest tests/real/test_chat_format.py -m "long or not long"

A server's prompt is what Jinja renders with a generation prompt, in the ids of the
`tokenizers` library. An assistant's message is learnt behind exactly this prompt.
"""

import random
import re

import pytest
import real_families
from real_packages import Unreachable
from real_reference import Chats, Reference, random_content

from zoo import directory
from zoo.data.formats import chat

CHATS = 60
LEARNT = 18  # messages: one of each chat with one answer
REWRITES = "has other tokens when more follows"
NO_SYSTEM = "System role not supported|roles must alternate"
INSTALLED = ("SmolLM2",)  # by tests/models.lock; the others are fetched


def families():
    """Each family, those that are fetched as long tests."""
    for name, family in real_families.FAMILIES.items():
        if "exported" in family.refused:
            continue  # no model has this tokenizer
        marks = () if name in INSTALLED else (pytest.mark.long,)
        yield pytest.param(name, id=name.replace(" ", "_"), marks=marks)


def text(rng):
    """A content without the name of a special token, which `encode` writes apart."""
    content = random_content(rng)
    for name in ("<|", "<end", "[/INST"):
        content = content.replace(name, "")
    return content + "x"


def conversations():
    """Chats of one to four questions and answers, some with a system message."""
    rng = random.Random(0)
    for _ in range(CHATS):
        roles = ["system"] * rng.randint(0, 1)
        roles += ["user", "assistant"] * rng.randint(1, 4)
        yield [{"role": r, "content": text(rng)} for r in roles]


@pytest.mark.parametrize("name", [*families()])
def test_training_reads_what_a_server_sends(name, tmp_path):
    family = real_families.FAMILIES[name]
    try:
        files = family.written()
    except Unreachable as reason:
        pytest.skip(str(reason))
    reference = Reference(files)
    template = files.get("chat_template.jinja", reference.config.get("chat_template"))
    if not template:
        pytest.skip("has no chat template")
    real_families.write(family, tmp_path)
    tokenizer = directory.read_tokenizer(tmp_path)
    jinja, learnt, reasons = Chats(template, reference.named), 0, []
    for messages in conversations():
        try:
            row = chat.FORMAT.row({"messages": messages}, tokenizer)
        except ValueError as error:
            reasons.append(str(error))
            continue
        for number, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            history = [(m["role"], m["content"]) for m in messages[:number]]
            (prompt,) = reference.encode([jinja.render(history)], special=True)
            assert row.tokens[: len(prompt)] == prompt
            assert row.weights[len(prompt) - 1 : len(prompt) + 1] == [0.0, 1.0]
            learnt += 1
    print(f"{name}: {learnt} messages learnt, {len(reasons)} of {CHATS} chats refused")
    odd = [r for r in reasons if REWRITES not in r and not re.search(NO_SYSTEM, r)]
    assert learnt >= LEARNT and not odd, (learnt, odd[:3])
