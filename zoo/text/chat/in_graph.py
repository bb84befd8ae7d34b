"""Runs a chat template's state machine in a TensorFlow graph: messages to tokens.

All messages of all rows are done at once. Each message maps a state to the next state.
Composing maps is associative, so a prefix scan finds the states of M messages in log M
rounds (Hillis and Steele 1986, "Data Parallel Algorithms"); the states behind messages
are found from the end. Special tokens come from the template only: its texts carry them
as bytes that UTF-8 does not have, and contents are not searched for special tokens.
"""

import datetime
from collections.abc import Callable

import tensorflow as tf

from zoo.text.chat import special_tokens, tables
from zoo.text.chat.questions import DATE, Op, Test
from zoo.text.chat.state_machine import OWN, ROLES, ChatMachine, Slot
from zoo.text.chat.tables import NONE
from zoo.text.in_graph import pre_tokenizers, ragged_ops
from zoo.text.in_graph.tokenizer import GraphTokenizer, valid_utf8
from zoo.text.tokenizer import Tokenizer

_CPU = "/CPU:0"
_MOST_SHOWN = 200  # bytes of a content in an error


class GraphChat(tf.Module):
    """Turns roles and contents into tokens inside a `tf.function`.

    Attributes:
      uses_date: whether a chat's text has the date.
    """

    def __init__(
        self, tokenizer: Tokenizer, graph: GraphTokenizer, machine: ChatMachine
    ):
        """Builds the tables.

        Args:
          tokenizer: has the special tokens that the template writes.
          graph: the same tokenizer, built for a graph.
          machine: of the tokenizer's chat template.

        Raises:
          ValueError: a special token strips the spaces of a content beside it.
        """
        super().__init__()
        used = machine.used()
        self._allowed = f"allowed: {', '.join(used)}"
        self._order = f"allowed: {machine.order()}"
        self._graph = graph
        self.uses_date = machine.uses_date
        self._format = machine.date_format
        self._tests, weights = tables.tests(machine)
        self._dead, self._count = len(machine.next_state), len(machine.next_state[0])
        rules = list(dict.fromkeys(rule.parts for rule in machine.rules.values()))
        slots = [[p for p in parts if isinstance(p, Slot)] for parts in rules]
        self._slots = sorted({slot for row in slots for slot in row})
        width = max(map(len, slots), default=0)
        with tf.device(_CPU):
            numbers = {role: ROLES.index(role) for role in used} | {"": NONE}
            self._roles = ragged_ops.table(numbers, tf.string, tf.int32, -1)
            shape = [NONE + 1, len(self._tests)]
            self._weights = tf.constant(weights, tf.int64, shape)
            keys = {tables.key(*kind): n for kind, n in machine.symbols.items()}
            self._symbols = ragged_ops.table(keys, tf.int64, tf.int32, -1)
            self._next = tf.constant(tables.forward_maps(machine))
            self._before = tf.constant(tables.backward_maps(machine))
            shape = [self._dead, self._count, len(machine.back_state)]
            self._rule = tf.constant(tables.places(machine, rules), shape=shape)
            self._role_fits = tf.constant(tables.role_fits(machine))
            texts, marks = special_tokens.marked(
                tokenizer,
                [text for parts in rules for text in tables.texts(parts, width)],
            )
            self._marks = ragged_ops.table(marks, tf.string, tf.int32, -1)
            self._texts = tf.constant(texts, shape=[len(rules), width + 1])
            chosen = [[self._slots.index(slot) for slot in row] for row in slots]
            chosen = [row + [-1] * (width - len(row)) for row in chosen]
            self._slot = tf.constant(chosen, tf.int32, [len(rules), width])

    def __call__(
        self,
        roles_BM: tf.Tensor,
        contents_BM: tf.Tensor,
        require: Callable,
        date_string: tf.Tensor | None = None,
    ) -> tf.RaggedTensor:
        """The tokens of chats, for the model to answer.

        Args:
          roles_BM: string [B, M]; "" behind the last message of a row.
          contents_BM: string [B, M], valid UTF-8.
          require: `require(valid_B, name, value_B, allowed, result)` returns `result`
            if all rows are valid; else it raises INVALID_ARGUMENT with the input's
            name, the row, its value and what is allowed.
          date_string: string [B], the date as the template writes it; None is the day
            on which this is traced. A template without a date ignores it.

        Returns:
          int32 [B, None].
        """
        with tf.device(_CPU):
            roles_BM, contents_BM = _padded(roles_BM, contents_BM)
            role_BM = self._known(roles_BM, contents_BM, require)
            contents_BM = self._checked(contents_BM, require)
            date_B = self._date(date_string, tf.shape(roles_BM)[0], require)
            symbol_BM = self._symbol(role_BM, contents_BM, require)
            rule_BM = self._rules(role_BM, symbol_BM, roles_BM, contents_BM, require)
            return self._tokens(rule_BM, contents_BM, date_B)

    def date_default(self) -> str:
        """The date of today, as the template writes it; "" for one without a date."""
        return datetime.datetime.now().strftime(self._format)

    def _known(self, roles_BM, contents_BM, require):
        """The number of each role, after checks of names and empty messages."""
        role_BM = self._roles.lookup(roles_BM)
        odd_BM = role_BM < 0
        value_B = _first(odd_BM, roles_BM)
        role_BM = require(~_any(odd_BM), "roles", value_B, self._allowed, role_BM)
        real_BM = role_BM != NONE
        later_BM = tf.cumsum(tf.cast(real_BM, tf.int32), 1, reverse=True) > 0
        row_B = tf.strings.reduce_join(roles_BM, 1, separator=", ")
        row_B = tf.strings.regex_replace(row_B, "(, )+$", "")
        allowed = '"" allowed at the end only'
        role_BM = require(~_any(later_BM & ~real_BM), "roles", row_B, allowed, role_BM)
        allowed = "at least one message allowed"
        role_BM = require(_any(real_BM), "roles", row_B, allowed, role_BM)
        odd_BM = ~real_BM & (contents_BM != "")
        allowed = 'only "" allowed where roles has none'
        value_B = _shortened(_first(odd_BM, contents_BM))
        role_BM = require(~_any(odd_BM), "contents", value_B, allowed, role_BM)
        return role_BM

    def _checked(self, contents_BM, require):
        """The contents, after a check of their bytes."""
        odd_BM = tf.logical_not(valid_utf8(contents_BM))
        value_B = _first(odd_BM, contents_BM)
        return require(
            ~_any(odd_BM), "contents", value_B, "valid UTF-8 allowed", contents_BM
        )

    def _date(self, date_string, rows, require):
        """The date of each row, [B]."""
        if date_string is None:
            return tf.fill([rows], self.date_default())
        valid_B = valid_utf8(date_string)
        return require(valid_B, "date_string", date_string, "valid UTF-8 allowed")

    def _symbol(self, role_BM, contents_BM, require):
        """The symbol of each message; -1 for none."""
        weight_BMT = tf.gather(self._weights, role_BM)
        cache = {(): contents_BM}
        key_BM = tf.cast(role_BM, tf.int64)
        for place, test in enumerate(self._tests):
            answer_BM = _answer(test, contents_BM, cache)
            key_BM += tf.where(answer_BM, weight_BMT[..., place], 0)
        symbol_BM = self._symbols.lookup(key_BM)
        odd_BM = (symbol_BM < 0) & (role_BM != NONE)
        value_B = _shortened(_first(odd_BM, contents_BM))
        allowed = "only contents allowed whose form the chat template was tried with"
        return require(~_any(odd_BM), "contents", value_B, allowed, symbol_BM)

    def _rules(self, role_BM, symbol_BM, roles_BM, contents_BM, require):
        """The rule of each message, after a check of the order; -1 for none."""
        real_BM = role_BM != NONE
        last_BM = real_BM & (tf.roll(role_BM, -1, 1) == NONE)
        value_B = _first(last_BM, roles_BM)
        user_BM = role_BM == ROLES.index("user")
        allowed = "user allowed at the end"
        valid_B = _any(last_BM & user_BM)
        symbol_BM = require(valid_B, "roles", value_B, allowed, symbol_BM)
        # The last of the columns is for empty messages, those before for last ones.
        column_BM = tf.where(real_BM, symbol_BM, 2 * self._count)
        column_BM += tf.where(last_BM, self._count, 0)
        after_BM = _run(tf.gather(self._next, column_BM))
        state_BM = tf.pad(after_BM[:, :-1], [[0, 0], [1, 0]])
        odd_BM = (after_BM == self._dead) & (state_BM != self._dead) & real_BM
        fits_BM = tf.gather_nd(
            self._role_fits,
            tf.stack([state_BM, role_BM, tf.cast(last_BM, tf.int32)], -1),
        )
        value_B = _up_to_first(odd_BM & tf.logical_not(fits_BM), roles_BM)
        valid_B = ~_any(odd_BM & tf.logical_not(fits_BM))
        state_BM = require(valid_B, "roles", value_B, self._order, state_BM)
        value_B = _shortened(_first(odd_BM, contents_BM))
        allowed = "only contents allowed that the chat template accepts there"
        state_BM = require(~_any(odd_BM), "contents", value_B, allowed, state_BM)
        maps_BMR = tf.gather(self._before, tf.where(real_BM, symbol_BM, self._count))
        behind_BM = _run(maps_BMR[:, ::-1])[:, ::-1]
        behind_BM = tf.pad(behind_BM[:, 1:], [[0, 0], [0, 1]])
        place_BM3 = tf.stack([state_BM, tf.maximum(symbol_BM, 0), behind_BM], -1)
        rule_BM = tf.where(real_BM, tf.gather_nd(self._rule, place_BM3), -1)
        odd_BM = real_BM & (rule_BM < 0)
        value_B = _shortened(_first(odd_BM, contents_BM))
        return require(~_any(odd_BM), "contents", value_B, allowed, rule_BM)

    def _tokens(self, rule_BM, contents_BM, date_B):
        """The tokens of each chat's text."""
        cache = {(): contents_BM}
        written = []
        for slot in self._slots:
            if slot.source == DATE:
                text_BM = _applied(slot.ops, {(): date_B[:, None]})
            else:
                text_BM = _applied(slot.ops, cache)
            if slot.source != OWN:
                text_BM = tf.broadcast_to(text_BM[:, :1], tf.shape(contents_BM))
            written.append(text_BM)
        safe_BM = tf.maximum(rule_BM, 0)
        texts, slots = tf.gather(self._texts, safe_BM), tf.gather(self._slot, safe_BM)
        parts = [texts[..., 0]]
        for place in range(slots.shape[-1]):
            part_BM = tf.zeros_like(contents_BM)
            for number, text_BM in enumerate(written):
                part_BM = tf.where(slots[..., place] == number, text_BM, part_BM)
            parts += [part_BM, texts[..., place + 1]]
        text_BM = tf.where(rule_BM >= 0, tf.strings.join(parts), "")
        parts_BP, token_P = self._graph.split(tf.strings.reduce_join(text_BM, 1))
        token_P = tf.maximum(token_P, self._marks.lookup(parts_BP.values))
        return self._graph.encode_parts(parts_BP, token_P)


