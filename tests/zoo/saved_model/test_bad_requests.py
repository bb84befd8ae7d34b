"""Bad requests: one clear error each, and the next good answer is what it was."""

import dataclasses
import threading

import pytest

from zoo.saved_model.checker.c_api import Error
from zoo.saved_model.checker.recorded import near
from zoo.saved_model.checker.tensors import tensor

CONTEXT = 64
NAN, INFINITY, LONG = float("nan"), float("inf"), 2**20 + 1
SHAPE = "is not compatible with expected shape"
LATIN = "caf\xe9".encode("latin-1")

GOOD = {
    "generate": {
        "prompt": ["ab\0", "cd e"],
        "max_new_tokens": [4, 3],
        "temperature": [0.0, 0.9],
        "top_k": [0, 300],
        "top_p": [1.0, 0.5],
        "min_p": [0.0, 1.0],
        "repetition_penalty": [1.0, 0.5],
        "seed": [0, -1],
        "stop": [["never", ""], ["there", "b" * 256]],
    },
    "score": {"prompt": ["", "b"], "completion": ["cd\0", ""]},
    "embed": {"text": ["", "cd\0e"]},
    "tokenize": {"text": ["", "\0cd é"]},
    "detokenize": {"tokens": [[0, 299], [1, 7]], "lengths": [2, 0]},
    "start": {"prompt": ["", "cd\0"]},
    "step": {"token": [0, 299]},  # and the state after `start`
    "serving_default": {"prompt": ["", "é\0"]},
}


