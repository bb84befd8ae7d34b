"""What a reward reads: one answer to one prompt."""

from typing import Any, NamedTuple


class Sample(NamedTuple):
    """An answer, as text and as the tokens that the model sampled.

    Attributes:
      prompt: the text of the prompt; a chat is the text of its template.
      answer: the text of the answer, without the prompt.
      tokens: ids of the prompt and the answer, with the answer's end token if it has
        one; they are never made again from the text.
      ended: whether an end token ended the answer.
      example: the whole example of the prompt, with all its fields.
      start: the number of `tokens` that are the prompt's; the answer's follow.
    """

    prompt: str
    answer: str
    tokens: list[int]
    ended: bool
    example: dict[str, Any]
    start: int = 0

    @property
    def length(self) -> int:
        """The tokens of the answer, without its end token."""
        return len(self.tokens) - self.start - self.ended

    def shown(self) -> str:
        """The sample for messages: the ends of a long text are kept."""
        return f"prompt {_short(self.prompt)!r}, answer {_short(self.answer)!r}"


def _short(text: str, size: int = 80) -> str:
    """A text of at most `size` characters; the middle of a longer one is left out."""
    half = size // 2 - 3
    return text if len(text) <= size else f"{text[:half]} ... {text[-half:]}"
