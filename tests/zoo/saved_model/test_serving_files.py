"""The files beside a SavedModel, read by those who must read them."""

import base64
import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import pytest
import tensorflow as tf
from google.protobuf import unknown_fields
from tensorflow.core.framework import tensor_pb2

from zoo import registry
from zoo.directory import GenerationConfig, Loaded
from zoo.saved_model import serving_files, writer
from zoo.saved_model.checker import library, wire

ROOT = pathlib.Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"

# Replays recorded requests as a server would, without Python TensorFlow.
PROGRAM = """
import json, sys
from zoo.saved_model.checker import c_api, recorded
path, requests, tensorflow = sys.argv[1:]
with c_api.Session(path, tensorflow=tensorflow) as session:
    print(json.dumps(list(recorded.compare(session, recorded.load(requests)))))
assert not {"tensorflow", "numpy"} & set(sys.modules)
"""


def replay(path, requests):
    run = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM, path, requests, str(library.folder())],
        env={"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def records(path):
    """The records of a TFRecord file; their checksums are TensorFlow's affair."""
    return [record.numpy() for record in tf.data.TFRecordDataset(str(path))]


def parsed(record):
    """(signature, name -> array) of a PredictionLog, by field numbers alone."""
    ((number, log),) = wire.fields(memoryview(record))
    ((inner, request),) = wire.fields(log)
    assert (number, inner) == (6, 1)
    return parsed_request(request)


def parsed_request(request):
    """(signature, name -> array) of a PredictRequest."""
    signature, inputs = "", {}
    for number, value in wire.fields(request):
        if number == 1:
            signature = bytes(dict(wire.fields(value))[3]).decode()
        else:
            assert number == 2
            name, body = wire.entry(value)
            inputs[name] = tf.make_ndarray(tensor_pb2.TensorProto.FromString(body))
    return signature, inputs


def plain(value):
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tokenizer):
    """A tiny language model, with the files."""
    sizes = {"vocab_size": 300, "context": 96, "width": 16, "layers": 1, "heads": 2}
    model = registry.build("transformer_lm", **sizes)
    generation = GenerationConfig(max_new_tokens=9)
    return writer.write(
        tmp_path_factory.mktemp("lm"), Loaded(model, tokenizer, generation)
    )


@pytest.fixture(scope="module")
def warm_up(exported):
    return records(exported / "assets.extra" / "tf_serving_warmup_requests")


def test_warm_up_covers_signatures_and_sizes(warm_up):
    sizes = {}
    for signature, inputs in map(parsed, warm_up):
        (size,) = {len(value) for value in inputs.values()}
        sizes.setdefault(signature, []).append(size)
        if "max_new_tokens" in inputs:
            assert set(inputs["max_new_tokens"]) == {4}
    # one writes 9 tokens whatever one asks, one returns a cache of all positions, and
    # the third takes what the second returns
    assert sizes.pop("serving_default") == sizes.pop("start") == [1]
    assert "step" not in sizes
    assert {"generate", "score", "tokenize", "detokenize"} <= set(sizes)
    assert all(value == [1, 8] for value in sizes.values())


def client(name):
    """A client example of deploy/, as a module."""
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def asked_by_clients():
    """(signature, inputs) of what the examples of deploy/ send, in columns."""
    prompts = ["In the beginning", "And"]
    body = client("client_http").body(prompts, top_k=5, temperature=0.5)
    bodies = [json.loads(json.dumps(body))]
    script = (DEPLOY / "client_curl.sh").read_text()
    bodies += [json.loads(text) for text in re.findall(r"-d '(.+?)'", script, re.S)]
    assert len(bodies) == 4
    for body in bodies:
        inputs = body.get("inputs")
        if not inputs:
            rows = [
                row if isinstance(row, dict) else {"prompt": row}
                for row in body["instances"]
            ]
            inputs = {name: [row[name] for row in rows] for name in rows[0]}
        yield body.get("signature_name", "serving_default"), inputs
    grpc_client = client("client_grpc")
    inputs = {"prompt": grpc_client.tensor(prompts, "string")}
    for name, dtype in grpc_client.KNOBS.items():
        inputs[name] = grpc_client.tensor([1, 1], dtype)
    message = grpc_client.request("lm", "generate", inputs, version=3)
    signature, arrays = parsed_request(memoryview(message.SerializeToString()))
    assert len(arrays) == 8
    yield signature, {name: plain(array.tolist()) for name, array in arrays.items()}


