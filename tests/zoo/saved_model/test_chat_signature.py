"""The signature `chat`: histories in, the model's own tokens out."""

import datetime

import pytest
import tensorflow as tf

from zoo import registry
from zoo.decode import generate
from zoo.directory import GenerationConfig, Loaded
from zoo.row_seeds import row_seed
from zoo.saved_model.checker import c_api
from zoo.saved_model.signatures.language_model import TextGenerator
from zoo.text import tokenizer as tokenizers
from zoo.text.chat import rendering

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHATS = [
    [("user", "ab")],
    [
        ("system", "be kind"),
        ("user", "hi <|im_end|>"),
        ("assistant", ""),
        ("user", "c"),
    ],
    [("user", " two\n\nlines "), ("assistant", "żółw 🐢"), ("user", "\n")],
]
KNOBS = {
    "max_new_tokens": [12],
    "temperature": [0.9],
    "seed": [row_seed(7, i) for i in range(3)],
}


def with_template(template):
    text = "user assistant system hello be kind ab cd 0123 " * 9
    trained = tokenizers.train([text], 270, SPECIAL)
    return tokenizers.Tokenizer(
        trained.json, {"eos_token": "<|im_end|>", "chat_template": template}
    )


@pytest.fixture(scope="module")
def loaded():
    tokenizer = with_template(CHATML)
    model = registry.build(
        "gru_lm", vocab_size=tokenizer.vocab_size, width=16, units=16
    )
    return Loaded(model, tokenizer, GenerationConfig())


@pytest.fixture(scope="module")
def session(loaded, tmp_path_factory, write_some):
    folder = write_some(tmp_path_factory.mktemp("chat"), loaded, "chat")
    with c_api.Session(folder) as session:
        yield session


def padded(chats):
    most = max(map(len, chats))
    filled = [[*chat, *[("", "")] * (most - len(chat))] for chat in chats]
    return {
        "roles": [[role for role, _ in chat] for chat in filled],
        "contents": [[content for _, content in chat] for chat in filled],
    }


def test_answers_are_those_of_generate(loaded, session):
    messages = [[{"role": r, "content": c} for r, c in one] for one in CHATS]
    ids = [rendering.encode(loaded.tokenizer, one) for one in messages]
    generation = GenerationConfig(max_new_tokens=12, temperature=0.9, seed=7)
    wanted = generate(loaded.model, loaded.tokenizer, ids, generation)
    answer = session.run("chat", {**padded(CHATS), **KNOBS})
    texts = [text.decode() for text in answer["text"].tolist()]
    for text, one in zip(texts, wanted, strict=True):
        # a character that is cut at the end is U+FFFD in Python, nothing in the graph
        assert one.text in (text, f"{text}\ufffd")
    counts = answer["num_tokens"].tolist()
    rows = zip(answer["tokens"].tolist(), counts, strict=True)
    assert [row[:count] for row, count in rows] == [one.tokens for one in wanted]


def test_a_template_with_a_date_has_an_input_for_it(loaded):
    dated = "{{ strftime_now('%d %b %Y') }}\n" + CHATML
    tokenizer = with_template(dated)
    module = TextGenerator(loaded.model, tokenizer, loaded.generation)
    _, specs, defaults = module.signatures()["chat"]
    today = datetime.datetime.now().strftime("%d %b %Y")
    assert defaults["date_string"].numpy().tolist() == [today.encode()]
    seen = []
    module._answers = lambda name, ids, *rest: seen.extend(ids.to_list())
    inputs = {
        "roles": tf.constant([["user"]] * 2),
        "contents": tf.constant([["a"]] * 2),
    }
    module.chat(**inputs, date_string=tf.constant(["01 Jan 2020", "2 Feb 2021"]))
    module.chat(**inputs, date_string=tf.constant(["01 Jan 2020"]))
    chat = "\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    first, other = (
        tokenizer.encode(date + chat, special=True)
        for date in ("01 Jan 2020", "2 Feb 2021")
    )
    assert seen == [first, other, first, first]
    fixed = TextGenerator(
        loaded.model, tokenizer, loaded.generation, date_string="3 Mar 2022"
    )
    _, _, defaults = fixed.signatures()["chat"]
    assert defaults["date_string"].numpy().tolist() == [b"3 Mar 2022"]
    plain = TextGenerator(*loaded).signatures()["chat"]
    assert "date_string" not in plain[1]


@pytest.mark.parametrize(
    "chats, words",
    [
        ([[("robot", "a")]], "roles: row 0 has .*robot.*user"),
        ([[("user", "a")], [("user", "a"), ("assistant", "b")]], "roles: row 1"),
        ([[("", "")]], "roles: row 0"),
        ([[("user", "a"), ("", ""), ("user", "b")]], "roles: row 0"),
        ([[("user", b"\xff")]], "contents: row 0"),
        ([[("user", "a" * 2_000_000)]], "contents: row 0 has 2000000, bytes"),
        ([], "batch of 0 rows"),
    ],
)
def test_bad_histories(session, chats, words):
    inputs = padded(chats) if chats else {"roles": [], "contents": []}
    if not chats:
        empty = ("string", (0, 1), ())
        inputs = {"roles": empty, "contents": empty}
    with pytest.raises(c_api.Error, match=words) as error:
        session.run("chat", inputs)
    assert error.value.code == "INVALID_ARGUMENT"


def test_a_template_that_cannot_be_compiled(loaded):
    shouting = CHATML.replace("m['content']", "m['content'] | upper")
    module = TextGenerator(loaded.model, with_template(shouting), loaded.generation)
    assert module.no_chat.startswith("chat template cannot be put in the graph: ")
    assert not module.graph_chat
    assert "chat" not in module.signatures()
