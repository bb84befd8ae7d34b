"""A running TensorFlow Serving, as the tests here talk to it; they start none.

TF_SERVING_ADDRESS      host:port of REST; without it every test here is skipped
TF_SERVING_GRPC         host:port of gRPC; by default port 8500 of the same host
TF_SERVING_MODEL        the model's name there; by default lm
TF_SERVING_SAVED_MODEL  the folder of a version that it serves, as exported
TF_SERVING_LABELS       labels that it has for that version, such as stable,canary
TF_SERVING_BATCHING     1 where it was started with --enable_batching
"""

import importlib.util
import json
import math
import os
import pathlib
import urllib.error
import urllib.request

ADDRESS = os.environ.get("TF_SERVING_ADDRESS", "")
HOST = ADDRESS.rpartition(":")[0]
GRPC = os.environ.get("TF_SERVING_GRPC", f"{HOST}:8500")
MODEL = os.environ.get("TF_SERVING_MODEL", "lm")
FOLDER = pathlib.Path(os.environ.get("TF_SERVING_SAVED_MODEL", "runs/demo/served/1"))
LABELS = [x for x in os.environ.get("TF_SERVING_LABELS", "").split(",") if x]
BATCHING = os.environ.get("TF_SERVING_BATCHING", "") == "1"

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"
# numpy's name of a type -> TensorFlow's
TYPES = {
    "string": "DT_STRING",
    "float32": "DT_FLOAT",
    "int32": "DT_INT32",
    "int64": "DT_INT64",
    "bool": "DT_BOOL",
}
KNOBS = {
    "max_new_tokens": 8,
    "temperature": 0.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "seed": 0,
    "stop": [""],
}


def client(name):
    """A client example of deploy/, as a module."""
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Rest:
    """The REST interface of one model."""

    def __init__(self, address, model):
        self.root, self.model = f"http://{address}", f"/v1/models/{model}"

    def ask(self, path, body=None):
        """GET, or POST of a body (JSON, or bytes as they are): (code, text)."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(self.root + path, body, timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode("utf-8", "replace")

    def predict(self, body, where=""):
        """POST to :predict, of a version or label where one is named: (code, text)."""
        return self.ask(f"{self.model}{where}:predict", body)

    def columns(self, signature, inputs, where=""):
        """The outputs of a request in columns, by name where there are several."""
        body = {"signature_name": signature, "inputs": inputs}
        code, text = self.predict(body, where)
        assert code == 200, text
        return json.loads(text)["outputs"]

    def rows(self, signature, instances):
        """The predictions of a request in rows."""
        body = {"signature_name": signature, "instances": instances}
        code, text = self.predict(body)
        assert code == 200, text
        return json.loads(text)["predictions"]


def generate(described, prompts, **knobs):
    """The columns of a request to `generate`: all inputs that the signature has."""
    known = described["generate"]["inputs"]
    inputs = {"prompt": prompts}
    for name, value in {**KNOBS, **knobs}.items():
        if name in known:
            many = isinstance(value, list) and name != "stop"
            inputs[name] = value if many else [value] * len(prompts)
    assert set(inputs) == set(known), f"generate takes {sorted(known)}"
    return inputs


def transposed(columns):
    """Name -> list, as a list of name -> value."""
    return [
        dict(zip(columns, row, strict=True))
        for row in zip(*columns.values(), strict=True)
    ]


def texts(value):
    """Nested lists with bytes as text."""
    if isinstance(value, dict):
        return {name: texts(item) for name, item in value.items()}
    if isinstance(value, list):
        return [texts(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def same(got, wanted):
    """Equal, floats to 1e-4."""
    if isinstance(wanted, dict):
        return set(got) == set(wanted) and all(same(got[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list):
        return len(got) == len(wanted) and all(map(same, got, wanted))
    if isinstance(wanted, float):
        return math.isclose(got, wanted, rel_tol=1e-4, abs_tol=1e-4)
    return got == wanted
