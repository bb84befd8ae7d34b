"""Decoding with drafts from the text beside plain decoding, on the same prompts.

    python -m benchmarks.speculation --model=DIR
    python -m benchmarks.speculation --model=DIR --data=debian_summaries.jsonl.xz

`copy` asks for a part of the King James Bible again, `extract` for the sentence of it
with some words, and `summary` (with --data, whose rows have a field "document") for a
short form of a document. `prose` continues a verse at temperature 1, which repeats
little. Both sides answer the prompts in turn, each with a compiled loop of its own, and
must write the same tokens. A figure is the processor time of an answer, its prompt
included: the median over the rounds, and then over the prompts, with the least and the
largest ratio. The passes beside it are those of the drafts' side for one of the other.
"""

import statistics
import time

from absl import app, flags

_MODEL = flags.DEFINE_string("model", None, "A model directory.", required=True)
_DATA = flags.DEFINE_string("data", "", "A file *.jsonl or *.jsonl.xz of documents.")
_DRAFTS = flags.DEFINE_integer("drafts", 10, "The most tokens of a draft.")
_BATCH = flags.DEFINE_integer(
    "batch", 1, "Rows of one prompt each; several have no drafts."
)
_PROMPTS = flags.DEFINE_integer("prompts", 4, "Batches of each kind.")
_NEW = flags.DEFINE_integer("new", 64, "Tokens of an answer.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Answers of each side to a prompt.")
_KINDS = flags.DEFINE_list("kinds", [], "Only these.")


def main(argv):
    """Prints a line for each kind of prompts."""
    del argv
    from zoo import directory

    loaded = directory.load(_MODEL.value)
    sides = {
        drafts: _side(loaded.model, loaded.tokenizer, drafts)
        for drafts in (0, _DRAFTS.value)
    }
    for kind, prompts in _texts().items():
        if _KINDS.value and kind not in _KINDS.value:
            continue
        ratios, passes, seconds = [], [], []
        for i in range(0, len(prompts), _BATCH.value):
            rows = prompts[i : i + _BATCH.value]
            given = _inputs(loaded.tokenizer, rows, kind == "prose")
            ratio, each, plain = _compared(sides, given)
            ratios.append(ratio)
            passes.append(each)
            seconds.append(plain)
        print(
            f"{kind}, batch {_BATCH.value}: {statistics.median(ratios):.2f} times as "
            f"fast ({min(ratios):.2f} to {max(ratios):.2f}), "
            f"{statistics.mean(passes):.2f} passes a token; plain "
            f"{1e3 * statistics.median(seconds):.1f} ms of processor time a step",
            flush=True,
        )


def _compared(sides, given):
    """Plain time by drafted time, the same of passes, and the time of a plain step."""
    import numpy as np

    times, answers, passes = {side: [] for side in sides}, {}, {}
    for _ in range(_ROUNDS.value + 1):
        for drafts, run in sides.items():
            began = time.process_time()
            out, answers_passes = run(*given)
            times[drafts].append(time.process_time() - began)
            answers[drafts], passes[drafts] = out.tokens.numpy(), answers_passes
    plain, drafted = sides
    if not np.array_equal(answers[plain], answers[drafted]):
        raise SystemExit(f"the tokens differ: {answers[plain]} and {answers[drafted]}")
    seconds = {side: statistics.median(own[1:]) for side, own in times.items()}
    steps = passes[plain] + 1
    return (
        seconds[plain] / seconds[drafted],
        (passes[drafted] + 1) / steps,
        seconds[plain] / steps,
    )


def _texts():
    """The prompts of each kind."""
    import itertools

    from zoo.data import sources

    count = _PROMPTS.value * _BATCH.value
    chapters = sources.documents("kjv", "test")[:count]
    verses = [" ".join(chapter.split()[:120]) for chapter in chapters]
    texts = {
        "copy": [f"{v}\n\nThe same text once more:\n\n{v[:40]}" for v in verses],
        "extract": [
            f"Text: {v}\n\nThe sentence of the text that says "
            f'"{" ".join(v.split()[20:23])}" is: "{" ".join(v.split()[20:23])}'
            for v in verses
        ],
        "prose": [" ".join(v.split()[:12]) for v in verses],
    }
    if _DATA.value:
        rows = (row["document"] for _, row in sources.numbered(f"jsonl:{_DATA.value}"))
        documents = (row for row in rows if 80 <= len(row.split()) <= 160)
        texts["summary"] = [
            f"{d}\n\nThe description in short:"
            for d in itertools.islice(documents, count)
        ]
    return texts


def _inputs(tokenizer, prompts, sampled):
    """The tensors of a batch of prompts."""
    import tensorflow as tf

    from zoo.decode.sampling import Knobs
    from zoo.generation_config import GenerationConfig

    ids = tf.ragged.constant([tokenizer.prefix + tokenizer.encode(p) for p in prompts])
    generation = GenerationConfig(
        max_new_tokens=_NEW.value, temperature=1.0 if sampled else 0.0
    )
    knobs = Knobs.filled(generation, len(prompts))
    return ids.to_tensor(), tf.cast(ids.row_lengths(), tf.int32), knobs


def _side(model, tokenizer, drafts):
    """Answers a batch: what the loop gives, and its passes after the first."""
    import functools

    import tensorflow as tf

    from zoo.decode import loop
    from zoo.decode.sampling import Knobs

    counter = tf.Variable(0)

    class Counted:
        def __getattr__(self, name):
            return getattr(model, name)

        def step(self, *given):
            counter.assign_add(1)
            return model.step(*given)

        def steps(self, *given):
            counter.assign_add(1)
            return model.steps(*given)

    @functools.partial(
        tf.function,
        autograph=False,
        input_signature=[
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None], tf.int32),
            Knobs.specs(),
        ],
    )
    def answer(tokens_BT, lengths_B, knobs):
        ends, size = tuple(tokenizer.end_ids), tokenizer.vocab_size
        inputs = Counted(), tokens_BT, lengths_B, knobs
        return loop.decode(*inputs, ends, size, drafts=drafts)

    def run(*given):
        counter.assign(0)
        out = answer(*given)
        out.num_tokens.numpy()
        return out, int(counter.numpy())

    return run


if __name__ == "__main__":
    app.run(main)
