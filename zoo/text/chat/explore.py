"""Finds chats on which a chat template may do something new.

Two ways complete each other. `pairs` tries all pairs of symbols in short chats, because
two conditions may matter only together. `follow` takes a chat, changes one answer, and
goes on where the change leads to new questions: so longer conjunctions are found
(Godefroid, Klarlund and Sen 2005, "DART").

Example: for `{% if a == "1" and b == "2" and c == "3" %}` the chat of the contents "x"
asks about `a` only. With "1" it asks about `b`, with "1" and "2" about `c`. Four chats
are enough, of 64 for all pairs, triples and single ones.
"""

import heapq
import itertools
import random
from collections.abc import Iterator

from zoo.text.chat.bimachine import Table, Word, Words
from zoo.text.chat.questions import Test
from zoo.text.chat.state_machine import DEAD

_CHATS = 200
_MOST_WORDS = 2048  # of triples, and of chats of four
_MOST_PATHS = 48  # of one order of roles
_PATIENCE = 12  # paths without a new question
_MOST_MESSAGES = 4096
_COUNTS = {2, 3, 5, 8}


def merge(words: Words) -> None:
    """Lets symbols stand for others that are written alike in all pairs."""
    seen: dict[int, list] = {n: [] for n in range(len(words.symbols))}
    for word in pairs(words):
        rules = words.rules(word)
        shown = rules and str(rules)
        for place, n in enumerate(word):
            seen[n].append((word[:place], word[place + 1 :], shown))
    first = {}
    for n, found in seen.items():
        kind = words.symbols[n].role, frozenset(found)
        words.stands_for[n] = first.setdefault(kind, n)


def pairs(words: Words) -> Iterator[Word]:
    """Chats with all pairs of symbols, alone and beside another message."""
    every, usual, users = range(len(words.symbols)), words.usual, words.users
    yield from ((n,) for n in users)
    yield from itertools.product(every, users)
    yield from itertools.product(every, every, usual[1:2])
    for a, b in itertools.product(every, users):
        # An order that is not allowed tells nothing of a pair.
        allowed = [(a, x, b) for x in usual] + [(x, a, b) for x in usual]
        default = [tuple(words.usual_of(n) for n in word) for word in allowed]
        fine = [w for w, d in zip(allowed, default, strict=True) if words.rules(d)]
        yield from fine if len(every) < 16 else fine[:1] + fine[-1:]


def follow(words: Words, start: Word, tried: dict[Test, int]) -> Iterator[Word]:
    """Chats that differ from a chat in some answers; those with new questions first.

    Args:
      words: renders chats.
      start: the chat.
      tried: counts by test how often another answer led to no new question; it grows.
    """
    queue, known, vain = [(0, 0, start)], set(), 0
    causes: dict[Word, Test | None] = {start: None}
    for _ in range(_MOST_PATHS):
        if not queue or vain > _PATIENCE:
            return
        _, _, word = heapq.heappop(queue)
        cause = causes[word]
        yield word
        asked = words.asked(word)
        fresh = {(place, test) for place, test, _ in asked} - known
        known |= fresh
        vain = 0 if fresh else vain + 1
        if cause is not None:
            tried[cause] = 0 if fresh else tried.get(cause, 0) + 1
        wanted = {}
        for place, test, answer in asked:
            before = wanted.setdefault(place, frozenset())
            other = words.with_answers(word[place], before | {(test, not answer)})
            wanted[place] = before | {(test, answer)}
            if other is None:
                continue
            changed = (*word[:place], other, *word[place + 1 :])
            if changed not in causes:
                causes[changed] = test
                rank = tried.get(test, 0) + ((place, test) not in fresh)
                heapq.heappush(queue, (rank, len(causes), changed))


def chats(
    words: Words, table: Table, numbers: list[int], rng: random.Random
) -> Iterator[Word]:
    """Chats to compare: followed, triples, random and repeated ones.

    Args:
      words: renders chats.
      table: a machine; random chats are mostly of orders that it allows.
      numbers: in the template; chats about as long are compared, too.
      rng: draws the random chats.
    """
    system, user, assistant = words.usual
    orders = [o for n in range(4) for o in itertools.product(words.usual, repeat=n)]
    for size in (4, 5, 6, 7):
        for pair in ((user, user), (user, assistant), (assistant, user)):
            order = (pair * size)[:size]
            orders += [order, (system, *order[1:])]
    orders += [
        tuple(rng.choices(words.usual, k=n)) for n in (4, 5, 6) for _ in range(24)
    ]
    tried: dict[Test, int] = {}
    for order in orders:
        yield from follow(words, (*order, user), tried)
    kept = words.kept
    ends = [n for n in words.users if n in kept]
    for size in (2, 3):
        if len(kept) ** size * len(ends) <= _MOST_WORDS:
            yield from itertools.product(*[kept] * size, ends)
    near = {n + d for n in numbers if n <= _MOST_MESSAGES for d in (-1, 0, 1, 2)}
    near = sorted(n for n in near | _COUNTS if n > 0)
    sizes = [2 + n % 7 for n in range(_CHATS)] + [33] * 6
    sizes += [n for n in near for _ in range(2 + 160 // (n + 8))]
    yield from (_random(rng, words, table, size) for size in sorted(sizes))
    yield from (word for count in near for word in _repeated(words, count))


def _random(rng, words, table, size):
    """A random chat; about half of them are of an order that is allowed."""
    every, found, state = range(len(words.symbols)), [], 0
    for _ in range(size - 1):
        row = table.next_state[state]
        allowed = [n for n in every if row[table.column[n]] != DEAD]
        if not allowed:
            break
        found.append(rng.choice(allowed))
        state = row[table.column[found[-1]]]
    ends = table.ends[state]
    allowed = [n for n in words.users if ends[table.column[n]]] or words.users
    if found and rng.random() < 0.5:
        found[rng.randrange(len(found))] = rng.choice(every)
    return (*found, rng.choice(allowed))


def _repeated(words, count):
    """Chats with so many messages of a kind, alone, before and behind others."""
    system, user, assistant = words.usual
    for n in words.kept if count < 16 else words.usual:
        for pair in ((n,), (n, assistant), (user, n), (n, user)):
            chat = pair * count
            yield from ((*chat, user), (*chat[:-1], user), (system, *chat, user))
            yield (*chat, user, assistant, user)
            if n in words.users:
                yield (*chat, n)