def _applied(ops, cache):
    """The texts after some steps; a cache has them by their steps."""
    if ops not in cache:
        pattern, new = _pattern(ops[-1])
        earlier = _applied(ops[:-1], cache)
        cache[ops] = tf.strings.regex_replace(earlier, pattern, new)
    return cache[ops]


def _pattern(op: Op):
    """The pattern and the rewrite of a step."""
    text = _exact(op.text) if "strip" not in op.kind else f"{_one_of(op.text)}+"
    patterns = {
        "lstrip": (f"^{text}", ""),
        "rstrip": (f"{text}$", ""),
        "after_first": (f"(?s)^.*?{text}", ""),
        "after_last": (f"(?s)^.*{text}", ""),
        "before_first": (f"(?s){text}.*", ""),
        "before_last": (f"(?s)^(.*){text}.*", r"\1"),
        "replace": (text, op.new.replace("\\", "\\\\")),
    }
    return patterns[op.kind]


def _answer(test: Test, contents_BM, cache):
    """The answers of a test, [B, M]."""
    text_BM = _applied(test.ops, cache)
    if test.kind == "filled":
        return text_BM != ""
    texts = "|".join(map(_exact, test.texts))
    before = ".*" if test.kind in ("contains", "ends") else ""
    behind = ".*" if test.kind in ("contains", "starts") else ""
    return tf.strings.regex_full_match(text_BM, f"(?s){before}(?:{texts}){behind}")


