"""Cleaning: the steps of `data.clean`, composed by name.

newlines, control, trim and nfc are stages of `zoo.data.stages.characters`. nfc is off
by default: tokenizers of other models may have different tokens for the two forms.
"""

from collections.abc import Callable, Iterable

from zoo.data.stages.characters import control, newlines, nfc, trim
from zoo.fields import one_of

STEPS: dict[str, Callable[[str], str]] = {
    step.__name__: step for step in (newlines, control, trim, nfc)
}
DEFAULT = ("newlines", "control", "trim")


def clean(text: str, steps: Iterable[str] = DEFAULT) -> str:
    """Applies the named steps in the given order.

    Raises:
      ValueError: an unknown step; the message lists the known steps.
    """
    for name in steps:
        one_of("cleaning step", name, STEPS)
        text = STEPS[name](text)
    return text
