"""Generates text: python -m zoo.generate --model=DIR --prompt="In the beginning" """

import dataclasses

from absl import flags

from zoo import command as flags_lib
from zoo import directory
from zoo.decode import generate
from zoo.text.chat import rendering

_MODEL = flags.DEFINE_string("model", None, "A model directory.", required=True)
_PROMPT = flags.DEFINE_multi_string("prompt", [""], "What to continue; may repeat.")
_CHAT = flags.DEFINE_bool("chat", False, "Answer each prompt as a user's message.")
# left out, a knob is what generation_config.json says
_KNOBS = flags_lib.define_knobs()


def main(argv):
    del argv
    loaded = directory.load(_MODEL.value)
    if loaded.tokenizer is None or not hasattr(loaded.model, "logits"):
        raise ValueError(f"--model: {_MODEL.value} is no language model.")
    generation = dataclasses.replace(loaded.generation, **flags_lib.given(_KNOBS))
    prompts = _PROMPT.value
    asked = prompts
    if _CHAT.value:
        said = ([{"role": "user", "content": prompt}] for prompt in prompts)
        asked = [rendering.encode(loaded.tokenizer, messages) for messages in said]
    answers = generate(loaded.model, loaded.tokenizer, asked, generation)
    for prompt, answer in zip(prompts, answers, strict=True):
        print(answer.text if _CHAT.value else prompt + answer.text)


def run():
    flags_lib.run_app(main)


if __name__ == "__main__":
    run()
