import itertools
import random

import pytest
from chat_templates import ACROSS, CASES, NAMED, TEMPLATES

from zoo.text.chat import rendering
from zoo.text.chat.learn import compile_template
from zoo.text.chat.sandbox import Template
from zoo.text.chat.state_machine import ROLES, Slot

DATE = {"date_string": "1 May 2025"}
CONTENTS = [
    "hi",
    " a b \n",
    "\n\nx\t",
    "\u3000é你\xa0",
    "",
    " \n",
    "<think>\na</think>\n\n b ",
    "</think>",
    "<<SYS>>\n",
    "{{ x }}",
]
# The start of each machine's description of its order of roles.
ORDERS = {
    "chatml": "first system or user or assistant, behind",
    "llama2": "first system or user, behind system user, behind user system or assi",
    "gemma": "first user, behind",
    "mistral1": "first user, behind user assistant, behind assistant user",
    "mistral3": "first system or user, behind system user, behind user assistant, beh",
    "gathered": "first system or user or assistant, behind system user or assistant, b",
}


EACH = "{% for m in messages %}"


def compiled(source, **variables):
    return compile_template(Template(source), **NAMED, **variables)


def rules(machine, roles):
    return machine.walk([machine.symbol(role, "x") for role in roles])


def text(template, roles, contents):
    messages = [
        {"role": role, "content": content}
        for role, content in zip(roles, contents, strict=True)
    ]
    try:
        return rendering.render_with(
            template, messages, add_generation_prompt=True, **NAMED, **DATE
        )
    except ValueError:
        return None


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_machine_writes_what_the_template_writes(name):
    template = Template(TEMPLATES[name])
    machine = compile_template(template, **NAMED, **DATE)
    assert machine.order().startswith(ORDERS.get(name, "first"))
    rng = random.Random(1)
    written = 0
    for _ in range(300):
        roles = [rng.choice(ROLES) for _ in range(rng.randint(0, 4))]
        if rng.random() < 0.6:
            roles = ["system"] * rng.randint(0, 1)
            roles += ["user", "assistant"] * rng.randint(0, 4)
        roles.append("user")
        contents = [rng.choice(CONTENTS) for _ in roles]
        expected = text(template, roles, contents)
        if name == "gathered" and "system" in roles[1:]:
            expected = None
        assert machine.write(roles, contents) == expected
        written += expected is not None
    assert written > 100


def test_what_a_machine_is():
    machine = compiled(TEMPLATES["mistral3"])
    roles = ["system", "user", "assistant", "user"]
    parts = [rule.parts for rule in rules(machine, roles)]
    own, first = Slot("own"), Slot("first")
    assert parts[0] == ()
    assert parts[1] == ("<s>[INST]", own)
    assert parts[3] == ("</s>[INST]", first, "\n\n", own, "[/INST]")
    machine = compiled(TEMPLATES["thinking"])
    assert [str(test) for test in machine.tests["assistant"]] == [
        "content contains '</think>'"
    ]
    assert not machine.tests["user"]
    (rule,) = rules(compiled(TEMPLATES["thinking"], enable_thinking=False), ["user"])
    assert str(rule.parts[-1]).endswith("<think>\n\n</think>\n\n")


def test_the_last_message_is_the_users():
    machine = compiled(TEMPLATES["chatml"])
    assert machine.walk([]) is None
    assert rules(machine, ["user", "assistant"]) is None
    assert rules(machine, ["assistant", "user"]) is not None


def test_a_date_stays_open():
    machine = compiled(TEMPLATES["llama3_dated"])
    assert machine.uses_date
    assert machine.date_format == "%d %b %Y"
    assert "Today Date: 2 Jun 2026\n" in machine.write(["user"], ["a"], "2 Jun 2026")
    given = compiled(TEMPLATES["llama3_dated"], **DATE)
    assert not given.uses_date
    assert "Today Date: 1 May 2025\n" in given.write(["user"], ["a"])
    machine = compiled("{{ strftime_now('%Y') ~ messages[-1].content }}")
    assert machine.write(["user"], ["a"], "1999") == "1999a"
    # A date that is asked for with tools only changes nothing.
    source = (
        "{% if tools %}{{ strftime_now('%Y') }}{% endif %}{{ messages[-1].content }}"
    )
    assert not compiled(source).uses_date


