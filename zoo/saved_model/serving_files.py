"""Writes the files that TF Serving and its operators read beside a SavedModel.

    assets.extra/tf_serving_warmup_requests   the server runs these before it answers
    assets.extra/requests.json                the same requests with their answers
    batching_params.pbtxt                     the server's own batching, if switched on

A warm-up request that fails stops the server from loading the version. So each one is
answered here first. `zoo.check --requests` and clients compare with these answers.
Three messages of tensorflow_serving/apis (prediction_log, predict, model) are encoded
here, so that tensorflow-serving-api is not needed.
"""

import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from zoo import files

REQUESTS = "requests.json"
WARMUP = "tf_serving_warmup_requests"
BATCHING = "batching_params.pbtxt"

_MOST_RECORDS = 1000  # the server's limit
_NEW_TOKENS = 4  # of a warm-up request: enough to run every kernel once
_LARGEST = 4096  # elements of the largest output that is recorded

_BATCHING = """\
# TensorFlow Serving's own batching, off unless the server is started with
#   --enable_batching --enable_per_model_batching_parameters
# (num_batch_threads counts only where this file is the --batching_parameters_file).
# Merged requests fail together: a bad knob of one client is an error for all of them.
# Three options stay off: allowed_batch_sizes, because padding rows would be decoded;
# enable_large_batch_splitting, because parts of a request may differ in width; and
# pad_variable_length_inputs, because its padding would repeat messages and stops.
max_batch_size {{ value: {most} }}
batch_timeout_micros {{ value: 5000 }}
max_enqueued_batches {{ value: 64 }}
num_batch_threads {{ value: 4 }}
"""


def write(
    folder,
    described: dict[str, dict],
    functions: dict[str, Callable[..., dict]],
    batch_sizes: tuple[int, ...] = (1, 8),
    server_batching: bool = True,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Writes the files into the folder of a version.

    A signature is left out if one of its inputs has neither an example nor a default.

    Args:
      folder: with saved_model.pb; no server watches it yet.
      described: the entry of each signature in signature.json.
      functions: name to a function of named tensors that returns named tensors.
      batch_sizes: the rows of the warm-up requests.
      server_batching: whether to write batching_params.pbtxt. A SavedModel that batches
        in its graph must not have that file: without it the server does not batch.
      report: gets a line before each request is answered.

    Raises:
      ValueError: a size is below 1, there would be more than 1000 requests, or a
        signature refuses its own examples.
    """
    folder = pathlib.Path(folder)
    if not batch_sizes or min(batch_sizes) < 1:
        raise ValueError(f"batch_sizes: {batch_sizes}, at least 1 allowed.")
    requests = list(_requests(described, sorted(set(batch_sizes))))
    if len(requests) > _MOST_RECORDS:
        raise ValueError(
            f"batch_sizes: {len(requests)} warm-up requests, at most {_MOST_RECORDS} "
            "allowed."
        )
    recorded = []
    for number, (name, inputs) in enumerate(requests, 1):
        report(f"answering the warm-up request {number} of {len(requests)}: {name}")
        recorded.append(_answered(name, inputs, functions[name]))
    extra = folder / "assets.extra"
    extra.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(extra / WARMUP)) as writer:
        for name, inputs in requests:
            writer.write(prediction_log(name, inputs))
    files.write_json(extra / REQUESTS, recorded)
    if server_batching:
        text = _BATCHING.format(most=max(32, *batch_sizes))
        (folder / BATCHING).write_text(text, encoding="utf-8")


def prediction_log(signature: str, inputs: dict[str, Any]) -> bytes:
    """A serialized tensorflow.serving.PredictionLog of a PredictRequest.

    Args:
      signature: its name; the server fills in the name of the model.
      inputs: name -> tensor.
    """
    request = _field(1, _field(3, signature.encode()))  # model_spec.signature_name
    for name, value in sorted(inputs.items()):
        value = tf.make_tensor_proto(value.numpy())
        entry = _field(1, name.encode()) + _field(2, value.SerializeToString())
        request += _field(2, entry)  # inputs, a map
    return _field(6, _field(1, request))  # predict_log.request


def _requests(described: dict, sizes: list[int]) -> Iterator[tuple[str, dict]]:
    """The signature and inputs of each request: one row of examples, repeated."""
    for name, about in described.items():
        row, dtypes = {}, {}
        for key, info in about["inputs"].items():
            known = next((k for k in ("example", "default") if k in info), None)
            if known is None:
                break
            row[key], dtypes[key] = info[known], info["dtype"]
        else:
            if "max_new_tokens" in row:
                row["max_new_tokens"] = min(_NEW_TOKENS, row["max_new_tokens"])
            for size in sizes[:1] if _takes_long(about) else sizes:
                yield (
                    name,
                    {
                        key: tf.constant([value] * size, dtypes[key])
                        for key, value in row.items()
                    },
                )


def _takes_long(about: dict) -> bool:
    """Whether a signature generates up to the default limit, or returns a state."""
    inputs, outputs = about["inputs"], about["outputs"]
    unlimited = outputs.keys() == {"text"} and "max_new_tokens" not in inputs
    return (unlimited and "tokens" not in inputs) or "state_0" in outputs


def _answered(name: str, inputs: dict, function: Callable[..., dict]) -> dict:
    """The record of a request and its answer."""
    try:
        outputs = function(**inputs)
    except tf.errors.OpError as error:
        lines = [line for line in error.message.splitlines() if line.strip()]
        # the message follows the place in the program, and precedes that in the graph
        words = [line for line in lines if not line.lstrip().startswith("[[")][-1]
        raise ValueError(f"{name}: refuses its own examples: {words}") from None
    kept = {key: value for key, value in outputs.items() if _worth_keeping(value)}
    return {"signature": name, "inputs": _plain(inputs), "outputs": _plain(kept)}


def _worth_keeping(value) -> bool:
    """Whether an output is small, and finite as JSON needs it."""
    if math.prod(value.shape) > _LARGEST:
        return False
    return not value.dtype.is_floating or bool(tf.reduce_all(tf.math.is_finite(value)))


def _plain(tensors: dict) -> dict:
    """Tensors as nested lists for JSON; texts are UTF-8."""
    return {key: _decoded(value.numpy().tolist()) for key, value in tensors.items()}


def _decoded(value):
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def _field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that holds bytes, a string or a message."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    result = b""
    while number > 127:
        result += bytes([number & 127 | 128])
        number >>= 7
    return result + bytes([number])
