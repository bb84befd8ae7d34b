"""Asks a SavedModel for text, as a server would, without Python TensorFlow:

python -m zoo.ask --saved_model=BASE/1 --prompt="In the beginning"
"""

from absl import flags

from zoo import command as flags_lib
from zoo.saved_model.checker import c_api

_SAVED_MODEL = flags.DEFINE_string(
    "saved_model", None, "The folder of one version.", required=True
)
_PROMPT = flags.DEFINE_multi_string("prompt", None, "May repeat.", required=True)
_CHAT = flags.DEFINE_bool("chat", False, "Answer each prompt as a user's message.")
# left out, a knob is what the SavedModel says
_KNOBS = flags_lib.define_knobs()


def main(argv):
    del argv
    knobs = {name: [value] for name, value in flags_lib.given(_KNOBS).items()}
    if "seed" in knobs:
        knobs["seed"] = [knobs["seed"][0] + i for i in range(len(_PROMPT.value))]
    if "stop" in knobs:
        knobs["stop"] = knobs["stop"] * len(_PROMPT.value)
    signature, inputs = "generate", {"prompt": _PROMPT.value}
    if _CHAT.value:
        signature, inputs = "chat", {"contents": [[text] for text in _PROMPT.value]}
        inputs["roles"] = [["user"]] * len(_PROMPT.value)
    try:
        with c_api.Session(_SAVED_MODEL.value) as session:
            answers = session.run(signature, {**inputs, **knobs})
    except c_api.Error as error:
        raise ValueError(f"{_SAVED_MODEL.value}: {error}") from None
    texts = answers["text"].tolist()
    for prompt, text in zip(_PROMPT.value, texts, strict=True):
        print(text.decode() if _CHAT.value else prompt + text.decode())


def run():
    flags_lib.run_app(main)


if __name__ == "__main__":
    run()
