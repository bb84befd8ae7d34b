"""Decoding speed of an exported GPT-2 small, compared with KerasHub's generate.

    python -m benchmarks.decoding --batch=1

Our side calls the SavedModel through the C API without XLA, text in and text out. Their
side calls `GPT2CausalLM.generate` on ids, greedy, with `jit_compile=False`. Both have
124M parameters in float32, 16 prompt tokens and 128 new tokens. The sides run in turn,
each in its own processes. The figure is milliseconds per step: the best repetition of a
process, and the median over processes.

    python -m benchmarks.decoding --beams=4

Compares `zoo.decode.generate` with so many beams and with 1, greedy, on the same model
and prompt. Both sides write 128 tokens.
"""

import json
import pathlib
import statistics
import tempfile
import time

from absl import app, flags

from benchmarks import processes

_BATCH = flags.DEFINE_integer("batch", 1, "Rows.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Processes of each side.")
_SIDE = flags.DEFINE_enum(
    "side", None, ["export", "ours", "theirs", "search"], "Runs one side."
)
_BEAMS = flags.DEFINE_integer("beams", 0, "Of a search; 0 compares with KerasHub.")
_FOLDER = flags.DEFINE_string("folder", None, "Of the exported model.")

_PROMPT, _NEW, _REPEAT = 16, 128, 2


def main(argv):
    del argv
    if _SIDE.value:
        sides = {"export": export, "ours": ours, "theirs": theirs, "search": search}
        print(json.dumps(sides[_SIDE.value]()))
        return
    if _BEAMS.value:
        times = {1: [], _BEAMS.value: []}
        for _ in range(_ROUNDS.value):
            for beams, own in times.items():
                own.append(_run("search", "", beams) * 1e3)
        greedy, several = (statistics.median(own) for own in times.values())
        print(
            f"GPT-2 124M, batch {_BATCH.value}: greedy {greedy:.2f} ms a step, "
            f"{_BEAMS.value} beams {several:.2f} ms, ratio {several / greedy:.2f}"
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        _run("export", folder)
        times = {"ours": [], "theirs": []}
        for _ in range(_ROUNDS.value):
            for side in times:
                times[side].append(_run(side, folder) * 1e3)
                print(f"{side:7} {times[side][-1]:6.2f} ms a step")
    a, b = (statistics.median(times[side]) for side in ("ours", "theirs"))
    print(
        f"GPT-2 124M, batch {_BATCH.value}: ours {a:.2f}, KerasHub {b:.2f} ms a step, "
        f"ratio {b / a:.2f}"
    )


def _run(side, folder, beams=0):
    flags = f"--batch={_BATCH.value}", f"--folder={folder}", f"--beams={beams}"
    return processes.result(processes.own("decoding", side, *flags))


def _model():
    import keras

    from zoo import models

    keras.utils.set_random_seed(1)
    return models.build(
        "transformer_lm",
        vocab_size=50257,
        context=1024,
        width=768,
        layers=12,
        heads=12,
    )


def export():
    from zoo.data import sources
    from zoo.directory import GenerationConfig, Loaded
    from zoo.saved_model import writer
    from zoo.text import tokenizer

    model = _model()
    tokens = tokenizer.train(sources.documents("kjv", "test"), 2048)
    writer.write(_FOLDER.value, Loaded(model, tokens, GenerationConfig()))
    prompt = sources.documents("kjv", "test")[0]
    ids = tokens.encode(prompt)[:_PROMPT]
    pathlib.Path(_FOLDER.value, "prompt").write_text(tokens.decode(ids), "utf-8")
    return 0


def ours():
    from zoo.saved_model.checker import c_api

    prompt = pathlib.Path(_FOLDER.value, "prompt").read_text("utf-8")
    request = {"prompt": [prompt] * _BATCH.value, "max_new_tokens": [_NEW]}
    with c_api.Session(pathlib.Path(_FOLDER.value, "1")) as session:

        def call():
            counts = session.run("generate", request)["num_tokens"].tolist()
            assert counts == [_NEW] * _BATCH.value, counts

        return _best(call)


def search():
    from zoo.data import sources
    from zoo.decode import generate
    from zoo.generation_config import GenerationConfig
    from zoo.text import tokenizer

    documents = sources.documents("kjv", "test")
    model, tokens = _model(), tokenizer.train(documents, 2048)
    prompts = [tokens.encode(documents[0])[:_PROMPT]] * _BATCH.value
    tokens.end_ids = []  # each answer has all 128 tokens
    knobs = GenerationConfig(max_new_tokens=_NEW, beams=_BEAMS.value)

    def call():
        counts = [
            len(answer.tokens) for answer in generate(model, tokens, prompts, knobs)
        ]
        assert counts == [_NEW] * _BATCH.value, counts

    return _best(call)


def theirs():
    import keras_hub
    import numpy as np

    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=50257,
        num_layers=12,
        num_heads=12,
        hidden_dim=768,
        intermediate_dim=3072,
        max_sequence_length=1024,
        dropout=0.0,
    )
    model = keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=None)
    model.compile(sampler="greedy", jit_compile=False)
    ids = np.random.default_rng(0).integers(0, 50257, (_BATCH.value, _PROMPT + _NEW))
    mask = np.zeros_like(ids)
    mask[:, :_PROMPT] = 1
    inputs = {"token_ids": ids.astype("int32"), "padding_mask": mask.astype("int32")}
    return _best(lambda: model.generate(inputs, stop_token_ids=None))


def _best(call):
    call()
    times = []
    for _ in range(_REPEAT):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times) / _NEW


if __name__ == "__main__":
    app.run(main)
