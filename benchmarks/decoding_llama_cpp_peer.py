"""The side of llama.cpp in `benchmarks.decoding_llama_cpp`.

PYTHON benchmarks/decoding_llama_cpp_peer.py FOLDER THREADS NEW
"""

import json
import pathlib
import sys
import time

import llama_cpp


def main(folder, threads, new, repeat=2):
    model = llama_cpp.Llama(
        str(folder / "model.gguf"), n_ctx=512, n_threads=threads, verbose=False
    )
    ids = json.loads((folder / "ids.json").read_text())
    times, tokens = [], []
    for _ in range(1 + repeat):
        model.reset()
        began = time.perf_counter()
        tokens, following = [], ids
        for _ in range(new):
            model.eval(following)
            tokens.append(model.sample(temp=0))
            following = tokens[-1:]
            if tokens[-1] == model.token_eos():
                break
        times.append(time.perf_counter() - began)
    print(json.dumps({"seconds": min(times[1:]) / len(tokens), "tokens": tokens}))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:]))