# signature, inputs in place of the good ones, and parts of the message, with {most} for
# the most positions of any model, and {context} for those of a transformer
BAD = [
    ("generate", {"prompt": tensor([1, 2], "int32")}, "to be string but int32"),
    ("generate", {"max_new_tokens": tensor([4, 3], "int64")}, "int32 but int64"),
    ("generate", {"temperature": tensor([0, 1], "float64")}, "float but double"),
    ("generate", {"seed": tensor([0, 1], "int32")}, "to be int64 but int32"),
    ("generate", {"top_k": tensor(["0", "1"], "string")}, "to be int32 but string"),
    ("generate", {"stop": tensor([[1], [2]], "int32")}, "to be string but int32"),
    ("generate", {"prompt": "ab"}, f"_prompt_ ... [] {SHAPE} [?]"),
    ("generate", {"prompt": [["ab"], ["c"]]}, f"_prompt_ ... [2,1] {SHAPE} [?]"),
    ("generate", {"max_new_tokens": 3}, f"_max_new_tokens_ ... [] {SHAPE} [?]"),
    ("generate", {"seed": [[1], [2]]}, f"_seed_ ... [2,1] {SHAPE} [?]"),
    ("generate", {"temperature": [[0.5, 1]]}, f"_temperature_ ... [1,2] {SHAPE} [?]"),
    ("generate", {"stop": ["a", "b"]}, f"_stop_ ... [2] {SHAPE} [?,?]"),
    ("generate", {"stop": [[["a"]], [["b"]]]}, f"_stop_ ... [2,1,1] {SHAPE} [?,?]"),
    ("generate", {"prompt": []}, "prompt: a batch of 0 rows, at least 1 allowed"),
    ("generate", {"prompt": ["a"]}, "2 rows, but 1 prompts"),
    ("generate", {"prompt": ["a"] * 3}, "2 rows, but 3 prompts"),
    ("generate", {"max_new_tokens": [1] * 3}, "max_new_tokens: 3 rows, but 2 prompts"),
    ("generate", {"top_p": tensor([], "float32")}, "top_p: 0 rows, but 2 prompts"),
    ("generate", {"seed": [1] * 4}, "seed: 4 rows, but 2 prompts"),
    (
        "generate",
        {"prompt": ["a", "b " * 99]},
        "row 1 has 103, tokens with ... at most {context}",
    ),
    (
        "generate",
        {"max_new_tokens": [64, 64]},
        "row 0 has 67, tokens with ... at most {context}",
    ),
    (
        "generate",
        {"prompt": ["a", b"\xff"]},
        "prompt: row 1 has ... valid UTF-8 allowed",
    ),
    ("generate", {"prompt": [LATIN, "a"]}, "prompt: row 0 has"),
    ("generate", {"prompt": ["a", b"\xed\xa0\x80"]}, "valid UTF-8 allowed"),
    ("generate", {"prompt": ["a", "é".encode()[:1]]}, "prompt: row 1 has"),
    ("generate", {"prompt": ["a", "a" * LONG]}, "row 1 has 1048577, bytes, at most"),
    ("generate", {"prompt": ["a" * (LONG - 1), "a"]}, "prompt: row 0 has 1048580, tok"),
    ("generate", {"max_new_tokens": [4, 0]}, "row 1 has 0, 1 to {most} allowed"),
    ("generate", {"max_new_tokens": [-1, 4]}, "row 0 has -1, 1 to {most} allowed"),
    ("generate", {"max_new_tokens": [1, 10**9]}, "row 1 has 1000000000, 1 to {most}"),
    ("generate", {"max_new_tokens": [2**31 - 1]}, "max_new_tokens: row 0 has 2147483"),
    ("generate", {"temperature": [0, NAN]}, "temperature: row 1 has nan, at least 0"),
    ("generate", {"temperature": [-0.5, 0]}, "temperature: row 0 has -0.5, at least"),
    ("generate", {"temperature": [INFINITY]}, "temperature: row 0 has inf, at least"),
    ("generate", {"top_k": [0, -1]}, "top_k: row 1 has -1, 0 to 300 allowed"),
    ("generate", {"top_k": [301, 0]}, "top_k: row 0 has 301, 0 to 300 allowed"),
    ("generate", {"top_p": [1, 0]}, "top_p: row 1 has 0, above 0 and at most 1"),
    ("generate", {"top_p": [1.5, 1]}, "top_p: row 0 has 1.5, above 0 and at most 1"),
    ("generate", {"top_p": [1, -0.25]}, "top_p: row 1 has -0.25, above 0 and at most"),
    ("generate", {"top_p": [NAN]}, "top_p: row 0 has nan, above 0 and at most 1"),
    ("generate", {"min_p": [0, -0.5]}, "min_p: row 1 has -0.5, 0 to 1 allowed"),
    ("generate", {"min_p": [1.5, 0]}, "min_p: row 0 has 1.5, 0 to 1 allowed"),
    ("generate", {"min_p": [0, NAN]}, "min_p: row 1 has nan, 0 to 1 allowed"),
    ("generate", {"repetition_penalty": [1, 0]}, "row 1 has 0, above 0 allowed"),
    ("generate", {"repetition_penalty": [-2, 1]}, "row 0 has -2, above 0 allowed"),
    ("generate", {"repetition_penalty": [NAN]}, "repetition_penalty: row 0 has nan"),
    ("generate", {"repetition_penalty": [1, INFINITY]}, "row 1 has inf, above 0"),
    ("generate", {"stop": [["a"] * 9]}, "stop: 9 strings, at most 8 allowed"),
    ("generate", {"stop": [["a"], ["a" * 257]]}, "stop: row 1 has 257, bytes, at most"),
    ("generate", {"stop": [["a", ""], ["", LATIN]]}, 'stop: row 1 has \\"caf'),
    ("generate", {"stop": [["a"]] * 3}, "stop: 3 rows, but 2 prompts"),
    ("score", {"prompt": [], "completion": []}, "prompt: a batch of 0 rows, at least"),
    ("score", {"completion": []}, "completion: a batch of 0 rows, at least 1 allowed"),
    ("score", {"completion": [["a"], ["b"]]}, f"_completion_ ... [2,1] {SHAPE} [?]"),
    ("score", {"completion": ["a", b"a\x80"]}, "completion: row 1 has"),
    ("score", {"prompt": [b"\xc3", "a"]}, "prompt: row 0 has"),
    (
        "score",
        {"completion": ["a " * 99, ""]},
        "row 0 has 101, tokens with ... at most {context}",
    ),
    ("score", {"completion": ["a", "a" * LONG]}, "row 1 has 1048577, bytes, at most"),
    ("embed", {"text": []}, "text: a batch of 0 rows, at least 1 allowed"),
    ("embed", {"text": "a"}, f"_text_ ... [] {SHAPE} [?]"),
    (
        "embed",
        {"text": ["a", "a " * 99]},
        "text: row 1 has 100, tokens, at most {context}",
    ),
    ("embed", {"text": ["a", b"\xf5"]}, "text: row 1 has"),
    ("tokenize", {"text": []}, "text: a batch of 0 rows, at least 1 allowed"),
    ("tokenize", {"text": [["a"]]}, f"_text_ ... [1,1] {SHAPE} [?]"),
    ("tokenize", {"text": [b"\xc0\x80", "a"]}, "text: row 0 has"),
    ("tokenize", {"text": ["a" * LONG]}, "text: row 0 has 1048577, bytes, at most 104"),
    ("detokenize", {"tokens": [[0, 300], [1, 7]]}, "row 0 has 300, 0 to 299 allowed"),
    ("detokenize", {"tokens": [[-1, 0], [1, 7]]}, "row 0 has -1, 0 to 299 allowed"),
    ("detokenize", {"lengths": [2, 3]}, "lengths: row 1 has 3, 0 to the width of tok"),
    ("detokenize", {"lengths": [-1, 2]}, "lengths: row 0 has -1, 0 to the width"),
    ("detokenize", {"tokens": [1, 2]}, f"_tokens_ ... [2] {SHAPE} [?,?]"),
    ("detokenize", {"tokens": tensor([[1.0]], "float32")}, "to be int32 but float"),
    ("start", {"prompt": []}, "prompt: a batch of 0 rows, at least 1 allowed"),
    ("start", {"prompt": ["a", "b " * 24]}, "prompt: row 1 has 25, tokens, at most 24"),
    ("start", {"prompt": ["a", b"\xff"]}, "valid UTF-8 allowed"),
    ("step", {"token": [5, 300]}, "token: row 1 has 300, 0 to 299 allowed"),
    ("step", {"token": [-1, 5]}, "token: row 0 has -1, 0 to 299 allowed"),
    ("step", {"token": [1, 2, 3]}, ""),
    ("step", {"state_0": [24, 1]}, "state_0: row 0 has 24, 0 to 23 allowed"),
    ("step", {"state_0": [1, -1]}, "state_0: row 1 has -1, 0 to 23 allowed"),
    ("step", {"state_1": [[[[1.0]]]] * 2}, ""),
    ("serving_default", {"prompt": []}, "prompt: a batch of 0 rows, at least 1"),
    ("serving_default", {"prompt": ["a", b"\xff"]}, "prompt: row 1 has"),
]


