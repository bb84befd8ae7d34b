"""Asks a language model in TensorFlow Serving over HTTP, with Python's library alone.

    python client_http.py --prompt="In the beginning" --max_new_tokens=20

Over HTTP every input must be sent: the server applies defaults to gRPC calls only. This
client draws a new seed for each row unless --seed is given.
"""

import argparse
import json
import random
import sys
import urllib.error
import urllib.request

KNOBS = {
    "max_new_tokens": 64,
    "temperature": 0.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "seed": 0,
}


def body(prompts, stop=("",), **knobs):
    """The JSON of a request to `generate`: every input as a column of the batch."""
    columns = {**KNOBS, **knobs, "stop": list(stop)}
    inputs = {name: [value] * len(prompts) for name, value in columns.items()}
    return {"signature_name": "generate", "inputs": {"prompt": prompts, **inputs}}


def predict(server, model, content, timeout=120.0):
    """Sends a body; returns the outputs.

    Raises:
      ValueError: the server refused; its words.
    """
    url = f"http://{server}/v1/models/{model}:predict"
    try:
        with urllib.request.urlopen(url, json.dumps(content).encode(), timeout) as got:
            return json.load(got)["outputs"]
    except urllib.error.HTTPError as error:
        words = error.read().decode("utf-8", "replace")
        raise ValueError(f"HTTP {error.code}: {words}") from None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--address", default="localhost:8501")
    parser.add_argument("--model", default="lm")
    parser.add_argument("--prompt", action="append", required=True)
    parser.add_argument("--stop", action="append", help="a text to stop before")
    for name, value in KNOBS.items():
        default = None if name == "seed" else value
        parser.add_argument(f"--{name}", type=type(value), default=default)
    given = vars(parser.parse_args())
    knobs = {name: given[name] for name in KNOBS}
    content = body(given["prompt"], given["stop"] or [""], **knobs)
    if knobs["seed"] is None:  # other samples in every request and every row
        rows = len(given["prompt"])
        content["inputs"]["seed"] = [random.randrange(2**63) for _ in range(rows)]
    try:
        answer = predict(given["address"], given["model"], content)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    for prompt, text in zip(given["prompt"], answer["text"], strict=True):
        print(prompt + text)


if __name__ == "__main__":
    main()
