import random

import pytest
from chat_templates import NAMED, TEMPLATES

from zoo.text.chat import rendering
from zoo.text.chat.learn import compile_template
from zoo.text.chat.sandbox import Template
from zoo.text.chat.state_machine import LAST, ROLES

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


def compiled(source, **variables):
    return compile_template(Template(source), **NAMED, **variables)


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
    assert not machine.forbidden
    assert machine.order().startswith(ORDERS.get(name, "first"))
    rng = random.Random(1)
    written = 0
    for _ in range(300):
        roles = [rng.choice(ROLES) for _ in range(rng.randint(0, 4))]
        if rng.random() < 0.6:
            roles = ["system"] * rng.randint(0, 1)
            roles += ["user", "assistant"] * rng.randint(0, 4)
        roles.append("user")
        if name == "gathered" and "system" in roles[1:]:
            assert machine.walk(roles) is None
            continue
        contents = [rng.choice(CONTENTS) for _ in roles]
        expected = text(template, roles, contents)
        assert (machine.walk(roles) is None) == (expected is None)
        if expected is not None:
            assert machine.write(roles, contents) == expected
            written += 1
    assert written > 100


def test_what_a_machine_is():
    machine = compiled(TEMPLATES["mistral3"])
    assert machine.moves_system
    first = machine.rules[0]
    assert not first["system"].written
    assert first[LAST].before == ("<s>[INST]",)
    assert first[LAST].after == "[/INST]"
    moved = machine.rules[first["system"].next_state][LAST]
    assert moved.before == ("<s>[INST]", "\n\n")
    machine = compiled(TEMPLATES["thinking"])
    for rules in machine.rules:
        assert (rules["assistant"].cut, rules["assistant"].strip_cut) == (
            "</think>",
            "\n",
        )
        assert not rules["user"].cut
    assert (
        compiled(TEMPLATES["thinking"], enable_thinking=False)
        .rules[0][LAST]
        .after.endswith("<think>\n\n</think>\n\n")
    )


def test_the_last_message_is_the_users():
    machine = compiled(TEMPLATES["chatml"])
    assert machine.walk([]) is None
    assert machine.walk(["user", "assistant"]) is None
    assert machine.walk(["assistant", "user"]) is not None


def test_a_date_has_to_be_given():
    with pytest.raises(ValueError, match="date of the day; .*: date_string"):
        compiled(TEMPLATES["llama3_dated"])
    machine = compiled(TEMPLATES["llama3_dated"], **DATE)
    assert "Today Date: 1 May 2025\n" in machine.rules[0][LAST].before[0]
    with pytest.raises(ValueError, match="but there is none for it"):
        compiled("{{ strftime_now('%Y') ~ messages[0].content }}")
    # Asked for with tools only, it does no harm.
    compiled(
        "{% if tools %}{{ strftime_now('%Y') }}{% endif %}{{ messages[-1].content }}"
    )


def test_blank_contents_that_a_template_writes_in_another_way():
    loop = "{% for m in messages %}{% if m.content %}[{{ m.content }}]{% endif %}"
    machine = compiled(loop + "{% endfor %}")
    assert machine.write(["user"], [""]) is None
    assert machine.write(["user"], ["a"]) == "[a]"
    llama2 = compiled(TEMPLATES["llama2"])
    roles = ["system", "user"]
    assert llama2.write(roles, ["a", " "]) == "<s>[INST] <<SYS>>\na\n<</SYS>> [/INST]"


def test_texts_that_a_template_looks_for_are_forbidden():
    source = (
        "{% for m in messages %}{% if m.role == 'user' and '<<SYS>>' in m.content %}"
        "{{ 'odd' }}{% endif %}[{{ m.content }}]{% endfor %}"
    )
    machine = compiled(source)
    assert machine.forbidden == {"user": ("<<SYS>>",)}
    assert machine.write(["user"], ["a <<SYS>>"]) is None
    assert machine.write(["assistant", "user"], ["<<SYS>>", "a"]) == "[<<SYS>>][a]"
    both = source.replace(
        "'<<SYS>>' in m.content",
        "m.content.startswith('<<a>>') and m.content.endswith('<</a>>')",
    )
    assert compiled(both).forbidden == {"user": ("<</a>>",)}


EACH = "{% for m in messages %}"
REFUSED = {
    "{{ raise_exception('never') }}": r"refuses every chat \(chat template: never",
    EACH + "{{ m.content|upper }}{% endfor %}": "'[a-zé].*, but the rules",
    EACH + "{{ m.content|length }}{% endfor %}": "does not write the last message",
    EACH + "{{ m.content|tojson }}{% endfor %}": "the chat .*other chats give",
    EACH
    + "{{ m.content ~ m.content }}{% endfor %}": "the roles user .*message 0 twice",
    EACH + "{{ messages[loop.revindex0].content }}{% endfor %}": "behind a later one",
    EACH + "{{ loop.index }}{{ m.content }}{% endfor %}": "in more than 12 ways",
    EACH
    + "{{ m.content }}{{ '!' if loop.index == 8 }}{% endfor %}": "the chat .* as '.*!",
    EACH + "{{ m.content ~ '!' * (m.content|length > 9) }}{% endfor %}": "the chat",
    EACH + "{{ m.content ~ '!' * (m.content|length > 999) }}{% endfor %}": "the chat",
    EACH + "{% if 'user' in m.content %}!{% endif %}{{ m.content }}{% endfor %}": (
        "a content of system with 'user' in another way"
    ),
    EACH + "{{ m.content.split(',')[0] }}{% endfor %}": "of system with ',' in another",
    "{% for m in messages|sort(attribute='content') %}{{ m.content }}{% endfor %}": (
        "in another way"
    ),
    EACH + "{{ m.content }}{% for i in range(9999) %}{% for j in range(9999) %}"
    "{% endfor %}{% endfor %}{% endfor %}": "more than its messages can need",
}


@pytest.mark.parametrize("source", REFUSED)
def test_a_template_without_a_machine_is_refused(source):
    with pytest.raises(ValueError, match=f"chat template.*: .*{REFUSED[source]}"):
        compiled(source)
