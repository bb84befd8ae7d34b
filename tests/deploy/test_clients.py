"""The gRPC client's messages are those of TensorFlow and TensorFlow Serving."""

import importlib.util
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"

VALUES = [
    ([1.5, -2.0, float("inf")], "float32"),
    ([[1, -2], [3, 2**31 - 1]], "int32"),
    ([-(2**63), 2**63 - 1], "int64"),
    ([[[True], [False]]], "bool"),
    (["", "a\0b", "Gänse", b"\xff"], "string"),
    ([], "string"),
    ([[], []], "string"),
    ("alone", "string"),
    ([0] * 300, "int32"),
]


@pytest.fixture(scope="module")
def client():
    spec = importlib.util.spec_from_file_location("client", DEPLOY / "client_grpc.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def as_bytes(value):
    if isinstance(value, list):
        return [as_bytes(item) for item in value]
    return value.encode() if isinstance(value, str) else value


@pytest.mark.parametrize(("value", "dtype"), VALUES)
def test_tensors_are_what_tensorflow_reads(client, value, dtype):
    content = client.tensor(value, dtype).SerializeToString()
    array = tf.make_ndarray(tensor_pb2.TensorProto.FromString(content))
    assert array.tolist() == as_bytes(value)
    assert tf.as_dtype(dtype) == tf.as_dtype(array.dtype if array.size else dtype)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("value", "dtype"), VALUES[:5])
def test_tensors_of_the_server_are_read(client, value, dtype, packed):
    array = np.array(as_bytes(value), object if dtype == "string" else dtype)
    if packed:  # where the server has --enable_serialization_as_tensor_content
        proto = tf.make_tensor_proto(array)
    else:
        proto = tensor_pb2.TensorProto.FromString(
            client.tensor(value, dtype).SerializeToString()
        )
    response = client.Response()
    response.outputs.add(key="y").value.ParseFromString(proto.SerializeToString())
    response = client.Response.FromString(response.SerializeToString())
    assert client.tolist(response.outputs[0].value) == as_bytes(value)


def test_requests_are_what_the_server_parses(client):
    predict = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    inputs = {"prompt": client.tensor(["a", "b"], "string")}
    inputs["seed"] = client.tensor([1, 2], "int64")
    message = client.request("lm", "generate", inputs, version=7, outputs=["text"])
    request = predict.PredictRequest.FromString(message.SerializeToString())
    spec = request.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("lm", "generate", 7)
    assert list(request.output_filter) == ["text"]
    assert tf.make_ndarray(request.inputs["prompt"]).tolist() == [b"a", b"b"]
    assert tf.make_ndarray(request.inputs["seed"]).tolist() == [1, 2]
    labelled = client.request("lm", "", {}, label="stable")
    request = predict.PredictRequest.FromString(labelled.SerializeToString())
    assert request.model_spec.WhichOneof("version_choice") == "version_label"
    assert request.model_spec.version_label == "stable"
    answer = predict.PredictResponse()
    answer.outputs["text"].CopyFrom(tf.make_tensor_proto(["x"]))
    (entry,) = client.Response.FromString(answer.SerializeToString()).outputs
    assert (entry.key, client.tolist(entry.value)) == ("text", [b"x"])
