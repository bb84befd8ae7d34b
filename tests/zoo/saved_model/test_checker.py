"""The checker on small SavedModels, good and bad, through real child processes."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from zoo.saved_model import checker

ROOT = pathlib.Path(__file__).parents[3]


def spec(dtype, name, *sizes):
    return tf.TensorSpec([None, *sizes], dtype, name)


class Good(tf.Module):
    """Strings, an immutable table, variables, defaults, and a demanding input."""

    def __init__(self):
        self.weight = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
        keys = tf.lookup.KeyValueTensorInitializer(
            ["sea", "calm"], tf.constant([1, 2], tf.int64)
        )
        self.table = tf.lookup.StaticHashTable(keys, 0)

    @tf.function(input_signature=[spec(tf.string, "text")])
    def words(self, text):
        words = tf.strings.split(text, " ").to_tensor("")
        return {"ids": self.table.lookup(words), "text": tf.strings.upper(text)}

    @tf.function(
        input_signature=[
            spec(tf.float32, "features", 2),
            spec(tf.float32, "temperature"),
        ]
    )
    def classify(self, features, temperature=tf.constant([2.0])):  # noqa: B008
        value = tf.matmul(features, self.weight) / temperature[:, None]
        return {"value": value, "first": value[:, 0] > value[:, 1]}

    @tf.function(input_signature=[spec(tf.int32, "code")])
    def picky(self, code):
        tf.debugging.assert_greater_equal(code, 77, "code: at least 77 allowed")
        return {"code": tf.identity(code)}


class Bad(tf.Module):
    """One fault a signature."""

    def __init__(self):
        self.weight = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
        self.count = tf.Variable(0.0)
        self.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, 0)

    @tf.function(input_signature=[spec(tf.float32, "x", 2)], jit_compile=True)
    def compiled(self, x):
        return {"y": tf.matmul(x, self.weight)}

    @tf.function(input_signature=[spec(tf.float32, "x")])
    def python(self, x):
        y = tf.py_function(lambda x: x * 2, [x], tf.float32)
        return {"y": tf.ensure_shape(y, [None])}

    @tf.function(input_signature=[spec(tf.string, "text")])
    def cached(self, text):
        seen = self.table.lookup(text)
        self.table.insert(text, seen + 1)
        return {"seen": seen}

    @tf.function(input_signature=[spec(tf.float32, "x")])
    def counted(self, x):
        return {"y": x + self.count.assign_add(1.0)}

    @tf.function(input_signature=[spec(tf.float32, "x")])
    def drawn(self, x):
        return {"y": x + tf.random.uniform(tf.shape(x))}

    @tf.function(input_signature=[spec(tf.float32, "x")])
    def scalar(self, x):
        return {"mean": tf.reduce_mean(x)}

    @tf.function(input_signature=[spec(tf.float32, "x")])
    def mates(self, x):
        return {"y": x - tf.reduce_max(x)}

    @tf.function(input_signature=[spec(tf.float32, "x")])
    def place(self, x):
        return {"y": x + tf.cast(tf.range(tf.shape(x)[0]), tf.float32)}

    @tf.function(input_signature=[spec(tf.float32, "x")])
    def half(self, x):
        return {"y": tf.cast(x, tf.bfloat16)}

    @tf.function(input_signature=[spec(tf.string, "text")])
    def cut(self, text):
        return {
            "text": tf.strings.substr(
                text + "é",
                -2 * tf.ones_like(text, tf.int32),
                tf.ones_like(text, tf.int32),
            )
        }

    @tf.function(input_signature=[spec(tf.string, "path")])
    def reads(self, path):
        return {"content": tf.map_fn(tf.io.read_file, path)}

    @tf.function(input_signature=[])
    def nothing(self):
        return {"y": tf.zeros([1])}


ABOUT = {
    "words": {
        "inputs": {"text": {"dtype": "string", "shape": [None], "example": "the sea"}},
        "outputs": {
            "ids": {"dtype": "int64", "shape": [None, None]},
            "text": {"dtype": "string", "shape": [None]},
        },
    },
    "classify": {
        "inputs": {
            "features": {"dtype": "float32", "shape": [None, 2], "example": [1.0, 0.5]},
            "temperature": {"dtype": "float32", "shape": [None]},
        },
        "outputs": {
            "value": {"dtype": "float32", "shape": [None, 2]},
            "first": {"dtype": "bool", "shape": [None]},
        },
    },
    "picky": {
        "inputs": {"code": {"dtype": "int32", "shape": [None], "example": 77}},
        "outputs": {"code": {"dtype": "int32", "shape": [None]}},
    },
}


def describe(path, signatures):
    extra = path / "assets.extra"
    extra.mkdir(exist_ok=True)
    (extra / "signature.json").write_text(
        json.dumps({"format": 1, "signatures": signatures})
    )


def changed_pb(path, change):
    file = path / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    change(model.meta_graphs[0])
    file.write_bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "1"
    module = Good()
    names = ("words", "classify", "picky")
    tf.saved_model.save(
        module, str(path), signatures={name: getattr(module, name) for name in names}
    )
    return path


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    path = tmp_path_factory.mktemp("bad") / "1"
    module = Bad()
    names = (
        "compiled python cached counted drawn scalar mates place half cut reads nothing"
    )
    tf.saved_model.save(
        module,
        str(path),
        signatures={name: getattr(module, name) for name in names.split()},
    )
    return checker.check(str(path), calls=12)


@pytest.fixture
def copy(good, tmp_path):
    return pathlib.Path(shutil.copytree(good, tmp_path / "1"))


def status(report, check, signature=""):
    found = {
        result.status
        for result in report.results
        if (result.check, result.signature) == (check, signature)
    }
    return found.pop() if len(found) == 1 else found


def detail(report, check, signature=""):
    (found,) = (
        result.detail
        for result in report.results
        if (result.check, result.signature) == (check, signature)
    )
    return found


def test_a_good_model_without_description_passes_with_a_warning(good):
    report = checker.check(str(good), calls=20)
    assert report.ok, report.lines()
    assert report.tensorflow == tf.__version__
    assert {"LookupTableFindV2", "MatMul", "StringUpper"} <= set(report.ops)
    assert "SaveV2" not in report.ops  # the saver's, which no signature reaches
    assert "no Python TensorFlow" in detail(report, "load")
    for name in ("words", "classify"):
        for check in ("rest", "state", "host", "call", "repeat", "rows", "threads"):
            assert status(report, check, name) == "pass", (check, name)
        longer = {"1 long", "8 long"} if name == "words" else set()
        assert set(report.latency[name]) == {"first", "1", "8"} | longer
    assert "text" in detail(report, "rows", "words")  # rows did differ
    assert "features, temperature" in detail(report, "rows", "classify")
    assert detail(report, "defaults", "classify") == "may be left out: temperature"
    assert status(report, "memory") == "pass"
    # Nothing says what `picky` wants: an INVALID_ARGUMENT is not held against it.
    assert status(report, "call", "picky") == "warn"
    assert "at least 77 allowed" in detail(report, "call", "picky")


def test_documented_examples_and_recorded_answers(copy, tmp_path):
    describe(copy, ABOUT)
    classify = {"features": [[1.0, 1.0], [2.0, 0.0]], "temperature": [1.0, 2.0]}
    items = [
        {
            "signature": "classify",
            "inputs": classify,
            "outputs": {"value": [[4.00001, 6.0], [1.0, 2.0]], "first": [False, False]},
        },
        {
            "signature": "words",
            "inputs": {"text": ["calm sea", {"b64": "c2Vh"}]},
            "outputs": {"ids": [[2, 1], [1, 0]], "text": ["CALM SEA", "SEA"]},
        },
    ]
    requests = tmp_path / "requests.json"
    requests.write_text(json.dumps(items))
    run = subprocess.run(
        [sys.executable, "-m", "zoo.check", f"--saved_model={copy}", "--json"]
        + [f"--requests={requests}", "--calls=8"],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads(run.stdout)
    assert report["ok"] is True
    found = [(r["check"], r["signature"], r["status"]) for r in report["results"]]
    assert ("described", "", "pass") in found
    assert ("call", "picky", "pass") in found
    assert ("rows", "picky", "pass") in found
    assert found.count(("requests", "", "pass")) == 1
    assert not [item for item in found if item[2] != "pass"]


def test_wrong_description_and_wrong_answers_fail(copy, tmp_path):
    about = json.loads(json.dumps(ABOUT))
    about["picky"]["inputs"]["code"]["example"] = 5
    about["words"]["outputs"]["ids"]["dtype"] = "int32"
    describe(copy, about)
    classify = {"features": [[1.0, 1.0]]}  # the temperature is 2 by default
    items = [
        {
            "signature": "classify",
            "inputs": classify,
            "outputs": {"value": [[2.001, 3.0]]},
        },
        {"signature": "words", "inputs": {}, "outputs": {}},
    ]
    requests = tmp_path / "requests.json"
    requests.write_text(json.dumps(items))
    report = checker.check(str(copy), calls=0, requests=str(requests))
    assert report.failures() == ["described", "call", "requests"]
    assert "'ids' is int64 [None, None], described as int32" in detail(
        report, "described"
    )
    assert status(report, "call", "picky") == "fail"
    assert "[[2.0, 3.0]]" in detail(report, "requests", "classify")
    assert "'text' is missing" in detail(report, "requests", "words")
    assert report.lines()[-1] == "no: described, call, requests"
    assert "memory" not in {result.check for result in report.results}


@pytest.mark.parametrize(
    ("check", "signature", "words"),
    [
        ("xla", "", "jit_compile in __inference_compiled"),
        ("call", "compiled", "XLA compilation disabled"),
        ("python", "", "EagerPyFunc in __inference_python"),
        ("call", "python", "No OpKernel"),
        ("state", "cached", "MutableHashTableV2 in the graph, LookupTableInsertV2"),
        ("repeat", "cached", "'seen'"),
        ("state", "counted", "AssignAddVariableOp"),
        ("repeat", "counted", "'y'"),
        ("later", "counted", "'y'"),
        ("threads", "counted", "'y'"),
        ("state", "drawn", "RandomUniform"),
        ("repeat", "drawn", "'y'"),
        ("rest", "scalar", "output 'mean' has shape []"),
        ("call", "scalar", "has shape [] for a batch of 1"),
        ("rows", "mates", "by up to 1.2e-01"),
        ("rows", "place", "by up to 2.0e+00"),
        ("rest", "half", "output 'y' is bfloat16"),
        ("json", "cut", "not valid UTF-8"),
        ("host", "reads", "ReadFile in"),
        ("rest", "nothing", "has no inputs"),
    ],
)
def test_each_fault_is_found_where_it_is(bad, check, signature, words):
    assert status(bad, check, signature) == "fail"
    assert words in detail(bad, check, signature)


def test_a_fault_is_not_blamed_on_others(bad):
    assert not bad.ok
    assert status(bad, "ops") == "pass"
    for name in ("compiled", "scalar", "mates", "place", "half", "cut"):
        assert status(bad, "state", name) == "pass"
        assert status(bad, "host", name) == "pass"
    for name in ("mates", "place", "half", "cut"):
        assert status(bad, "call", name) == "pass"
        assert status(bad, "repeat", name) == "pass"
        assert status(bad, "later", name) == "pass"
    assert status(bad, "rows", "half") == "pass"


def test_lines_name_every_failure(bad):
    lines = bad.lines()
    assert "✗ python    EagerPyFunc" in "\n".join(lines)
    assert lines[-1].startswith("no: rest, xla, python, state, host, ")
    assert set(lines[-1].removeprefix("no: ").split(" (")[0].split(", ")) == set(
        "rest xla python state host call json repeat rows threads later".split()
    )
    assert [line for line in lines if line.startswith("✓ state     compiled, ")]


def test_an_op_outside_the_core_library_is_named(copy):
    def rename(meta_graph):
        for function in meta_graph.graph_def.library.function:
            for node in function.node_def:
                node.op = node.op.replace("StringUpper", "FastUpper")

    changed_pb(copy, rename)
    report = checker.check(str(copy))
    assert "FastUpper in __inference_words" in detail(report, "ops")
    assert "'FastUpper'" in detail(report, "load")
    assert report.failures() == ["ops", "load"]


def test_cut_variables_fail_to_load(copy):
    (data,) = (copy / "variables").glob("variables.data*")
    data.write_bytes(data.read_bytes()[:5])
    report = checker.check(str(copy))
    assert report.failures() == ["load"]
    assert not report.latency


def test_what_is_no_saved_model_is_refused(good, tmp_path):
    with pytest.raises(ValueError, match=r"no saved_model.pb. Versions below it: 1\."):
        checker.check(str(good.parent))
    with pytest.raises(ValueError, match="no saved_model.pb"):
        checker.check(str(tmp_path / "absent"))
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ValueError, match="not a SavedModel"):
        checker.check(str(tmp_path))
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match="needed .'serve'."):
        checker.check(str(tmp_path))


def test_broken_companions_are_refused(copy, tmp_path):
    describe(copy, {"words": {"inputs": {"text": {"dtype": "string"}}}})
    with pytest.raises(ValueError, match="'shape'"):
        checker.check(str(copy))
    (copy / "assets.extra" / "signature.json").write_text('{"format": 2}')
    with pytest.raises(ValueError, match="format 2. Allowed: 1"):
        checker.check(str(copy))
    shutil.rmtree(copy / "assets.extra")
    (tmp_path / "requests.json").write_text('[{"signature": "words"}]')
    with pytest.raises(ValueError, match=r"requests.json\[0\]: has \['signature'\]"):
        checker.check(str(copy), requests=str(tmp_path / "requests.json"))


def test_a_library_that_does_not_run_is_refused(good, tmp_path):
    with pytest.raises(ValueError, match="holds none of libtensorflow_cc.so.2"):
        checker.check(str(good), tensorflow=str(tmp_path))
    (tmp_path / "libtensorflow_cc.so.2").write_bytes(b"not a library")
    with pytest.raises(ValueError, match="does not run.*libtensorflow_cc.so.2"):
        checker.check(str(good), tensorflow=str(tmp_path))
