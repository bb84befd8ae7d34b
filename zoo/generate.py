"""Generates text: python -m zoo.generate --model=DIR --prompt="In the beginning" """

import dataclasses

from absl import flags

from zoo import command

_MODEL = flags.DEFINE_string("model", None, "A model directory.", required=True)
_PROMPT = flags.DEFINE_multi_string("prompt", [""], "A text to continue; may repeat.")
_CHAT = flags.DEFINE_bool("chat", False, "Answer each prompt as a user's message.")
# a knob that is left out has its value in generation_config.json
_KNOBS = command.define_knobs()


def main(argv):
    del argv
    with command.quiet_imports():
        from zoo import directory
        from zoo.decode import generate
        from zoo.text.chat import rendering

    loaded = directory.load(_MODEL.value)
    if loaded.model.config.task != "generate":
        raise ValueError(f"--model: {_MODEL.value} is no language model.")
    if loaded.tokenizer is None:
        raise ValueError(f"--model: {_MODEL.value} has no tokenizer.json.")
    generation = dataclasses.replace(loaded.generation, **command.given(_KNOBS))
    prompts = asked = _PROMPT.value
    if _CHAT.value:
        chats = ([{"role": "user", "content": prompt}] for prompt in prompts)
        asked = [rendering.encode(loaded.tokenizer, messages) for messages in chats]
    answers = generate(loaded.model, loaded.tokenizer, asked, generation)
    for prompt, answer in zip(prompts, answers, strict=True):
        print(answer.text if _CHAT.value else prompt + answer.text)


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
