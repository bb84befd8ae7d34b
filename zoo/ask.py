"""Asks a SavedModel for text, as a server would, without Python TensorFlow:

python -m zoo.ask --saved_model=BASE/1 --prompt="In the beginning"
"""

from absl import flags

from zoo import command
from zoo.generation_config import row_seed
from zoo.saved_model.checker import c_api

_SAVED_MODEL = flags.DEFINE_string(
    "saved_model", None, "The folder of one version.", required=True
)
_PROMPT = flags.DEFINE_multi_string(
    "prompt", None, "A text to continue; may repeat.", required=True
)
_CHAT = flags.DEFINE_bool("chat", False, "Answer each prompt as a user's message.")
# a knob that is left out has the default of the SavedModel
_KNOBS = command.define_knobs()


def main(argv):
    del argv
    prompts = command.texts(_PROMPT)
    rows = range(len(prompts))
    knobs = {name: [value] for name, value in command.given(_KNOBS).items()}
    if "seed" in knobs:
        (seed,) = knobs["seed"]
        knobs["seed"] = [row_seed(seed, row) for row in rows]
    signature, inputs = "generate", {"prompt": prompts}
    if _CHAT.value:
        signature, inputs = "chat", {"contents": [[text] for text in prompts]}
        inputs["roles"] = [["user"] for _ in rows]
    try:
        with command.quiet_imports():
            session = c_api.Session(_SAVED_MODEL.value)
        with session:
            if signature not in session.signatures:
                raise ValueError(f"{_SAVED_MODEL.value} has no signature {signature}.")
            answers = session.run(signature, {**inputs, **knobs})
    except c_api.Error as error:
        raise ValueError(f"{_SAVED_MODEL.value}: {error}") from None
    texts = answers["text"].tolist()
    for prompt, text in zip(prompts, texts, strict=True):
        print(text.decode() if _CHAT.value else prompt + text.decode())


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