@pytest.fixture(scope="module")
def good(plain, batched):
    """Artefact to signature to (a good request, its answer)."""
    found = {}
    for one in (plain, batched):
        state = one.session.run("start", GOOD["start"])
        del state["logits"]
        requests = {**GOOD, "step": {**GOOD["step"], **state}}
        found[one.folder] = {
            name: (request, one.session.run(name, request))
            for name, request in requests.items()
            if name in one.session.signatures
        }
    return found


def ask(session, signature, inputs):
    """Sends tensors also of types that are not the signature's."""
    known = session.signatures[signature]
    ports = {
        name: dataclasses.replace(
            port, dtype=getattr(inputs.get(name), "dtype", port.dtype)
        )
        for name, port in known.inputs.items()
    }
    name = f"{signature} {threading.get_ident()}"
    session.signatures[name] = dataclasses.replace(known, inputs=ports)
    try:
        return session.run(name, inputs)
    finally:
        del session.signatures[name]


def refused(one, good, row) -> bool:
    """Whether a bad request gets its error, and not an answer."""
    signature, changes, words = row
    words = words.format(context=CONTEXT, most=one.loaded.model.limit or 2**16)
    try:
        ask(one.session, signature, {**good[one.folder][signature][0], **changes})
    except Error as error:
        assert error.code == "INVALID_ARGUMENT"
        assert all(part in error.text for part in words.split(" ... ")), error.text
        return True
    return False


@pytest.mark.parametrize("number", range(len(BAD)))
def test_a_bad_request_is_refused(plain, good, number):
    assert refused(plain, good, BAD[number])
    signature = BAD[number][0]
    request, answer = good[plain.folder][signature]
    assert plain.session.run(signature, request) == answer


BATCHED = [
    row
    for row in BAD
    if row[0] in ("generate", "score", "embed") and "{context}" not in row[2]
]


@pytest.mark.parametrize("number", range(len(BATCHED)))
def test_a_bad_request_is_refused_before_it_is_merged(batched, good, number):
    assert refused(batched, good, BATCHED[number])
    signature = BATCHED[number][0]
    request, answer = good[batched.folder][signature]
    assert batched.session.run(signature, request) == answer


def test_there_are_enough_and_all_good_answers_are_what_they_were(plain, batched, good):
    assert len(BAD) >= 60 and len(BATCHED) >= 50
    for one in (plain, batched):
        for signature, (request, answer) in good[one.folder].items():
            assert one.session.run(signature, request) == answer


@pytest.mark.parametrize(
    "signature, inputs, words",
    [
        ("generate", {"promt": ["a"], "prompt": ["a"]}, "input 'promt' is unknown"),
        ("generate", {"seed": [1]}, "input 'prompt' is missing"),
        ("score", {"prompt": ["a"]}, "input 'completion' is missing"),
        ("generte", {"prompt": ["a"]}, "signature 'generte' is unknown"),
    ],
)
def test_a_wrong_name_is_refused(plain, signature, inputs, words):
    with pytest.raises(ValueError, match=words):
        plain.session.run(signature, inputs)


def test_a_bad_request_fails_alone(batched, good):
    """Although good ones arrive at the same time and are merged."""
    answers, errors, refusals = [], [], []

    def ask_well(turn):
        try:
            for i in range(20):
                signature = ("generate", "score", "embed")[(turn + i) % 3]
                request, wanted = good[batched.folder][signature]
                answer = batched.session.run(signature, request)
                answers.append(
                    all(near(answer[n], wanted[n].tolist(), n) for n in wanted)
                )
        except Error as error:
            errors.append(error)

    def ask_badly(turn):
        for row in BATCHED[turn::3]:
            refusals.append(refused(batched, good, row))

    threads = [threading.Thread(target=ask_well, args=[i]) for i in range(4)]
    threads += [threading.Thread(target=ask_badly, args=[i]) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and answers == [True] * 80
    assert refusals == [True] * len(BATCHED)
