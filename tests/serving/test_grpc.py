"""What a client meets over gRPC; the messages are those of deploy/client_grpc.py."""

import struct

import pytest
from tf_serving import (
    BATCHING,
    FOLDER,
    GRPC,
    KNOBS,
    LABELS,
    MODEL,
    TYPES,
    client,
    same,
    texts,
)

from zoo.saved_model.checker import wire

grpc = pytest.importorskip("grpc")


@pytest.fixture(scope="module")
def grpc_client():
    return client("client_grpc")


@pytest.fixture(scope="module")
def channel(grpc_client):
    with grpc_client.connect(GRPC) as connected:
        yield connected


@pytest.fixture(scope="module")
def predict(grpc_client, channel, described):
    """Calls a signature with nested lists; returns nested lists, texts as str."""

    def call(signature, inputs, **more):
        ports = described.get(signature, {"inputs": {}})["inputs"]
        inputs = {
            name: grpc_client.tensor(v, ports.get(name, {"dtype": "string"})["dtype"])
            for name, v in inputs.items()
        }
        message = grpc_client.request(MODEL, signature, inputs, **more)
        return texts(grpc_client.predict(channel, message))

    return call


def test_recorded_requests(predict, recorded, described):
    for item in recorded:
        got = predict(item["signature"], item["inputs"])
        assert set(got) == set(described[item["signature"]]["outputs"])
        got = {name: got[name] for name in item["outputs"]}
        assert same(got, item["outputs"]), (item["signature"], got)


def test_knobs_that_are_left_out_have_their_defaults(predict, described, writes):
    ports = described["generate"]["inputs"]
    defaults = {k: [port["default"]] for k, port in ports.items() if "default" in port}
    assert set(defaults) == set(ports) - {"prompt"}
    prompt = {"prompt": ["In the beginning"]}
    assert same(predict("generate", prompt), predict("generate", prompt | defaults))
    some = {"max_new_tokens": [3], "temperature": [0.7], "seed": [5]}
    wanted = predict("generate", prompt | defaults | some)
    assert same(predict("generate", prompt | some), wanted)
    assert wanted["num_tokens"][0] <= 3
    if not BATCHING:  # which wants as many rows of every input
        two = predict("generate", {"prompt": ["In the beginning", "And"]})
        assert len(two["text"]) == 2
        assert two["text"][0] == predict("generate", prompt)["text"][0]


def test_the_default_signature(predict, writes):
    prompt = {"prompt": ["In the beginning"]}
    assert predict("", prompt) == predict("serving_default", prompt)


def test_only_the_outputs_that_are_asked_for(predict, writes):
    inputs = writes(["In the beginning"])
    whole = predict("generate", inputs)
    some = predict("generate", inputs, outputs=["num_tokens", "text"])
    assert some == {name: whole[name] for name in ("num_tokens", "text")}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_new_tokens": [0]}, "row 0 has 0"),
        ({"top_p": [2.0]}, "top_p: row 0 has 2"),
        ({"prompt": [b"\xff"]}, "valid UTF-8"),
        ({"prompt": "no row"}, ""),
        ({"seed": [1, 2]}, ""),
        ({"heat": ["1"]}, "heat"),
    ],
)
def test_wrong_requests(predict, writes, change, words):
    inputs = {**writes(["In the beginning"]), **change}
    with pytest.raises(grpc.RpcError) as error:
        predict("generate", inputs)
    assert error.value.code().name == "INVALID_ARGUMENT"
    assert words in error.value.details()


def test_a_wrong_signature(predict):
    with pytest.raises(grpc.RpcError) as error:
        predict("generat", {"prompt": ["In the beginning"]})
    assert error.value.code().name == "FAILED_PRECONDITION"
    assert "generat" in error.value.details()


def test_wrong_types_and_missing_inputs(grpc_client, channel, writes):
    def refused(inputs):
        message = grpc_client.request(MODEL, "generate", inputs)
        with pytest.raises(grpc.RpcError) as error:
            grpc_client.predict(channel, message)
        return error.value.code().name

    prompt = grpc_client.tensor(["a"], "string")
    tokens = grpc_client.tensor([4.0], "float32")
    assert refused({"prompt": prompt, "max_new_tokens": tokens}) == "INVALID_ARGUMENT"
    assert refused({"seed": grpc_client.tensor([1], "int64")}) == "INVALID_ARGUMENT"
    if not BATCHING:
        none = grpc_client.tensor([], "string")
        assert refused({"prompt": none}) == "INVALID_ARGUMENT"


def test_versions_labels_and_names(grpc_client, channel, predict, recorded):
    item = recorded[0]
    wanted = predict(item["signature"], item["inputs"])
    version = int(FOLDER.name)
    assert same(predict(item["signature"], item["inputs"], version=version), wanted)
    for label in LABELS:
        got = predict(item["signature"], item["inputs"], label=label)
        assert set(got) == set(wanted)
    with pytest.raises(grpc.RpcError) as error:
        predict(item["signature"], item["inputs"], version=987654)
    assert error.value.code().name == "NOT_FOUND"
    with pytest.raises(grpc.RpcError) as error:
        grpc_client.predict(channel, grpc_client.request("nowhere", "", {}))
    assert error.value.code().name == "NOT_FOUND"


def test_the_warm_up_requests_are_answered(grpc_client, channel):
    data = (FOLDER / "assets.extra" / "tf_serving_warmup_requests").read_bytes()
    count = 0
    while data:  # a TFRecord: length, its checksum, content, its checksum
        (size,) = struct.unpack("<Q", data[:8])
        record, data = data[12 : 12 + size], data[16 + size :]
        log = dict(wire.fields(memoryview(record)))[6]
        request = grpc_client.Request.FromString(bytes(dict(wire.fields(log))[1]))
        request.model_spec.name = MODEL
        assert grpc_client.predict(channel, request)
        count += 1
    assert count


def test_metadata_and_status(channel, described):
    metadata = pytest.importorskip("tensorflow_serving.apis.get_model_metadata_pb2")
    status = pytest.importorskip("tensorflow_serving.apis.get_model_status_pb2")
    types = pytest.importorskip("tensorflow.core.framework.types_pb2")
    request = metadata.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = MODEL
    answer = channel.unary_unary(
        "/tensorflow.serving.PredictionService/GetModelMetadata",
        request_serializer=metadata.GetModelMetadataRequest.SerializeToString,
        response_deserializer=metadata.GetModelMetadataResponse.FromString,
    )(request, timeout=30)
    found = metadata.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(found)
    for name, about in described.items():
        signature = found.signature_def[name]
        for kind in ("inputs", "outputs"):
            ports = getattr(signature, kind)
            assert {k: types.DataType.Name(p.dtype) for k, p in ports.items()} == {
                k: TYPES[p["dtype"]] for k, p in about[kind].items()
            }
        known = {k for k, port in about["inputs"].items() if "default" in port}
        assert set(signature.defaults) == known <= set(KNOBS)
    request = status.GetModelStatusRequest()
    request.model_spec.name = MODEL
    answer = channel.unary_unary(
        "/tensorflow.serving.ModelService/GetModelStatus",
        request_serializer=status.GetModelStatusRequest.SerializeToString,
        response_deserializer=status.GetModelStatusResponse.FromString,
    )(request, timeout=30)
    states = {s.version: s.state for s in answer.model_version_status}
    assert states[int(FOLDER.name)] == status.ModelVersionStatus.AVAILABLE
