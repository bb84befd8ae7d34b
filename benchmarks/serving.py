"""The cost of a SavedModel in a server: latency, long texts, many clients at once.

    python -m benchmarks.serving

All calls go through the C API with XLA off, as in TF Serving. A GPT-2 of 124M
parameters measures latency, one of 14M load. Weights are random, the tokenizer is real.
A ratio compares calls that take turns in one process.
"""

import concurrent.futures
import math
import pathlib
import random
import statistics
import tempfile
import time

import keras
import numpy as np
from absl import flags

from zoo import command as flags_lib
from zoo import directory, models
from zoo.data import sources
from zoo.decode import generate
from zoo.directory import GenerationConfig
from zoo.saved_model import writer
from zoo.saved_model.checker import c_api
from zoo.text import tokenizer as tokenizers

_PARTS = flags.DEFINE_multi_enum(
    "part", ["latency", "load"], ["latency", "load"], "What to measure."
)
_REQUESTS = flags.DEFINE_integer("requests", 500, "Of the load.")

_CLIENTS, _BATCH = 8, 8
_SHORT, _LONG = 8, 512  # new tokens


def main(argv):
    del argv
    text = sources.documents("kjv", "test")[0]
    tokens = tokenizers.train(sources.documents("kjv", "test"), 2048)
    for part in _PARTS.value:
        with tempfile.TemporaryDirectory() as folder:
            {"latency": latency, "load": load}[part](
                pathlib.Path(folder), tokens, text.replace("\n", " ")
            )


def latency(folder, tokens, text):
    """One client and a model of 124M parameters."""
    loaded = _model(folder, tokens, 50257, width=768, layers=12, heads=12)
    version = writer.write(folder / "served", loaded)
    weights = (folder / "model/model.safetensors").stat().st_size
    size = sum(f.stat().st_size for f in version.rglob("*") if f.is_file())
    allowed = 1.02 * weights + 10e6
    print(f"size: {size:,} bytes, {size / weights:.4f} of the safetensors", end="")
    print(f" ({size - allowed:+,.0f} against 1.02 x + 10 MB)")

    prompt = tokens.decode(tokens.encode(text)[:16])
    knobs = GenerationConfig(max_new_tokens=64)
    with c_api.Session(version) as session:

        def ask(prompt, count):
            inputs = {"prompt": [prompt], "max_new_tokens": [count]}
            answer = session.run("generate", inputs)
            assert answer["num_tokens"].tolist() == [count], answer
            return answer["text"].tolist()[0].decode()

        def here():
            return generate(loaded.model, loaded.tokenizer, [prompt], knobs)[0].text

        assert ask(prompt, 64) == here()
        served, inside = _in_turn(lambda: ask(prompt, 64), here, rounds=7)
        print(
            f"64 tokens: SavedModel {served:.1f} ms, zoo.generate {inside:.1f} ms",
            end="",
        )
        print(f", ratio {served / inside:.3f}")

        def a_token(place):
            """Milliseconds of a token behind so many others."""
            head = tokens.decode(tokens.encode(text)[: place - 16])
            few, many = _in_turn(lambda: ask(head, 1), lambda: ask(head, 33), rounds=5)
            return (many - few) / 32

        early, late = a_token(30), a_token(1000)
        print(
            f"a token at position 30: {early:.2f} ms, at 1,000: {late:.2f} ms", end=""
        )
        print(f", ratio {late / early:.3f}")
        counts = [16, 64, 256, 1000]
        times = [
            min(_timed(lambda n=n: ask(prompt, n)) for _ in range(2)) for n in counts
        ]
        slope = np.polyfit(np.log(counts), np.log(times), 1)[0]
        each = ", ".join(f"{n}: {t:.0f}" for n, t in zip(counts, times, strict=True))
        print(f"ms by new tokens: {each}; log-log slope {slope:.3f}")


def load(folder, tokens, text):
    """Many clients and a model of 14M parameters."""
    loaded = _model(folder, tokens, 2048, width=384, layers=6, heads=6)
    rng = random.Random(0)
    ids = tokens.encode(text)
    requests = []
    for _ in range(_REQUESTS.value):
        start, length = rng.randrange(1000), rng.randint(4, 100)
        prompt = tokens.decode(ids[start : start + length])
        inputs = {"prompt": [prompt], "max_new_tokens": [rng.randint(4, 64)]}
        requests.append(inputs)
    rates = {}
    for name, batch, clients in (
        ("one at a time", 0, 1),
        (f"{_CLIENTS} clients", 0, _CLIENTS),
        (f"{_CLIENTS} clients, --batch={_BATCH}", _BATCH, _CLIENTS),
    ):
        base = folder / f"batch{batch}"
        version = (
            base / "1" if base.exists() else writer.write(base, loaded, batch=batch)
        )
        with c_api.Session(version) as session:
            rates[name] = _flood(name, session, requests, clients)
    first, *_, last = rates.values()
    print(f"throughput of batching: {last / first:.2f} x one at a time")
    for batch in (0, _BATCH):
        with c_api.Session(folder / f"batch{batch}/1") as session:
            _mixed(batch, session, tokens.decode(ids[:16]))


def _flood(name, session, requests, clients):
    def call(inputs):
        began = time.perf_counter()
        answer = session.run("generate", inputs)
        seconds = time.perf_counter() - began
        assert answer["num_tokens"].tolist()[0] <= inputs["max_new_tokens"][0]
        return seconds, answer["num_tokens"].tolist()[0]

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        list(pool.map(call, requests[: 4 * clients]))
        began = time.perf_counter()
        done = list(pool.map(call, requests))
        seconds = time.perf_counter() - began
    times = sorted(1e3 * t for t, _ in done)
    count = sum(n for _, n in done)
    p99 = times[math.ceil(0.99 * len(times)) - 1]
    print(f"{name}: {len(done)} requests, {len(done) / seconds:.1f} a second", end="")
    print(f", {count / seconds:,.0f} tokens/s", end="")
    print(f", p50 {statistics.median(times):.0f} ms, p99 {p99:.0f} ms")
    return len(done) / seconds


def _mixed(batch, session, prompt):
    """Short requests alone, and while a long one runs."""

    def ask(count):
        session.run("generate", {"prompt": [prompt], "max_new_tokens": [count]})

    ask(_SHORT)
    ask(_LONG)
    alone = statistics.median(_timed(lambda: ask(_SHORT)) for _ in range(9))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        long = pool.submit(ask, _LONG)
        time.sleep(0.05)
        times = []
        while not long.done():
            times.append(_timed(lambda: ask(_SHORT)))
        long.result()
    beside = statistics.median(times[:-1] or times)
    print(
        f"--batch={batch}: {_SHORT} tokens alone {alone:.0f} ms, beside a request for"
    )
    print(
        f"  {_LONG} tokens {beside:.0f} ms ({len(times)} calls), {beside / alone:.2f} x"
    )


def _model(folder, tokens, vocab_size, **shape):
    keras.utils.set_random_seed(1)
    model = models.build("transformer_lm", vocab_size=vocab_size, context=1024, **shape)
    for weight in model.weights:  # the end token must not come up
        if weight.path.endswith("embedding/weight"):
            value = np.asarray(weight.value).copy()
            value[tokens.end_id] = 0
            weight.assign(value)
    directory.save(folder / "model", model, tokens)
    return directory.load(folder / "model")


def _in_turn(*calls, rounds):
    """The median milliseconds of each."""
    for call in calls:
        call()
    times = [[_timed(call) for call in calls] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def _timed(call):
    began = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - began)


if __name__ == "__main__":
    flags_lib.run_app(main)
