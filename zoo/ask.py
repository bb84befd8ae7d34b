"""Asks a SavedModel for text, as a server would, without Python TensorFlow:

python -m zoo.ask --saved_model=BASE/1 --prompt="In the beginning"
"""

from absl import flags

from zoo import flags as flags_lib
from zoo.saved_model import c_api

_SAVED_MODEL = flags.DEFINE_string(
    "saved_model", None, "The folder of one version.", required=True
)
_PROMPT = flags.DEFINE_multi_string("prompt", None, "May repeat.", required=True)


def main(argv):
    del argv
    with c_api.Session(_SAVED_MODEL.value) as session:
        answers = session.run("serving_default", {"prompt": _PROMPT.value})
    texts = answers["text"].tolist()
    for prompt, text in zip(_PROMPT.value, texts, strict=True):
        print(prompt + (text.decode() if isinstance(text, bytes) else text))


def run():
    flags_lib.run_app(main)


if __name__ == "__main__":
    run()
