"""Generates text: python -m zoo.generate --model=DIR --prompt="In the beginning" """

import dataclasses
import sys

from absl import flags

from zoo import command
from zoo.generation_config import DRAFTS, SEARCH

_MODEL = flags.DEFINE_string("model", None, "A model directory.", required=True)
_PROMPT = flags.DEFINE_multi_string("prompt", [""], "A text to continue; may repeat.")
_CHAT = flags.DEFINE_bool("chat", False, "Answer each prompt as a user's message.")
# a knob that is left out has its value in generation_config.json
_KNOBS = command.define_knobs(SEARCH + DRAFTS)


def main(argv):
    del argv
    prompts = asked = command.texts(_PROMPT)
    command.suggest_model(_MODEL)
    with command.quiet_imports(keras=True):
        from zoo import directory
        from zoo.decode import generate
        from zoo.saved_model import traces
        from zoo.text.chat import rendering

    loaded = directory.load(_MODEL.value)
    if loaded.model.config.task != "generate":
        raise ValueError(f"--model: {_MODEL.value} is no language model.")
    if loaded.tokenizer is None:
        raise ValueError(f"--model: {_MODEL.value} has no tokenizer.json.")
    if _CHAT.value and not loaded.tokenizer.chat_template:
        raise ValueError(f"--chat: {_MODEL.value} has no chat template.")
    given = command.given(_KNOBS)
    generation = dataclasses.replace(loaded.generation, **given)
    if _CHAT.value:
        chats = ([{"role": "user", "content": prompt}] for prompt in prompts)
        asked = [rendering.encode(loaded.tokenizer, messages) for messages in chats]
    # what the user gives must fit; a default of the model is lowered
    fit = not {"max_new_tokens", "top_k"} & given.keys()
    with traces.as_written():
        answers = generate(loaded.model, loaded.tokenizer, asked, generation, fit)
    each = generation.num_return_sequences
    shown = (prompt for prompt in prompts for _ in range(each))
    for prompt, answer in zip(shown, answers, strict=True):
        print(answer.text if _CHAT.value else prompt + answer.text)
    cut = [len(a.tokens) for a in answers if a.finish_reason == "length"]
    if cut and "max_new_tokens" not in given:
        print(
            f"{len(cut)} of {len(answers)} answers end after {max(cut)} tokens; "
            "--max_new_tokens sets another limit.",
            file=sys.stderr,
        )


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
