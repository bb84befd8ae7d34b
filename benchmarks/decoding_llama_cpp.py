"""Decoding speed of an exported model beside llama.cpp, one row, float32.

    python -m benchmarks.decoding_llama_cpp --model=DIR --peer_python=PYTHON

The model is of a family that GGUF has, such as SmolLM2. PYTHON has llama_cpp. Our side
calls the SavedModel through the C API without XLA, text in and text out; the peer gets
the ids of the same prompt and a GGUF file of the same float32 weights. The sides run in
turn, each in processes of its own, and must write the same first 32 tokens. The figure
is milliseconds per new token, the prompt included, the best of two answers.
"""

import json
import pathlib
import tempfile
import time

from absl import app, flags

from benchmarks import processes

_MODEL = flags.DEFINE_string("model", None, "A directory of a language model.")
_PEER = flags.DEFINE_string("peer_python", None, "It has llama_cpp.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Processes of each side.")
_SIDE = flags.DEFINE_enum("side", None, ["export", "ours"], "Runs one side.")
_FOLDER = flags.DEFINE_string("folder", None, "Of what `export` writes.")

_PROMPT, _NEW, _THREADS, _SAME = "The history of the world is", 128, 2, 32


def main(argv):
    """Prints the milliseconds of a token of each side, and the ratio."""
    del argv
    if _SIDE.value:
        print(json.dumps({"export": export, "ours": ours}[_SIDE.value]()))
        return
    if not _MODEL.value or not _PEER.value:
        raise app.UsageError("--model and --peer_python are required.")
    with tempfile.TemporaryDirectory() as folder:
        given = f"--model={_MODEL.value}", f"--folder={folder}"
        sides = {
            side: processes.own("decoding_llama_cpp", side, *given)
            for side in ("export", "ours")
        }
        processes.result(sides.pop("export"))
        script = str(pathlib.Path(__file__).with_name("decoding_llama_cpp_peer.py"))
        sides["llama.cpp"] = [_PEER.value, script, folder, str(_THREADS), str(_NEW)]
        found = processes.in_turn(sides, _ROUNDS.value, check)
    seconds = {side: [r["seconds"] for r in own] for side, own in found.items()}
    processes.report(f"decode {pathlib.Path(_MODEL.value).name}, batch 1", seconds)


def check(results):
    """Refuses sides that wrote other tokens."""
    ours, theirs = (own["tokens"][:_SAME] for own in results.values())
    if ours != theirs:
        raise SystemExit(f"the tokens differ: {ours} and {theirs}")


def export():
    """Leaves the SavedModel, the GGUF file and the ids of the prompt."""
    import zoo
    from zoo.directory.gguf import writer as gguf_writer
    from zoo.saved_model import writer

    folder = pathlib.Path(_FOLDER.value)
    loaded = zoo.load(_MODEL.value)
    writer.write(folder / "served", loaded)
    gguf_writer.write(folder / "model.gguf", loaded.model, loaded.tokenizer)
    ids = loaded.tokenizer.prefix + loaded.tokenizer.encode(_PROMPT)
    (folder / "ids.json").write_text(json.dumps(ids))


def ours():
    """The seconds of a token, and the tokens."""
    from zoo.saved_model.checker import c_api

    request = {
        "prompt": [_PROMPT],
        "max_new_tokens": [_NEW],
        "temperature": [0.0],
        "repetition_penalty": [1.0],
    }
    with c_api.Session(pathlib.Path(_FOLDER.value) / "served/1") as session:
        times = []
        for _ in range(3):
            began = time.perf_counter()
            answer = session.run("generate", request)
            times.append(time.perf_counter() - began)
    count = answer["num_tokens"].tolist()[0]
    tokens = answer["tokens"].tolist()[0][:count]
    return {"seconds": min(times[1:]) / count, "tokens": tokens}


if __name__ == "__main__":
    app.run(main)
