"""Decoding speed of an exported language model beside KerasHub and transformers.

    python -m benchmarks.decoding --batch=1 --peer_python=PYTHON
    python -m benchmarks.decoding --size=14M
    python -m benchmarks.decoding --prompt=512 --new=1

Our side calls the SavedModel through the C API without XLA, text in and text out.
KerasHub's side calls `GPT2CausalLM.generate` on ids, greedy, with `jit_compile=False`,
on random weights of its own. With --peer_python, transformers on torch reads our model
directory and must write the same tokens. All have 124M parameters (or 14M) in float32.
The sides run in turn, each in its own processes. The figure is milliseconds per new
token, the prompt included: the best repetition of a process, and the median over
processes. With one new token it is the time to read the prompt. The rate at which our
step reads the weights is given as a share of the rate of `tf.reduce_sum` on 256 MB in
the same process.

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
_SIZE = flags.DEFINE_enum("size", "124M", ["124M", "14M"], "Parameters.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Processes of each side.")
_THREADS = flags.DEFINE_integer("threads", 2, "Of torch.")
_PEER = flags.DEFINE_string("peer_python", "", "It has transformers; none leaves it.")
_SIDE = flags.DEFINE_enum(
    "side", None, ["export", "ours", "keras_hub", "search"], "Runs one side."
)
_BEAMS = flags.DEFINE_integer("beams", 0, "Of a search; 0 compares with peers.")
_FOLDER = flags.DEFINE_string("folder", None, "Of the exported model.")
_PROMPT = flags.DEFINE_integer("prompt", 16, "Tokens of the prompt.")
_NEW = flags.DEFINE_integer("new", 128, "Tokens of the answer; 1 times the prompt.")

_REPEAT = 2
_SHAPES = {
    "124M": {"vocab_size": 50257, "width": 768, "layers": 12, "heads": 12},
    "14M": {"vocab_size": 8192, "width": 384, "layers": 6, "heads": 6},
}
_CONTEXT = 1024


def main(argv):
    """Prints the milliseconds of a step of each side, and the ratios."""
    del argv
    if _SIDE.value:
        sides = {"export": export, "ours": ours, "search": search}
        sides |= {"keras_hub": keras_hub_side}
        print(json.dumps(sides[_SIDE.value]()))
    elif _BEAMS.value:
        of_beams()
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(folder)


def compare(folder):
    """Our SavedModel beside the peers."""
    processes.result(_own("export", folder))
    sides = {side: _own(side, folder) for side in ("ours", "keras_hub")}
    if _PEER.value:
        script = str(pathlib.Path(__file__).with_name("decoding_transformers.py"))
        sides["transformers"] = [_PEER.value, script, folder]
        numbers = _BATCH.value, _THREADS.value, _NEW.value
        sides["transformers"] += map(str, numbers)

    def check(results):
        if _PEER.value:
            ours, theirs = (results[s]["tokens"] for s in ("ours", "transformers"))
            if ours != theirs:
                raise SystemExit(f"the tokens differ: {ours} and {theirs}")

    found = processes.in_turn(sides, _ROUNDS.value, check)
    seconds = {side: [r["seconds"] for r in own] for side, own in found.items()}
    work = "decode" if _NEW.value > 1 else f"read {_PROMPT.value} tokens"
    processes.report(f"{work}, {_SIZE.value}, batch {_BATCH.value}", seconds)
    if _NEW.value == 1:
        return
    share = statistics.median(r["read"] / r["memory"] for r in found["ours"])
    print(f"  our step reads the weights at {share:.2f} of memory's rate")


def of_beams():
    """A search beside greedy decoding."""
    times = {1: [], _BEAMS.value: []}
    for _ in range(_ROUNDS.value):
        for beams, own in times.items():
            own.append(1e3 * processes.result(_own("search", "", beams)))
    greedy, several = (statistics.median(own) for own in times.values())
    print(
        f"{_SIZE.value}, batch {_BATCH.value}: greedy {greedy:.2f} ms a step, "
        f"{_BEAMS.value} beams {several:.2f} ms, ratio {several / greedy:.2f}"
    )


def _own(side, folder, beams=0):
    given = f"--batch={_BATCH.value}", f"--folder={folder}", f"--beams={beams}"
    given += f"--prompt={_PROMPT.value}", f"--new={_NEW.value}"
    return processes.own("decoding", side, *given, f"--size={_SIZE.value}")


def _model():
    import keras

    from zoo import models

    keras.utils.set_random_seed(1)
    shape = _SHAPES[_SIZE.value]
    return models.build("transformer_lm", context=_CONTEXT, **shape)


def export():
    """Leaves the SavedModel, the model directory, and the prompt in both forms."""
    import numpy as np

    from zoo import directory
    from zoo.data import sources
    from zoo.directory import GenerationConfig, Loaded
    from zoo.saved_model import writer
    from zoo.text import tokenizer

    model = _model()
    tokens = tokenizer.train(sources.documents("kjv", "test"), 2048)
    # rows without a token never win on the other sides either
    rows = np.arange(_SHAPES[_SIZE.value]["vocab_size"]) < tokens.vocab_size
    table = model.embedding.weight
    table.assign(table.value * rows[:, None].astype("float32"))
    writer.write(_FOLDER.value, Loaded(model, tokens, GenerationConfig()))
    prompt = sources.documents("kjv", "test")[0]
    ids = tokens.encode(prompt)[: _PROMPT.value]
    folder = pathlib.Path(_FOLDER.value)
    (folder / "prompt").write_text(tokens.decode(ids), "utf-8")
    (folder / "ids.json").write_text(json.dumps(ids))
    directory.save(folder / "model", model, tokens)


def ours():
    """The seconds of a step, its tokens, and bytes a second beside memory's."""
    from zoo.saved_model.checker import c_api

    folder = pathlib.Path(_FOLDER.value)
    prompt = (folder / "prompt").read_text("utf-8")
    request = {"prompt": [prompt] * _BATCH.value, "max_new_tokens": [_NEW.value]}
    with c_api.Session(folder / "1") as session:
        answers = []

        def call():
            answers.append(session.run("generate", request))
            counts = answers[-1]["num_tokens"].tolist()
            assert counts == [_NEW.value] * _BATCH.value, counts

        seconds = _best(call)
    size = (folder / "model" / "model.safetensors").stat().st_size
    return {
        "seconds": seconds,
        "tokens": answers[-1]["tokens"].tolist()[0],
        "read": size / seconds,
        "memory": _memory(),
    }


