"""Formats: from examples to token ids, a file a format.

lm            whole documents as one stream; every token is learnt
chat          messages by the chat template; the assistant's are learnt
instruction   instruction, input and output in Alpaca's text; the output is learnt
prompt        prompt and completion; the completion is learnt
classify      a text and its label
tag           words and the tag of each one
"""

from zoo.data.formats import chat, classify, instruction, labels, prompt, rows, tag
from zoo.data.formats.labels import Labels
from zoo.data.formats.lm import Stream, language_model
from zoo.data.formats.rows import Format, Row, Rows

BY_NAME: dict[str, Format] = {
    "chat": chat.FORMAT,
    "classify": classify.FORMAT,
    "instruction": instruction.FORMAT,
    "prompt": prompt.FORMAT,
    "tag": tag.FORMAT,
}
NAMES = ("lm", *BY_NAME)

__all__ = [
    "BY_NAME",
    "NAMES",
    "Format",
    "Labels",
    "Row",
    "Rows",
    "Stream",
    "labels",
    "language_model",
    "rows",
    "tag",
]
