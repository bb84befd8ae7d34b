"""Asks a language model in TensorFlow Serving over gRPC, without TensorFlow.

    pip install grpcio protobuf
    python client_grpc.py --prompt="In the beginning" --max_new_tokens=20

Over gRPC a knob that is left out takes the model's default. This client draws a new
seed for each row unless --seed is given.
"""

import argparse
import random
import struct
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

KNOBS = {
    "max_new_tokens": "int32",
    "temperature": "float32",
    "top_k": "int32",
    "top_p": "float32",
    "min_p": "float32",
    "repetition_penalty": "float32",
    "seed": "int64",
}
# What a client needs of tensorflow_serving/apis/predict.proto and of tensor.proto:
# message -> field -> (number, type); "*" is repeated. A map is a repeated entry.
_MESSAGES = {
    "Dim": {"size": (1, "int64")},
    "Shape": {"dim": (2, "*Dim")},
    "Tensor": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "Shape"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "*float"),
        "int_val": (7, "*int32"),
        "string_val": (8, "*bytes"),
        "int64_val": (10, "*int64"),
        "bool_val": (11, "*bool"),
    },
    "Entry": {"key": (1, "string"), "value": (2, "Tensor")},
    "Version": {"value": (1, "int64")},
    "Model": {
        "name": (1, "string"),
        "version": (2, "Version"),
        "signature_name": (3, "string"),
        "version_label": (4, "string"),
    },
    "Request": {
        "model_spec": (1, "Model"),
        "inputs": (2, "*Entry"),
        "output_filter": (3, "*string"),
    },
    "Response": {"outputs": (1, "*Entry"), "model_spec": (2, "Model")},
}
# type -> its number in TensorFlow, the field of its values, its struct format
_TYPES = {
    "float32": (1, "float_val", "f"),
    "int32": (3, "int_val", "i"),
    "string": (7, "string_val", ""),
    "int64": (9, "int64_val", "q"),
    "bool": (10, "bool_val", "?"),
}


def _classes():
    """Message classes in a pool of their own, beside any generated ones."""
    file = descriptor_pb2.FileDescriptorProto(name="client.proto", package="client")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            new = message.field.add(name=field, number=number, label=1)
            if kind.startswith("*"):
                new.label, kind = kinds.LABEL_REPEATED, kind[1:]
            if kind in _MESSAGES:
                new.type, new.type_name = kinds.TYPE_MESSAGE, f".client.{kind}"
            else:
                new.type = getattr(kinds, f"TYPE_{kind.upper()}")
    file.syntax = "proto3"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    find = pool.FindMessageTypeByName
    return {
        name: message_factory.GetMessageClass(find(f"client.{name}"))
        for name in _MESSAGES
    }


_CLASSES = _classes()
Request, Response = _CLASSES["Request"], _CLASSES["Response"]


def tensor(value, dtype):
    """A tensor message of nested lists; texts may be str or bytes."""
    number, field, _ = _TYPES[dtype]
    result, level = _CLASSES["Tensor"](dtype=number), value
    while isinstance(level, list):
        result.tensor_shape.dim.add(size=len(level))
        level = level[0] if level else None
    flat = [value]
    for _ in result.tensor_shape.dim:
        flat = [item for items in flat for item in items]
    if dtype == "string":
        flat = [item.encode() if isinstance(item, str) else item for item in flat]
    getattr(result, field).extend(flat)
    return result


def tolist(message):
    """A tensor message as nested lists; texts are bytes."""
    fields = {number: more for number, *more in _TYPES.values()}
    field, code = fields[message.dtype]
    values, content = list(getattr(message, field)), message.tensor_content
    if content:
        values = [value for (value,) in struct.iter_unpack("<" + code, content)]
    for dim in reversed(message.tensor_shape.dim[1:]):
        size = dim.size
        values = [values[i : i + size] for i in range(0, len(values), size)]
    return values


def request(model, signature, inputs, version=0, label="", outputs=()):
    """A Request; `inputs` has tensor messages, `outputs` the names of those wanted."""
    result = Request(output_filter=outputs)
    result.model_spec.name, result.model_spec.signature_name = model, signature
    if version:
        result.model_spec.version.value = version
    if label:
        result.model_spec.version_label = label
    for name, value in inputs.items():
        result.inputs.add(key=name, value=value)
    return result


def predict(channel, message, timeout=120.0):
    """Sends a Request; returns name -> nested lists.

    Raises:
      grpc.RpcError: with `code()` and `details()`.
    """
    call = channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        request_serializer=Request.SerializeToString,
        response_deserializer=Response.FromString,
    )
    answer = call(message, timeout=timeout)
    return {entry.key: tolist(entry.value) for entry in answer.outputs}


def connect(address):
    """A channel without a limit on the size of answers."""
    options = [("grpc.max_receive_message_length", -1)]
    return grpc.insecure_channel(address, options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--address", default="localhost:8500")
    parser.add_argument("--model", default="lm")
    parser.add_argument("--prompt", action="append", required=True)
    parser.add_argument("--stop", action="append", help="a text to stop before")
    for name, dtype in KNOBS.items():
        parser.add_argument(f"--{name}", type=float if dtype[0] == "f" else int)
    given = vars(parser.parse_args())
    prompts = given["prompt"]
    inputs = {"prompt": tensor(prompts, "string")}
    for name, dtype in KNOBS.items():
        if given[name] is not None:
            inputs[name] = tensor([given[name]] * len(prompts), dtype)
    if given["seed"] is None:
        seeds = [random.randrange(2**63) for _ in prompts]
        inputs["seed"] = tensor(seeds, "int64")
    if given["stop"]:
        inputs["stop"] = tensor([given["stop"]] * len(prompts), "string")
    with connect(given["address"]) as channel:
        try:
            answer = predict(channel, request(given["model"], "generate", inputs))
        except grpc.RpcError as error:
            sys.exit(f"{error.code().name}: {error.details()}")
    for prompt, text in zip(prompts, answer["text"], strict=True):
        print(prompt + text.decode())


if __name__ == "__main__":
    main()
