"""Asks a SavedModel for text, as a server would, without Python TensorFlow:

python -m zoo.ask --saved_model=BASE/1 --prompt="In the beginning"
"""

from absl import flags

from zoo import command
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
    rows = len(_PROMPT.value)
    knobs = {name: [value] for name, value in command.given(_KNOBS).items()}
    if "seed" in knobs:
        knobs["seed"] = [knobs["seed"][0] + i for i in range(rows)]
    signature, inputs = "generate", {"prompt": _PROMPT.value}
    if _CHAT.value:
        signature, inputs = "chat", {"contents": [[text] for text in _PROMPT.value]}
        inputs["roles"] = [["user"]] * rows
    try:
        with command.quiet_imports():
            session = c_api.Session(_SAVED_MODEL.value)
        with session:
            answers = session.run(signature, {**inputs, **knobs})
    except c_api.Error as error:
        raise ValueError(f"{_SAVED_MODEL.value}: {error}") from None
    texts = answers["text"].tolist()
    for prompt, text in zip(_PROMPT.value, texts, strict=True):
        print(text.decode() if _CHAT.value else prompt + text.decode())


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
