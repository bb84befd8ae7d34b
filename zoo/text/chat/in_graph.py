"""Chats in a TensorFlow graph: roles and contents to tokens, with history.

What `chat_turns` describes is done for all messages of all rows at once. A message is a
map from state to state, and maps can be joined in any grouping: so the states of M
messages are found in log M rounds. Special tokens come from the template only: its
texts carry them as bytes that no UTF-8 text has, and contents are not searched for any.
"""

from collections.abc import Callable

import tensorflow as tf

from zoo.text.chat.state_machine import LAST, ROLES, SPACES, Machine, Turn
from zoo.text.in_graph import pre_tokenizers, ragged_ops, special_tokens
from zoo.text.in_graph.tokenizer import GraphTokenizer, valid_utf8
from zoo.text.tokenizer import Tokenizer

_CPU = "/CPU:0"
_SYMBOLS = (*ROLES, LAST, "")
_LAST, _NONE = len(ROLES), len(ROLES) + 1
_MOST_SHOWN = 200  # bytes of a content in an error
_UP_TO = "(?s)^.*"
_NOTHING = Turn()


class GraphChat(tf.Module):
    """Roles and contents to tokens, for use in a `tf.function`."""

    def __init__(self, tokenizer: Tokenizer, graph: GraphTokenizer, machine: Machine):
        """Builds the tables.

        Args:
          tokenizer: whose special tokens the template writes.
          graph: the same one for a graph.
          machine: its chat template.

        Raises:
          ValueError: a special token strips the spaces of a content beside it.
        """
        super().__init__()
        used = {"user"}.union(*machine.turns) - {LAST}
        used = [role for role in ROLES if role in used]
        self._allowed = f"allowed: {', '.join(used)}"
        self._order = f"allowed: {machine.order()}"
        self._holds = machine.holds
        self._forbidden = tuple(machine.forbidden.items())
        self._graph = graph
        self._dead = len(machine.turns)
        # A row for each state and symbol, for contents with text and for blank ones.
        states = (*machine.turns, {})
        rows = [
            (turns.get(symbol, _NOTHING), blank)
            for turns in states
            for symbol in _SYMBOLS
            for blank in (False, True)
        ]
        before = [(turn.blank or ("",)) if b else turn.before for turn, b in rows]
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
                    for (turn, _), texts in zip(rows, before, strict=True)
                    for text in (texts[0], "".join(texts[1:]), turn.after)
                ],
            )
            self._marks = ragged_ops.table(marks, tf.string, tf.int32, -1)
            self._texts = tf.constant(texts, shape=[len(rows), 3])
            self._two = tf.constant([len(texts) > 1 for texts in before])
            self._shown = tf.constant([turn.shown for turn, _ in rows])
            self._good = tf.constant(
                [not b or turn.blank is not None for turn, b in rows]
            )
            forms = [(t.cut, t.cut_left, t.left, t.right) for t, _ in rows]
            self._forms = tuple(sorted({form for form in forms if any(form)}))
            form = [self._forms.index(f) if any(f) else -1 for f in forms]
            self._form = tf.constant(form)

    def __call__(
        self, roles_BM: tf.Tensor, contents_BM: tf.Tensor, require: Callable
    ) -> tf.RaggedTensor:
        """The tokens of chats, for the model to answer.

        Args:
          roles_BM: string; "" where a row has no more messages.
          contents_BM: string, of the same shape.
          require: `require(holds_B, name, value_B, allowed, result)` returns `result`,
            or fails and names the input, the row, its value and what is allowed.

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
        """The symbols of roles, checked apart from their order."""
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
        """The state before each message, and its symbol."""
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
        """The contents, checked apart from their place."""
        odd_BM = tf.logical_not(valid_utf8(contents_BM))
        value_B = _first(odd_BM, contents_BM)
        contents_BM = require(
            ~_any(odd_BM), "contents", value_B, "valid UTF-8 allowed", contents_BM
        )
        for role, texts in self._forbidden:
            said_BM = tf.where(role_BM == ROLES.index(role), contents_BM, "")
            for text in texts:
                odd_BM = tf.strings.regex_full_match(
                    said_BM, f"{_UP_TO}{_exact(text)}.*"
                )
                value_B = _shortened(_first(odd_BM, said_BM))
                # Of a pair of braces the message would make a place for a value.
                named = text.replace("{}", "{ }")
                allowed = f"from {role} no {named} allowed by the chat template"
                contents_BM = require(
                    ~_any(odd_BM), "contents", value_B, allowed, contents_BM
                )
        return contents_BM

    def _tokens(self, state_BM, symbol_BM, contents_BM, require):
        """The tokens of what is written."""
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
            tf.where(tf.gather(self._shown, row_BM), contents_BM, ""),
            after,
        ]
        if self._holds:
            system_B1 = symbol_BM[:, :1] == ROLES.index("system")
            held_BM = tf.gather(self._two, row_BM) & system_B1
            parts[1:1] = [tf.where(held_BM, contents_BM[:, :1], ""), behind]
        text_BM = tf.strings.join(parts)
        parts_BP, token_P = self._graph.split(tf.strings.reduce_join(text_BM, 1))
        token_P = tf.maximum(token_P, self._marks.lookup(parts_BP.values))
        return self._graph.encode_parts(parts_BP, token_P)


def _patterns(cut, cut_left, left, right):
    """What is taken from a content, step by step."""
    if cut:
        yield f"{_UP_TO}{_exact(cut)}" + (f"{_one_of(cut_left)}*" if cut_left else "")
    ends = [f"^{_one_of(left)}+"] * bool(left) + [f"{_one_of(right)}+$"] * bool(right)
    if ends:
        yield "|".join(ends)


def _one_of(letters):
    return f"[{pre_tokenizers.ranges(map(ord, letters))}]"


def _exact(text):
    return "".join(map(_one_of, text))


def _next(states, state, symbol):
    """The state behind a message; the last one is that of chats that are refused."""
    if symbol == "":
        return state
    turn = states[state].get(symbol)
    return turn.state if turn else len(states) - 1


def _run(map_BMS):
    """The state behind each message, of maps from state to state, [B, M]."""
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
    """Both with an empty message at the end of each row, so that M is not 0."""
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
    """Of each row the first value that is wanted, or any, [B]."""
    return tf.gather(value_BM, tf.argmax(tf.cast(wanted_BM, tf.int32), 1), batch_dims=1)


def _shortened(text_B):
    return tf.strings.substr(text_B, 0, _MOST_SHOWN)
