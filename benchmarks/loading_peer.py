"""The other side of `benchmarks.loading`; needs torch and transformers only."""

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(path):
    result = {}
    for name in ("first", "again"):
        loaded = None
        began, spent = time.perf_counter(), time.process_time()
        loaded = (
            AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32),
            AutoTokenizer.from_pretrained(path),
        )
        result[name] = time.perf_counter() - began
    with torch.no_grad():
        result["sum"] = sum(float(p.sum()) for p in loaded[0].parameters())
    result["again and read"] = time.perf_counter() - began
    result["processor"] = time.process_time() - spent
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
