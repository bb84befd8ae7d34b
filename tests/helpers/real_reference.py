"""What the ids and chats of real files must be: by `tokenizers` and Jinja alone.

Nothing here is of the project. `Reference` reads tokenizer_config.json as transformers
4.57 does, and `Chats` renders as its `apply_chat_template` does.
"""

import datetime
import functools
import json
import random

from jinja2 import TemplateError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from tokenizers import pre_tokenizers as words

_NAMES = (
    "bos_token eos_token unk_token sep_token pad_token cls_token mask_token".split()
)
_NO_CONTENT = ("system", "user", "assistant", "tool")  # They are roles.
_CONTROL = 3  # The type of a piece of SentencePiece that no text has.


class Reference:
    """The tokenizer of a directory, by the library.

    Attributes:
      config: of tokenizer_config.json.
      named: the special tokens that it names, by name.
      special: the texts of all special tokens.
      added: the texts of all added tokens.
      vocab: the ids of all tokens.
    """

    def __init__(self, files: dict[str, str | bytes]):
        """Reads the files of a directory."""
        config = json.loads(files["tokenizer_config.json"])
        mapped = json.loads(files.get("special_tokens_map.json", "{}"))
        self.config = {**mapped, **config}
        text = files.get("tokenizer.json")
        engine = Tokenizer.from_str(text) if text else _built(files, self.config)
        named = {name: _content(self.config.get(name)) for name in _NAMES}
        if self.config.get("tokenizer_class") is None and not text:
            named["eos_token"] = "<|endoftext|>"  # the default of GPT2Tokenizer
        self.named = {name: token for name, token in named.items() if token}
        more = self.config.get("additional_special_tokens") or []
        special = {*self.named.values(), *map(_content, more)}
        _add(engine, self.config.get("added_tokens_decoder") or {}, special)
        engine.no_truncation()
        engine.no_padding()
        self.vocab = engine.get_vocab()
        tokens = engine.get_added_tokens_decoder().values()
        self.special = sorted(token.content for token in tokens if token.special)
        self.added = sorted(token.content for token in tokens)
        self._engine = engine

    def encode(self, texts, special=False, around=False) -> list[list[int]]:
        """Ids of texts; `special`: whether names of special tokens become those."""
        self._engine.encode_special_tokens = not special
        found = self._engine.encode_batch(texts, add_special_tokens=around)
        return [one.ids for one in found]

    def decode(self, rows) -> list[str]:
        """Texts of ids, without special tokens."""
        return self._engine.decode_batch(rows, skip_special_tokens=True)


def _content(token):
    return token.get("content") if isinstance(token, dict) else token


def _add(engine, listed, special) -> None:
    """Adds the tokens that tokenizer_config.json lists or names."""
    tokens = []
    for number in sorted(listed, key=int):
        fields = {k: v for k, v in listed[number].items() if k != "__type"}
        fields["special"] = fields["special"] or fields["content"] in special
        tokens.append(AddedToken(**fields))
    engine.add_tokens(tokens)  # In one call: Gemma 3 has 6,415.
    known = {token.content for token in engine.get_added_tokens_decoder().values()}
    for content in sorted(special - known):
        if engine.token_to_id(content) is not None:
            engine.add_special_tokens([AddedToken(content, normalized=False)])


# ---- directories without tokenizer.json ----


def _built(files, config) -> Tokenizer:
    if "tokenizer.model" in files:
        return _sentencepiece(files["tokenizer.model"])
    merges = [tuple(line.split(" ")) for line in files["merges.txt"].splitlines()[1:]]
    vocabulary = json.loads(files["vocab.json"])
    engine = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    engine.pre_tokenizer = words.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    if config.get("tokenizer_class") == "RobertaTokenizer":
        names = ["<s>", "<pad>", "</s>", "<unk>"]
        engine.add_special_tokens([AddedToken(n, normalized=False) for n in names])
        engine.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
        engine.post_processor = processors.RobertaProcessing(
            ("</s>", vocabulary["</s>"]), ("<s>", vocabulary["<s>"]), True, False
        )
    return engine


