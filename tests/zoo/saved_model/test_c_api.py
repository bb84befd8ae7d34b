"""Sessions over the C library, in a process of their own."""

import json
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf

from zoo.saved_model.checker import library

ROOT = pathlib.Path(__file__).parents[3]


class Echo(tf.Module):
    """Gives back what it gets, so that an output may share an input's memory."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "text"),
            tf.TensorSpec([None, 2], tf.float32, "numbers"),
        ]
    )
    def echo(self, text, numbers):
        with tf.control_dependencies([tf.debugging.assert_positive(numbers)]):
            numbers = tf.identity(numbers)
        return {"text": text, "size": tf.strings.length(text), "numbers": numbers}


PROGRAM = """
import json, sys, threading
from zoo.saved_model.checker import c_api
path, tensorflow = sys.argv[1:]
found = {}

def caught(call, *arguments):
    try:
        call(*arguments)
    except (ValueError, c_api.Error) as error:
        return type(error).__name__ + " " + str(error)

caught_load = caught(lambda: c_api.Session("/nowhere", tensorflow=tensorflow))
found["load"] = caught_load
with c_api.Session(path, tensorflow=tensorflow) as session:
    run = session.run
    texts = ["", "short", "long " * 30, "nul\\0 and \\u00e4"]
    numbers = ("float32", (4, 2), bytes(range(63, 71)) * 4)
    outputs = run("echo", {"text": texts, "numbers": numbers})
    found["text"] = [text.decode() for text in outputs["text"].tolist()] == texts
    found["size"] = outputs["size"].tolist()
    found["numbers"] = outputs["numbers"] == numbers
    none = run("echo", {"text": [], "numbers": ("float32", (0, 2), b"")})
    found["none"] = [none[name].shape for name in sorted(none)]
    found["wrong"] = [
        caught(run, "ech", {}),
        caught(run, "echo", {"text": ["a"]}),
        caught(run, "echo", {"text": ["a"], "numbers": [[1, 1]], "more": 1}),
        caught(run, "echo", {"text": ["a"], "numbers": [[1, -1]]}),
    ]
    same = []

    def work(letter):
        for i in range(200):
            text = letter * (i % 50)
            got = run("echo", {"text": [text] * 3, "numbers": [[i + 1, 2]] * 3})
            same.append(got["text"].tolist() == [text.encode()] * 3)
            same.append(got["numbers"].tolist() == [[i + 1, 2]] * 3)

    threads = [threading.Thread(target=work, args=letter) for letter in "abcd"]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    found["threads"] = [len(same), all(same)]
    from zoo.saved_model.checker import growth
    big = "x" * 100_000
    kept, words = growth.measure(
        lambda _: run("echo", {"text": [big], "numbers": [[1, 1]]}), 200
    )
    found["kept"] = kept
session.close()  # once more is harmless
found["absent"] = not {"tensorflow", "numpy"} & set(sys.modules)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("echo") / "1")
    module = Echo()
    tf.saved_model.save(module, path, signatures={"echo": module.echo})
    run = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM, path, str(library.folder())],
        env={"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_values_pass_through(found):
    assert found["text"] and found["numbers"]
    assert found["size"] == [0, 5, 150, len("nul\0 and ä".encode())]
    assert found["none"] == [[0, 2], [0], [0]]
    assert found["absent"]


def test_errors_name_what_is_wrong(found):
    assert found["load"].startswith("Error NOT_FOUND: ")
    signature, missing, unknown, refused = found["wrong"]
    assert signature == "ValueError signature 'ech' is unknown. Allowed: echo."
    assert missing == "ValueError echo: input 'numbers' is missing."
    assert unknown.startswith("ValueError echo: input 'more' is unknown.")
    assert refused.startswith("Error INVALID_ARGUMENT: ")


def test_threads_share_a_session(found):
    assert found["threads"] == [1600, True]


def test_no_string_stays_behind(found):
    assert found["kept"]  # 200 calls of 100 kB would leave 20 MB


def test_the_library_is_found_without_importing_tensorflow():
    assert library.find(str(library.folder())).name.startswith("libtensorflow")
    assert library.folder() == pathlib.Path(tf.__file__).parent
