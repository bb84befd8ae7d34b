"""Generates text: python -m zoo.generate --model=DIR --prompt="In the beginning" """

import dataclasses

from absl import flags

from zoo import directory
from zoo import flags as flags_lib
from zoo.decode import generate

_MODEL = flags.DEFINE_string("model", None, "A model directory.", required=True)
_PROMPT = flags.DEFINE_multi_string("prompt", [""], "What to continue; may repeat.")
# left out, a knob is what generation_config.json says
_KNOBS = {
    "max_new_tokens": flags.DEFINE_integer("max_new_tokens", None, "At least 1."),
    "temperature": flags.DEFINE_float("temperature", None, "0 is greedy."),
    "top_k": flags.DEFINE_integer("top_k", None, "0 is off."),
    "top_p": flags.DEFINE_float("top_p", None, "In (0, 1]; 1 is off."),
    "min_p": flags.DEFINE_float("min_p", None, "In [0, 1]; 0 is off."),
    "repetition_penalty": flags.DEFINE_float("repetition_penalty", None, "1 is off."),
    "seed": flags.DEFINE_integer("seed", None, "Of sampling; prompt i has seed + i."),
}


def main(argv):
    del argv
    loaded = directory.load(_MODEL.value)
    if loaded.tokenizer is None:
        raise ValueError(f"--model: {_MODEL.value} is no model of text.")
    given = {name: flag.value for name, flag in _KNOBS.items()}
    given = {name: value for name, value in given.items() if value is not None}
    generation = dataclasses.replace(loaded.generation, **given)
    prompts = _PROMPT.value
    answers = generate(loaded.model, loaded.tokenizer, prompts, generation)
    for prompt, answer in zip(prompts, answers, strict=True):
        print(prompt + answer.text)


def run():
    flags_lib.run_app(main)


if __name__ == "__main__":
    run()