def test_contents_that_a_template_writes_in_another_way():
    machine = compiled(
        EACH + "{% if m.content %}[{{ m.content }}]{% endif %}{% endfor %}"
    )
    assert machine.write(["user"], [""]) == ""
    assert machine.write(["user", "user"], ["", "a"]) == "[a]"
    llama2 = compiled(TEMPLATES["llama2"])
    roles = ["system", "user"]
    assert llama2.write(roles, ["a", " "]) == "<s>[INST] <<SYS>>\na\n<</SYS>> [/INST]"
    machine = compiled(
        EACH + "{% if m.role == 'user' and '<<SYS>>' in m.content %}{{ 'odd' }}"
        "{% endif %}[{{ m.content }}]{% endfor %}"
    )
    assert machine.write(["user"], ["a <<SYS>>"]) == "odd[a <<SYS>>]"
    assert machine.write(["assistant", "user"], ["<<SYS>>", "a"]) == "[<<SYS>>][a]"


@pytest.mark.parametrize("name", ACROSS)
def test_conditions_across_messages(name):
    template = Template(ACROSS[name])
    words = [f"w{n}" for n in range(12)]
    machine = compile_template(template, words=words)
    some = CASES[name]
    chats = list(itertools.product(some, repeat=4)) if len(some) < 5 else []
    # Longer ones, also with all contents in their order.
    rng = random.Random(0)
    for size in (3, 5, 6, 8):
        chats += [(some * size)[start : start + size] for start in range(len(some))]
        chats += [rng.choices(some, k=size) for _ in range(200)]
    for contents in chats:
        roles = [rng.choice(ROLES) for _ in contents[1:]] + ["user"]
        messages = [
            {"role": role, "content": content}
            for role, content in zip(roles, contents, strict=True)
        ]
        expected = template.render(messages, words=words)
        assert machine.write(roles, contents) == expected


REFUSED = {
    "{{ raise_exception('never') }}": r"refuses every chat \(chat template: never",
    EACH + "{{ m.content|upper }}{% endfor %}": "it uses upper on a content",
    EACH + "{{ m.content|length }}{% endfor %}": "it uses len on a content",
    EACH + "{{ m.content|tojson }}{% endfor %}": "it uses tojson on a content",
    EACH + "{{ m.content[:5] == 'plan:' }}{% endfor %}": "it uses getitem on a content",
    EACH + "{{ 'no content' }}{% endfor %}": "does not write the last message",
    EACH + "{{ messages[loop.revindex0].content }}{% endfor %}": "behind a later one",
    EACH + "{{ loop.index }}{{ m.content }}{% endfor %}": "in more than 12 ways",
    EACH + "{{ m.content }}{{ '!' if loop.index == 38 }}{% endfor %}": "more than 12",
    EACH + "{{ m.content ~ '!' * (m.content|length > 9) }}{% endfor %}": "it uses len",
    EACH + "{{ m.content < 'b' }}{{ m.content }}{% endfor %}": "uses an order on",
    EACH + "{% if m.content == messages[0].content and not loop.first %}!{% endif %}"
    "{{ m.content }}{% endfor %}": "compares the contents of two messages",
    EACH + "{{ {'a': 'b'}.get(m.content, m.content) }}{% endfor %}": "up in a dict",
    EACH + "{{ 'a'.replace('a', m.content) }}{% endfor %}": "a content to replace",
    EACH + "{{ m.content in 'abc' }}{{ m.content }}{% endfor %}": "a content in a text",
    EACH + "{{ m.content.split('\\n\\n')[0] }}{% endfor %}": r"calls split\('\\n\\n'",
    EACH + "{% for c in 'abcdefg' %}{{ '!' if c in m.content }}{% endfor %}"
    "{{ m.content }}{% endfor %}": "content contains 'g' for .*kinds, at most 64",
    "{% for m in messages|sort(attribute='content') %}{{ m.content }}{% endfor %}": (
        "it uses sort on a content"
    ),
    EACH + "{{ strftime_now('%Y') ~ strftime_now('%m') ~ m.content }}{% endfor %}": (
        "the date as '%Y' and as '%m'"
    ),
    EACH + "{{ m.content }}{% for i in range(9999) %}{% for j in range(9999) %}"
    "{% endfor %}{% endfor %}{% endfor %}": "more than its messages can need",
}


@pytest.mark.parametrize("source", REFUSED)
def test_a_template_without_a_machine_is_refused(source):
    with pytest.raises(ValueError, match=f"chat template.*: .*{REFUSED[source]}"):
        compiled(source)
