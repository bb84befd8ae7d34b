"""Runs a chat template's state machine in a TensorFlow graph: messages to tokens.

All messages of all rows are done at once. Each message maps a state to the next state.
Composing maps is associative, so a prefix scan finds the states of M messages in log M
rounds (Hillis and Steele 1986, "Data Parallel Algorithms"). Special tokens come from
the template only: its texts carry them as bytes that UTF-8 does not have, and contents
are not searched for special tokens.
"""

from collections.abc import Callable

import tensorflow as tf

from zoo.text.chat import special_tokens
from zoo.text.chat.state_machine import LAST, ROLES, SPACES, ChatMachine, MessageRule
from zoo.text.in_graph import pre_tokenizers, ragged_ops
from zoo.text.in_graph.tokenizer import GraphTokenizer, valid_utf8
from zoo.text.tokenizer import Tokenizer

_CPU = "/CPU:0"
_SYMBOLS = (*ROLES, LAST, "")
_LAST, _NONE = len(ROLES), len(ROLES) + 1
_MOST_SHOWN = 200  # bytes of a content in an error
_UP_TO = "(?s)^.*"
_NOTHING = MessageRule()


class GraphChat(tf.Module):
    """Turns roles and contents into tokens inside a `tf.function`."""

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
        used = {"user"}.union(*machine.rules) - {LAST}
        used = [role for role in ROLES if role in used]
        self._allowed = f"allowed: {', '.join(used)}"
        self._order = f"allowed: {machine.order()}"
        self._moves_system = machine.moves_system
        self._forbidden = tuple(machine.forbidden.items())
        self._graph = graph
        self._dead = len(machine.rules)
        # A row for each state and symbol, for contents with text and for blank ones.
        states = (*machine.rules, {})
        rows = [
            (rules.get(symbol, _NOTHING), blank)
            for rules in states
            for symbol in _SYMBOLS
            for blank in (False, True)
        ]
        before = [
            (rule.before_blank or ("",)) if b else rule.before for rule, b in rows
        ]
        with tf.device(_CPU):
            numbers = {role: _SYMBOLS.index(role) for role in (*used, "")}
            self._roles = ragged_ops.table(numbers, tf.string, tf.int32, -1)
            next_state = [
                [_next(states, state, symbol) for state in range(len(states))]
                for symbol in _SYMBOLS
            ]
            self._next = tf.constant(next_state)
            texts, marks = special_tokens.marked(
                tokenizer,
                [
                    text
                    for (rule, _), texts in zip(rows, before, strict=True)
                    for text in (texts[0], "".join(texts[1:]), rule.after)
                ],
            )
            self._marks = ragged_ops.table(marks, tf.string, tf.int32, -1)
            self._texts = tf.constant(texts, shape=[len(rows), 3])
            self._two = tf.constant([len(texts) > 1 for texts in before])
            self._written = tf.constant([rule.written for rule, _ in rows])
            self._good = tf.constant(
                [not b or rule.before_blank is not None for rule, b in rows]
            )
            forms = [(r.cut, r.strip_cut, r.strip_left, r.strip_right) for r, _ in rows]
            self._forms = tuple(sorted({form for form in forms if any(form)}))
            form = [self._forms.index(f) if any(f) else -1 for f in forms]
            self._form = tf.constant(form)

    def __call__(
        self, roles_BM: tf.Tensor, contents_BM: tf.Tensor, require: Callable
    ) -> tf.RaggedTensor:
        """The tokens of chats, for the model to answer.

        Args:
          roles_BM: string [B, M]; "" behind the last message of a row.
          contents_BM: string [B, M], valid UTF-8.
          require: `require(valid_B, name, value_B, allowed, result)` returns `result`
            if all rows are valid; else it raises INVALID_ARGUMENT with the input's
            name, the row, its value and what is allowed.

        Returns:
          int32 [B, None].
        """
        with tf.device(_CPU):
            roles_BM, contents_BM = _padded(roles_BM, contents_BM)
            role_BM = self._known(roles_BM, contents_BM, require)
            state_BM, symbol_BM = self._states(role_BM, roles_BM, require)
            contents_BM = self._allowed_texts(role_BM, contents_BM, require)
            return self._tokens(state_BM, symbol_BM, contents_BM, require)

    def _known(self, roles_BM, contents_BM, require):
        """The number of each role, after checks of names and empty messages."""
        role_BM = self._roles.lookup(roles_BM)
        odd_BM = role_BM < 0
        value_B = _first(odd_BM, roles_BM)
        role_BM = require(~_any(odd_BM), "roles", value_B, self._allowed, role_BM)
        real_BM = role_BM != _NONE
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

    def _states(self, role_BM, roles_BM, require):
        """The state before each message, and its symbol, after a check of the order."""
        real_BM = role_BM != _NONE
        last_BM = real_BM & (tf.roll(role_BM, -1, 1) == _NONE)
        value_B = _first(last_BM, roles_BM)
        user_BM = role_BM == ROLES.index("user")
        role_BM = require(
            _any(last_BM & user_BM),
            "roles",
            value_B,
            "user allowed at the end",
            role_BM,
        )
        symbol_BM = tf.where(last_BM, _LAST, role_BM)
        after_BM = _run(tf.gather(self._next, symbol_BM))
        before_BM = tf.pad(after_BM[:, :-1], [[0, 0], [1, 0]])
        odd_BM = after_BM == self._dead
        place_BM = tf.cumsum(tf.ones_like(role_BM), 1)
        odd_B = tf.reduce_sum(tf.cast(~odd_BM, tf.int32), 1)[:, None] + 1
        parts_BM = tf.where(place_BM == 1, roles_BM, tf.strings.join([", ", roles_BM]))
        parts_BM = tf.where(place_BM <= odd_B, parts_BM, "")
        value_B = tf.strings.reduce_join(parts_BM, 1)
        before_BM = require(~_any(odd_BM), "roles", value_B, self._order, before_BM)
        return before_BM, symbol_BM

    def _allowed_texts(self, role_BM, contents_BM, require):
        """The contents, after a check of their bytes and of forbidden texts."""
        odd_BM = tf.logical_not(valid_utf8(contents_BM))
        value_B = _first(odd_BM, contents_BM)
        contents_BM = require(
            ~_any(odd_BM), "contents", value_B, "valid UTF-8 allowed", contents_BM
        )
        for role, texts in self._forbidden:
            own_BM = tf.where(role_BM == ROLES.index(role), contents_BM, "")
            for text in texts:
                odd_BM = tf.strings.regex_full_match(
                    own_BM, f"{_UP_TO}{_exact(text)}.*"
                )
                value_B = _shortened(_first(odd_BM, own_BM))
                # tf.strings.format puts the value where the first {} is.
                named = text.replace("{}", "{ }")
                allowed = f"from {role} no {named} allowed by the chat template"
                contents_BM = require(
                    ~_any(odd_BM), "contents", value_B, allowed, contents_BM
                )
        return contents_BM

    def _tokens(self, state_BM, symbol_BM, contents_BM, require):
        """The tokens of each chat's text."""
        blank_BM = tf.strings.regex_full_match(contents_BM, f"{_one_of(SPACES)}*")
        row_BM = (state_BM * len(_SYMBOLS) + symbol_BM) * 2 + tf.cast(
            blank_BM, tf.int32
        )
        good_BM = tf.gather(self._good, row_BM)
        value_B = _shortened(_first(~good_BM, contents_BM))
        allowed = "a content that is not blank allowed there by this chat template"
        row_BM = require(~_any(~good_BM), "contents", value_B, allowed, row_BM)
        form_BM = tf.gather(self._form, row_BM)
        for number, form in enumerate(self._forms):
            written_BM = contents_BM
            for pattern in _patterns(*form):
                written_BM = tf.strings.regex_replace(written_BM, pattern, "")
            contents_BM = tf.where(form_BM == number, written_BM, contents_BM)
        before, behind, after = tf.unstack(tf.gather(self._texts, row_BM), axis=-1)
        parts = [
            before,
            tf.where(tf.gather(self._written, row_BM), contents_BM, ""),
            after,
        ]
        if self._moves_system:
            system_B1 = symbol_BM[:, :1] == ROLES.index("system")
            moved_BM = tf.gather(self._two, row_BM) & system_B1
            parts[1:1] = [tf.where(moved_BM, contents_BM[:, :1], ""), behind]
        text_BM = tf.strings.join(parts)
        parts_BP, token_P = self._graph.split(tf.strings.reduce_join(text_BM, 1))
        token_P = tf.maximum(token_P, self._marks.lookup(parts_BP.values))
        return self._graph.encode_parts(parts_BP, token_P)


def _patterns(cut, cut_left, left, right):
    """The patterns that are deleted from a content, in this order."""
    if cut:
        yield f"{_UP_TO}{_exact(cut)}" + (f"{_one_of(cut_left)}*" if cut_left else "")
    ends = [f"^{_one_of(left)}+"] * bool(left) + [f"{_one_of(right)}+$"] * bool(right)
    if ends:
        yield "|".join(ends)


def _one_of(letters):
    """The pattern of one of some characters."""
    return f"[{pre_tokenizers.ranges(map(ord, letters))}]"


def _exact(text):
    """The pattern of a text."""
    return "".join(map(_one_of, text))


def _next(states, state, symbol):
    """The state after a message; the last state is for orders that are not allowed."""
    if symbol == "":
        return state
    rule = states[state].get(symbol)
    return rule.next_state if rule else len(states) - 1


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


def _shortened(text_B):
    return tf.strings.substr(text_B, 0, _MOST_SHOWN)
