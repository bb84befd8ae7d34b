"""The stage `language:en,de` keeps texts of these languages, by py3langid.

py3langid (Lui and Baldwin 2012) ships its model; extra `language`. Of a long text it
reads three pieces, at the start, in the middle and at the end.
"""

from typing import Any

from zoo.data.stages.stage import Dropped, Maker, Stage, library, names

_PIECE = 1000  # characters


def _language(argument: str) -> Stage:
    """The stage; loads the model."""
    langid: Any = library("py3langid.langid", "py3langid")
    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE)
    wanted = names(argument, set(identifier.labels), "the language")

    def run(text: str) -> str | Dropped:
        found = identifier.classify(_sample(text))[0]
        return text if found in wanted else Dropped(f"language {found}")

    return run


def _sample(text: str) -> str:
    """A part of the text that is large enough to tell its language."""
    if len(text) <= 3 * _PIECE:
        return text
    middle = (len(text) - _PIECE) // 2
    return f"{text[:_PIECE]} {text[middle : middle + _PIECE]} {text[-_PIECE:]}"


STAGES: dict[str, Maker] = {"language": _language}