def _one_of(letters):
    """The pattern of one of some characters."""
    return f"[{pre_tokenizers.ranges(map(ord, letters))}]"


def _exact(text):
    """The pattern of a text."""
    return "".join(map(_one_of, text))


def _run(map_BMS):
    """The state after each message, [B, M], from maps between states, [B, M, S]."""
    count = tf.shape(map_BMS)[1]
    place_M = tf.range(count)
    same_S = tf.range(tf.shape(map_BMS)[2])

    def join(width, map_BMS):
        earlier_BMS = tf.gather(map_BMS, tf.maximum(place_M - width, 0), axis=1)
        far_M = place_M >= width
        earlier_BMS = tf.where(far_M[:, None], earlier_BMS, same_S)
        return 2 * width, tf.gather(map_BMS, earlier_BMS, batch_dims=2)

    _, map_BMS = tf.while_loop(lambda width, _: width < count, join, [1, map_BMS])
    return map_BMS[:, :, 0]


def _padded(roles_BM, contents_BM):
    """Both inputs, one empty message longer, so that M is not 0."""
    shapes = tf.shape(roles_BM), tf.shape(contents_BM)
    message = tf.strings.format("contents: shape {}, but roles has {}", shapes[::-1])
    alike = tf.debugging.Assert(tf.reduce_all(shapes[0] == shapes[1]), [message])
    with tf.control_dependencies([alike]):
        more = [[0, 0], [0, 1]]
        return tf.pad(roles_BM, more, constant_values=""), tf.pad(
            contents_BM, more, constant_values=""
        )


def _any(value_BM):
    return tf.reduce_any(value_BM, 1)


def _first(wanted_BM, value_BM):
    """The first value of each row where `wanted` is true, [B]; else the row's first."""
    return tf.gather(value_BM, tf.argmax(tf.cast(wanted_BM, tf.int32), 1), batch_dims=1)


def _up_to_first(wanted_BM, text_BM):
    """The texts of each row up to the first where `wanted` is true, as a list, [B]."""
    wanted_BM = tf.cast(wanted_BM, tf.int32)
    shown_BM = tf.cumsum(wanted_BM, 1, exclusive=True) == 0
    first_BM = tf.range(tf.shape(text_BM)[1]) == 0
    text_BM = tf.where(first_BM, text_BM, tf.strings.join([", ", text_BM]))
    return tf.strings.reduce_join(tf.where(shown_BM, text_BM, ""), 1)


def _shortened(text_B):
    return tf.strings.substr(text_B, 0, _MOST_SHOWN)
