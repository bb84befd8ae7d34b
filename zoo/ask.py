"""Asks a SavedModel, as a server would, without Python TensorFlow:

python -m zoo.ask --saved_model=BASE/1 --prompt="In the beginning"   # goes on
python -m zoo.ask --saved_model=BASE/1 --text="Such a good film"     # any other task

An encoder-decoder answers --text, and reads the knobs of generation.
"""

from collections.abc import Iterator
from typing import Any

from absl import flags

from zoo import command
from zoo.generation_config import SEARCH
from zoo.row_seeds import row_seed
from zoo.saved_model.checker import c_api

_TASKS = ("classify", "regress", "tag", "fill_mask", "embed")

_SAVED_MODEL = flags.DEFINE_string(
    "saved_model", None, "The folder of one version.", required=True
)
_PROMPT = flags.DEFINE_multi_string("prompt", None, "A text to continue; may repeat.")
_TEXT = flags.DEFINE_multi_string(
    "text",
    None,
    "A source that an encoder-decoder answers; or a text for the signature "
    f"{', '.join(_TASKS)}, of which the first is asked that there is; may repeat.",
)
flags.mark_flags_as_mutual_exclusive(["prompt", "text"], required=True)
_CHAT = flags.DEFINE_bool("chat", False, "Answer each prompt as a user's message.")
# a knob that is left out has the default of the SavedModel
_KNOBS = command.define_knobs(SEARCH)


def main(argv):
    del argv
    asked = _PROMPT if _TEXT.value is None else _TEXT
    texts = command.texts(asked)
    try:
        with command.quiet_imports():
            session = c_api.Session(_SAVED_MODEL.value)
        with session:
            signature, inputs = _request(session, texts)
            answers = session.run(signature, inputs)
    except c_api.Error as error:
        raise ValueError(f"{_SAVED_MODEL.value}: {error}") from None
    rows = {name: value.tolist() for name, value in answers.items()}
    for row, text in enumerate(texts):
        answer = {name: values[row] for name, values in rows.items()}
        if _TEXT.value is None:
            for found in _texts(answer):
                print(("" if _CHAT.value else text) + found)
        else:
            print(*_lines(signature, text, answer), sep="\n")


def _request(session, texts) -> tuple[str, dict[str, Any]]:
    """The signature to ask and its inputs."""
    knobs = {name: [value] for name, value in command.given(_KNOBS).items()}
    rows = range(len(texts))
    if "seed" in knobs:
        (seed,) = knobs["seed"]
        knobs["seed"] = [row_seed(seed, row) for row in rows]
    known = session.signatures
    answers_text = "generate" in known and "text" in known["generate"].inputs
    if answers_text and (_TEXT.value is None or _CHAT.value):
        name = "chat" if _CHAT.value else "prompt"
        raise ValueError(
            f"--{name}: {_SAVED_MODEL.value} answers sources; --text alone allowed."
        )
    if answers_text:
        return "generate", {"text": texts, **knobs}
    if _TEXT.value is not None:
        if knobs or _CHAT.value:
            name = next(iter(knobs), "chat")
            raise ValueError(f"--{name}: for --prompt, and --text is given.")
        found = [name for name in _TASKS if name in known]
        if not found:
            raise ValueError(
                f"{_SAVED_MODEL.value} has no signature {', '.join(_TASKS)}; --prompt "
                "allowed."
            )
        return found[0], {"text": texts}
    signature, inputs = "generate", {"prompt": texts}
    if _CHAT.value:
        signature, inputs = "chat", {"contents": [[text] for text in texts]}
        inputs["roles"] = [["user"] for _ in rows]
    if signature not in known:
        raise ValueError(f"{_SAVED_MODEL.value} has no signature {signature}.")
    return signature, {**inputs, **knobs}


def _texts(answer: dict[str, Any]) -> list[str]:
    """The texts of an answer: several of a search."""
    return [text.decode() for text in answer.get("texts", [answer["text"]])]


def _lines(signature: str, text: str, answer: dict[str, Any]) -> Iterator[str]:
    """The answer to one text, in lines."""
    if signature == "generate":
        yield from _texts(answer)
    elif signature == "classify":
        yield f"{answer['label'].decode()} {answer['probability']:.4f}"
    elif signature == "regress":
        yield f"{answer['value']:.6g}"
    elif signature == "tag":
        for i in range(answer["num_spans"]):
            word = text.encode()[answer["starts"][i] : answer["ends"][i]].decode()
            label = answer["labels"][i].decode()
            yield f"{word} {label} {answer['probabilities'][i]:.4f}"
    elif signature == "fill_mask":
        for i in range(answer["num_masks"]):
            pairs = zip(answer["tokens"][i], answer["probabilities"][i], strict=True)
            yield ", ".join(f"{token.decode()} {share:.4f}" for token, share in pairs)
        yield answer["text"].decode()
    else:
        yield " ".join(f"{number:.6g}" for number in answer["embedding"])


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
