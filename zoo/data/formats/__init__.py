"""Formats: from examples to token ids, a file a format.

lm            whole documents as one stream; every token is learnt
chat          messages by the chat template; the assistant's are learnt
instruction   instruction, input and output in Alpaca's text; the output is learnt
pair          texts that mean the same, with optional hard negatives
preference    a prompt with a chosen and a rejected answer
prompt        prompt and completion; the completion is learnt
prompts       a text or messages, which the model answers; nothing is learnt
seq2seq       a source and a target, which an encoder-decoder learns
classify      a text and its label
tag           words and the tag of each one
windows       whole documents, cut into windows for masked language models
"""

from zoo.data.formats import (
    chat,
    classify,
    instruction,
    labels,
    pair,
    preference,
    prompt,
    prompts,
    rows,
    seq2seq,
    tag,
)
from zoo.data.formats.labels import Labels
from zoo.data.formats.lm import Stream, language_model
from zoo.data.formats.rows import Format, Row, Rows
from zoo.data.formats.windows import windows

BY_NAME: dict[str, Format] = {
    "chat": chat.FORMAT,
    "classify": classify.FORMAT,
    "instruction": instruction.FORMAT,
    "pair": pair.FORMAT,
    "preference": preference.FORMAT,
    "prompt": prompt.FORMAT,
    "prompts": prompts.FORMAT,
    "seq2seq": seq2seq.FORMAT,
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
    "prompts",
    "rows",
    "seq2seq",
    "tag",
    "windows",
]