def _sentencepiece(model) -> Tokenizer:
    """As transformers converts the tokenizer.model of a Llama.

    Merges are all ways to cut a piece in two known ones, by the score of the piece.
    """
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    ids = {piece.piece: number for number, piece in enumerate(proto.pieces)}
    merges = []
    for piece in proto.pieces:
        cuts = [(piece.piece[:i], piece.piece[i:]) for i in range(1, len(piece.piece))]
        known = [cut for cut in cuts if cut[0] in ids and cut[1] in ids]
        known.sort(key=lambda cut: (ids[cut[0]], ids[cut[1]]))
        merges += [(*cut, piece.score) for cut in known]
    merges.sort(key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
    engine = Tokenizer(
        models.BPE(
            vocab=ids,
            merges=[merge[:2] for merge in merges],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    engine.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    engine.decoder = decoders.Sequence([*parts, decoders.Strip(" ", 1, 0)])
    names = [p.piece for p in proto.pieces if p.type == _CONTROL or p.piece == "<unk>"]
    engine.add_special_tokens([AddedToken(n, normalized=False) for n in names])
    return engine


# ---- chats ----


class Chats:
    """A chat template, rendered as transformers does.

    Attributes:
      constants: the texts that the template has in its expressions.
      conditions: those that it compares with, or looks for in a text.
      starts, ends: those that it looks for at the start or at the end of one.
    """

    def __init__(self, source: str, named: dict[str, str]):
        """Compiles it; `named` are the special tokens that it knows by name."""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = functools.partial(
            json.dumps, ensure_ascii=False
        )
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = _now
        tree = environment.parse(source)
        self.constants = _texts([tree])
        places = (nodes.Compare, nodes.Call, nodes.Filter, nodes.Test)
        self.conditions = [
            text for text in _texts(tree.find_all(places)) if text not in _NO_CONTENT
        ]
        calls = [c for c in tree.find_all(nodes.Call) if hasattr(c.node, "attr")]
        self.starts, self.ends = (
            _texts([call for call in calls if call.node.attr == name])
            for name in ("startswith", "endswith")
        )
        self._template = environment.from_string(source)
        self._named = named

    def render(self, chat) -> str | None:
        """The text of a list of roles and contents, or None where it is refused."""
        messages = [{"role": role, "content": content} for role, content in chat]
        try:
            return self._template.render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=True,
                **self._named,
            )
        except TemplateError:
            return None


def _texts(trees):
    """The strings in parts of a template."""
    found = {c.value for tree in trees for c in tree.find_all(nodes.Const)}
    return sorted(text for text in found if isinstance(text, str) and text.strip())


def _raise(message):
    raise TemplateError(message)


def _now(form):
    return datetime.datetime.now().strftime(form)


_LETTERS = "abc XYZ 019\n.,'?!<>|[]{}é你😀\u3000\t"
_PARTS = ["a", " ", "\n", "</think>", "<|im_", "<<SYS>>", "[/INST]", "<end_of_turn>"]


def random_content(rng: random.Random) -> str:
    """Some letters, some spaces, or parts of what templates write."""
    if rng.random() < 0.1:
        return "".join(rng.choices(" \n\t", k=rng.randint(0, 3)))
    if rng.random() < 0.2:
        return "".join(rng.choices(_PARTS, k=rng.randint(1, 5)))
    return "".join(rng.choices(_LETTERS, k=rng.randint(1, 40)))


def random_chats(count: int, seed: int) -> list[list[tuple[str, str]]]:
    """Chats of one to ten messages; one in ten has its roles in another order."""
    rng, found = random.Random(seed), []
    for number in range(count):
        roles = ["system"] * rng.randint(0, 1)
        roles += ["user", "assistant"] * rng.randint(0, 4)
        if number % 10 == 9:
            roles = [rng.choice(["system", "user", "assistant"]) for _ in roles]
        roles.append("user")
        found.append([(role, random_content(rng)) for role in roles])
    return found


_FORMS = ("{}", "{}a", "a{}", "a{}b", " {} ", "{}\n", "{0}a{0}", "\n{}a\n{}")
_ROLES = (
    "user",
    "system user",
    "user assistant user",
    "system user assistant user",
    "user user assistant user",
    "user assistant assistant user",
    "user assistant user assistant user",
)


def aimed_chats(chats, special, count, seed) -> list[list[tuple[str, str]]]:
    """Chats whose contents begin with, end with, have or are texts of a template.

    A third has one text in one message. The others have two or three messages with such
    as the template looks for, at the start, at the end or at both.

    Args:
      chats: a `Chats`.
      special: the special tokens. What has one is tried less often.
      count: how many chats.
      seed: of the draws.
    """
    rng = random.Random(seed)

    def plain(texts):
        short = {form for t in texts if len(t) < 200 for form in (t, t.strip())}
        return sorted(t for t in short if not any(name in t for name in special))

    texts = [t for t in chats.constants if len(t) < 200] + 3 * plain(chats.constants)
    looked_for = plain(chats.conditions) or texts
    starts, ends = plain(chats.starts) or looked_for, plain(chats.ends) or looked_for

    def aimed():
        """A content that begins with, ends with, or has a text."""
        form, text = rng.choice(_FORMS), rng.choice(looked_for)
        inside = rng.choice(["", "b", "\nb\n", text])
        start, end = rng.choice(starts), rng.choice(ends)
        return rng.choice(
            [
                start + inside,
                inside + end,
                start + inside + end,
                form.format(text, text),
            ]
        )

    singles = [
        _chat(roles, {place: rng.choice(_FORMS).format(text, text)}, rng)
        for text in texts
        for roles in _ROLES[:4]
        for place in range(len(roles.split()))
    ]
    found = rng.sample(singles, min(len(singles), count // 3))
    while texts and len(found) < count:
        if len(found) % 2:
            roles, *places = rng.choice(_PLACES)
        else:
            roles = rng.choice(_ROLES)
            size = len(roles.split())
            places = rng.sample(range(size), min(size, rng.randint(2, 3)))
        found.append(_chat(roles, {place: aimed() for place in places}, rng))
    return found


# Which two messages of a chat have a text.
_PLACES = (
    ("user assistant user", 0, 1),
    ("user assistant user", 1, 2),
    ("user assistant user", 0, 2),
    ("system user assistant user", 0, 2),
    ("user assistant user assistant user", 1, 4),
)


def _chat(roles, contents, rng):
    """A chat with given contents at some places and random ones at the others."""
    return [
        (role, contents[i] if i in contents else random_content(rng))
        for i, role in enumerate(roles.split())
    ]
