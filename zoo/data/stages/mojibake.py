"""The stage `mojibake`: repairs text that was decoded by the wrong table, by ftfy.

"schÃ¶n" becomes "schön". Only this changes: quotes, widths and normal forms stay. Extra
`prepare`.
"""

from typing import Any

from zoo.data.stages.stage import Maker, Stage, library, plain


def _mojibake(argument: str) -> Stage:
    """The stage; the library is imported here, because it is optional."""
    ftfy: Any = library("ftfy", "ftfy")
    config = ftfy.TextFixerConfig(
        explain=False,
        unescape_html=False,
        remove_terminal_escapes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        remove_control_chars=False,
        normalization=None,
    )

    def mojibake(text: str) -> str:
        return text if text.isascii() else ftfy.fix_text(text, config)

    return plain(mojibake)(argument)


STAGES: dict[str, Maker] = {"mojibake": _mojibake}