def test_a_server_can_answer_every_request(exported, warm_up, tmp_path):
    items = json.loads((exported / "assets.extra/requests.json").read_text())
    assert len(items) == len(warm_up)
    texts = [i["outputs"]["text"] for i in items if i["signature"] == "generate"]
    assert [len(text) for text in texts] == [1, 8]
    for signature, inputs in map(parsed, warm_up):
        inputs = {name: plain(value.tolist()) for name, value in inputs.items()}
        items.append({"signature": signature, "inputs": inputs, "outputs": {}})
    described = json.loads((exported / "assets.extra/signature.json").read_text())
    for signature, inputs in asked_by_clients():
        # a server reads the columns that the signature has, and leaves the others
        known = described["signatures"][signature]["inputs"]
        inputs = {name: value for name, value in inputs.items() if name in known}
        items.append({"signature": signature, "inputs": inputs, "outputs": {}})
    requests = tmp_path / "requests.json"
    requests.write_text(json.dumps(items))
    answers = replay(exported, requests)
    assert [name for name, _, _ in answers] == [item["signature"] for item in items]
    assert not [answer for answer in answers if not answer[1]]


def test_warm_up_requests_are_what_the_server_parses(warm_up):
    log = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    for record in warm_up:
        message = log.PredictionLog.FromString(record)
        assert message.WhichOneof("log_type") == "predict_log"
        request = message.predict_log.request
        signature, inputs = parsed(record)
        assert request.model_spec.signature_name == signature
        assert set(request.inputs) == set(inputs)
        for name, value in request.inputs.items():
            assert tf.make_ndarray(value).tolist() == inputs[name].tolist()
        for part in (message, message.predict_log, request, request.model_spec):
            assert not len(unknown_fields.UnknownFieldSet(part))


def port(dtype="float32", shape=(None,), **more):
    return {"dtype": dtype, "shape": list(shape), **more}


@tf.function(autograph=False)
def double(x, z=0):
    del z
    small = tf.debugging.Assert(tf.reduce_all(x < 9), ["x: below 9 allowed"])
    with tf.control_dependencies([small]):
        return {"y": 2 * x, "wide": tf.zeros([tf.size(x), 5000]), "odd": x / 0}


def test_only_what_can_be_called_and_compared_is_recorded(tmp_path):
    described = {
        "step": {"inputs": {"x": port(example=1.0), "state": port()}, "outputs": {}},
        "double": {
            "inputs": {"x": port(example=1.5), "z": port("int64", default=3)},
            "outputs": {},
        },
    }
    serving_files.write(tmp_path, described, {"double": double}, (3, 1, 3))
    items = json.loads((tmp_path / "assets.extra/requests.json").read_text())
    assert items == [
        {
            "signature": "double",
            "inputs": {"x": [1.5] * size, "z": [3] * size},
            "outputs": {"y": [3.0] * size},
        }
        for size in (1, 3)
    ]
    (_, first), (_, second) = map(
        parsed, records(tmp_path / "assets.extra/tf_serving_warmup_requests")
    )
    assert first["z"].dtype == "int64" and second["x"].tolist() == [1.5] * 3


def test_bad_examples_and_sizes_are_refused(tmp_path):
    about = {"double": {"inputs": {"x": port(example=9.5)}, "outputs": {}}}
    with pytest.raises(ValueError, match="double: refuses its own .* below 9 allowed"):
        serving_files.write(tmp_path, about, {"double": double})
    with pytest.raises(ValueError, match=r"batch_sizes: \(1, 0\), at least 1"):
        serving_files.write(tmp_path, about, {"double": double}, (1, 0))
    with pytest.raises(ValueError, match="1001 warm-up requests, at most 1000"):
        serving_files.write(tmp_path, about, {"double": double}, tuple(range(1, 1002)))
    assert not list(tmp_path.iterdir())


def test_batching_parameters(tmp_path, exported):
    text = (exported / "batching_params.pbtxt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    # the form of tensorflow_serving's BatchingParameters: wrapped numbers
    assert lines == [
        "max_batch_size { value: 32 }",
        "batch_timeout_micros { value: 5000 }",
        "max_enqueued_batches { value: 64 }",
        "num_batch_threads { value: 4 }",
    ]
    about = {"double": {"inputs": {"x": port(example=1.5)}, "outputs": {}}}
    serving_files.write(tmp_path, about, {"double": double}, (64,))
    assert (
        "max_batch_size { value: 64 }"
        in (tmp_path / "batching_params.pbtxt").read_text()
    )
    alone = tmp_path / "batches_itself"
    alone.mkdir()
    serving_files.write(alone, about, {"double": double}, server_batching=False)
    assert [p.name for p in alone.iterdir()] == ["assets.extra"]


@pytest.mark.parametrize("size", [0, 1, 127, 128, 20_000])
def test_messages_of_any_length(size):
    text = "é" * size
    record = serving_files.prediction_log("s", {"text": tf.constant([text])})
    signature, inputs = parsed(record)
    assert (signature, inputs["text"].tolist()) == ("s", [text.encode()])
