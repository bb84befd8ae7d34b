"""Entities in sequences of tags, by the definition of conlleval and seqeval.

A tag is `O`, or a mark and a type: `B-PER` begins an entity, `I-PER` continues, `E-PER`
ends, and `S-PER` is an entity of one token. All schemes of these marks (IO, IOB1, IOB2,
BIOES) have one reading. An entity ends where the type changes, and an `I` without a
beginning begins one. So `I-PER I-PER O` and `B-PER E-PER O` both are one PER.
Sources: conlleval (Tjong Kim Sang 2000), seqeval (github.com/chakki-works/seqeval).
"""

from collections.abc import Sequence

import numpy as np

_MARKS = ("B", "I", "E", "S")

Entity = tuple[str, int, int]  # type, first token, token after the last


def entities(tags: Sequence[str]) -> set[Entity]:
    """The entities of one sequence.

    Raises:
      ValueError: a tag is neither `O` nor a mark, a hyphen and a type.
    """
    found, first, before = set(), 0, ("O", "")
    for place, tag in enumerate([*tags, "O"]):
        mark, kind = now = _parsed(tag)
        other = before[1] != kind
        if before[0] != "O" and (before[0] in "ES" or mark in "BSO" or other):
            found.add((before[1], first, place))
        if mark != "O" and (mark in "BS" or before[0] in "OES" or other):
            first = place
        before = now
    return found


def entity_counts(
    labels: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> np.ndarray:
    """The entities of each sequence: right ones, answered ones and given ones.

    Args:
      labels: the right tags of each sequence.
      predicted: the answered tags, as many in each sequence.

    Returns:
      int64 [N, 3].

    Raises:
      ValueError: there is no sequence, lengths differ, or a tag has another form.
    """
    if len(labels) != len(predicted) or not len(labels):
        raise ValueError(
            f"sequences: {len(predicted)} answered, as many as the {len(labels)} given "
            "ones allowed, and at least 1."
        )
    counts = np.zeros((len(labels), 3), np.int64)
    for number, (right, answered) in enumerate(zip(labels, predicted, strict=True)):
        if len(right) != len(answered):
            raise ValueError(
                f"sequence {number}: {len(answered)} tags, as many as the "
                f"{len(right)} given ones allowed."
            )
        given, found = entities(right), entities(answered)
        counts[number] = len(given & found), len(found), len(given)
    return counts


def f1_of_counts(counts_N3: np.ndarray) -> float:
    """The F1 of all sequences together, 0 to 1; 0 where there is no entity."""
    right, answered, given = np.sum(counts_N3, 0)
    return float(2 * right / max(answered + given, 1))


def entity_f1(
    labels: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> float:
    """The F1 of entities: type, beginning and end must be right.

    Arguments and errors are those of `entity_counts`.
    """
    return f1_of_counts(entity_counts(labels, predicted))


def _parsed(tag: str) -> tuple[str, str]:
    """The mark and the type of a tag."""
    mark, hyphen, kind = tag.partition("-")
    if tag == "O":
        return "O", ""
    if mark not in _MARKS or not hyphen or not kind:
        raise ValueError(
            f"tag: {tag!r}, O or one of B-, I-, E-, S- before a type allowed."
        )
    return mark, kind