def _memory():
    """The bytes that a sum reads in a second, at best."""
    import tensorflow as tf

    memory = tf.Variable(tf.ones([2**26]))
    function = tf.function(lambda: tf.reduce_sum(memory))
    times = []
    for _ in range(10):
        began = time.perf_counter()
        function().numpy()
        times.append(time.perf_counter() - began)
    return 2**28 / min(times)


def search():
    from zoo.data import sources
    from zoo.decode import generate
    from zoo.generation_config import GenerationConfig
    from zoo.text import tokenizer

    documents = sources.documents("kjv", "test")
    model, tokens = _model(), tokenizer.train(documents, 2048)
    prompts = [tokens.encode(documents[0])[: _PROMPT.value]] * _BATCH.value
    tokens.end_ids = []  # each answer has all 128 tokens
    knobs = GenerationConfig(max_new_tokens=_NEW.value, beams=_BEAMS.value)

    def call():
        counts = [
            len(answer.tokens) for answer in generate(model, tokens, prompts, knobs)
        ]
        assert counts == [_NEW.value] * _BATCH.value, counts

    return _best(call)


def keras_hub_side():
    """The seconds of a step of KerasHub."""
    import keras_hub
    import numpy as np

    shape = _SHAPES[_SIZE.value]
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=shape["vocab_size"],
        num_layers=shape["layers"],
        num_heads=shape["heads"],
        hidden_dim=shape["width"],
        intermediate_dim=4 * shape["width"],
        max_sequence_length=_CONTEXT,
        dropout=0.0,
    )
    model = keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=None)
    model.compile(sampler="greedy", jit_compile=False)
    size = _BATCH.value, _PROMPT.value + _NEW.value
    ids = np.random.default_rng(0).integers(0, shape["vocab_size"], size)
    mask = np.zeros_like(ids)
    mask[:, : _PROMPT.value] = 1
    inputs = {"token_ids": ids.astype("int32"), "padding_mask": mask.astype("int32")}
    return {"seconds": _best(lambda: model.generate(inputs, stop_token_ids=None))}


def _best(call):
    call()
    times = []
    for _ in range(_REPEAT):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times) / _NEW.value


if __name__ == "__main__":
    app.run(main)
