"""Every family that README.md names, on the real files of its tokenizer and chats.

    python -m pytest tests/real -m "long or not long" --write-families -k Llama

Each family is made into a model directory with random weights, exported, and asked
through TensorFlow's C API. What is expected is by `tokenizers` and Jinja alone, see
helpers/real_reference.py. Packages that cannot be fetched skip their families.
"""

import json
import re
from typing import Any, NamedTuple

import numpy as np
import pytest
import real_families
import real_texts
import tensorflow as tf
from real_packages import Unreachable
from real_reference import Chats, Reference, aimed_chats, random_chats

import zoo
from zoo import registry
from zoo.decode import generate
from zoo.directory import GenerationConfig, hf
from zoo.saved_model import serving_files, writer
from zoo.saved_model.checker import c_api
from zoo.saved_model.signatures.language_model import TextGenerator
from zoo.saved_model.signatures.text_encoder import TextEncoderModule
from zoo.text.chat import rendering

FAMILIES = real_families.FAMILIES
NAMES = "chat generate tokenize detokenize embed".split()
BATCH = 100
NEW_TOKENS = 4
DRAWN, AIMED = 300, 1500  # chats
STRINGS = tf.TensorSpec([None, None], tf.string)
MOST_REFUSED = 0.2  # of the random chats that a template writes


def slug(name):
    """A family's name for -k: "Llama_3_1_3_3"."""
    return re.sub(r"\W+", "_", name)


class Served(NamedTuple):
    """A family's model directory and its SavedModel.

    Attributes:
      family: a real_families.Family.
      reference: what its ids must be.
      template: its chat template, or None.
      folder: the model directory.
      loaded: what `zoo.load` gives.
      module: what was exported.
      session: a c_api.Session.
      problem: the error where it cannot be loaded or exported, else "".
    """

    family: Any
    reference: Reference
    template: str | None
    folder: Any
    loaded: Any = None
    module: Any = None
    session: Any = None
    problem: str = ""

    def tokenize(self, texts):
        """Ids by the SavedModel."""
        found = []
        for start in range(0, len(texts), BATCH):
            out = self.session.run("tokenize", {"text": texts[start : start + BATCH]})
            rows = out["tokens"].tolist(), out["lengths"].tolist()
            found += [row[:length] for row, length in zip(*rows, strict=True)]
        return found

    def detokenize(self, rows):
        """Texts by the SavedModel."""
        found = []
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            width = max(map(len, part))
            tokens = [row + [0] * (width - len(row)) for row in part]
            inputs = {"tokens": tokens, "lengths": [*map(len, part)]}
            out = self.session.run("detokenize", inputs)
            found += [text.decode() for text in out["text"].tolist()]
        return found


@pytest.fixture(scope="module", params=list(FAMILIES), ids=slug)
def served(request, tmp_path_factory):
    """A `Served` of each family; the tests of a family follow each other."""
    family = FAMILIES[request.param]
    folder = tmp_path_factory.mktemp("real")
    try:
        files = family.written()
    except Unreachable as reason:
        pytest.skip(str(reason))
    reference = Reference(files)
    template = files.get("chat_template.jinja", reference.config.get("chat_template"))
    known = Served(family, reference, template, folder / "model")
    try:
        with_weights(family, folder)
        loaded = zoo.load(known.folder)
        base, module = exported(loaded, folder)
    except ValueError as error:
        yield known._replace(problem=str(error))
        return
    with c_api.Session(str(base)) as session:
        yield known._replace(loaded=loaded, module=module, session=session)


def with_weights(family, folder):
    """Writes a model directory with random weights under the family's config.json."""
    real_families.write(family, folder / "model")
    model = registry.build_config(hf.from_hf(family.config, family.name))
    for i, weight in enumerate(model.weights):
        noise = tf.random.stateless_normal(weight.shape, [i, 3], stddev=0.3)
        weight.assign(noise + (1.0 if weight.path.endswith("scale") else 0.0))
    zoo.save(folder / "weights", model)
    name = "model.safetensors"
    (folder / "weights" / name).rename(folder / "model" / name)


def exported(loaded, folder):
    """Writes the signatures that the tests call; returns the folder and the module."""
    modules = []

    def some(whole):
        def signatures(module):
            modules.append(module)
            parts = whole(module)
            return {name: parts[name] for name in NAMES if name in parts}

        return signatures

    with pytest.MonkeyPatch.context() as patch:
        # Calling each signature to record examples takes most of the time.
        patch.setattr(serving_files, "write", lambda *args, **options: None)
        for kind in (TextGenerator, TextEncoderModule):
            patch.setattr(kind, "signatures", some(kind.signatures))
        return writer.write(folder / "served", loaded), modules[0]


def differing(texts, got, wanted):
    """How many rows differ, and the shortest text whose row does."""
    rows = zip(texts, got, wanted, strict=True)
    wrong = [(text, mine, other) for text, mine, other in rows if mine != other]
    return len(wrong), min(wrong, key=lambda row: len(row[0]), default=None)


def ends(family):
    """The ids that config.json says end a text."""
    ids = family.config.get("eos_token_id", [])
    return set(ids if isinstance(ids, list) else [ids])


# ---- exported ----


@pytest.mark.long
@pytest.mark.column("exported")
def test_exported(served, record_property):
    family = served.family
    words = family.refused.get("exported")
    if words:
        assert words in served.problem
        record_property("exported", f'"{words}"')
        return
    assert not served.problem
    record_property("exported", "yes")
    if family.encoder:
        out = served.session.run("embed", {"text": real_texts.DOZEN})["embedding"]
        assert out.shape == (len(real_texts.DOZEN), 32)
        return
    tokenizer = served.loaded.tokenizer
    assert tuple(tokenizer.prefix) == family.prefix
    assert ends(family) <= set(tokenizer.end_ids)
    prompts = [*real_texts.DOZEN, "Once upon a time"]
    ids = served.reference.encode(prompts)
    rows = [[*family.prefix, *row] for row in ids]
    kept = [i for i, row in enumerate(rows) if row]  # Some have no prefix.
    answer = {"prompt": [prompts[i] for i in kept], "max_new_tokens": [NEW_TOKENS]}
    compare_answers(served, "generate", answer, [rows[i] for i in kept])


def compare_answers(served, signature, inputs, ids):
    """The tokens of a signature are those that the model writes behind these ids."""
    generation = GenerationConfig(max_new_tokens=NEW_TOKENS)
    model, tokenizer = served.loaded.model, served.loaded.tokenizer
    wanted = generate(model, tokenizer, ids, generation)
    out = served.session.run(signature, inputs)
    rows = zip(out["tokens"].tolist(), out["num_tokens"].tolist(), strict=True)
    assert [row[:count] for row, count in rows] == [one.tokens for one in wanted]


# ---- exact ----


@pytest.mark.long
@pytest.mark.column("exact")
def test_exact(served, record_property):
    if served.family.refused.get("exported"):
        record_property("exact", "-")
        return
    assert not served.problem
    texts = real_texts.DOZEN + real_texts.fuzz(served.reference, 3000, seed=1)
    compare_ids(served, texts)
    whole = real_texts.megabyte()
    compare_ids(served, [whole])
    record_property("exact", "yes")


def compare_ids(served, texts):
    """Ids and texts of the SavedModel are those of the library."""
    encoder = served.family.encoder
    wanted = served.reference.encode(texts, around=encoder)
    assert differing(texts, served.tokenize(texts), wanted) == (0, None)
    if not encoder:
        own = served.loaded.tokenizer.encode_batch(texts)
        assert differing(texts, own, wanted) == (0, None)
        back = served.reference.decode(wanted)
        assert differing(texts, served.detokenize(wanted), back) == (0, None)


# ---- chat ----


@pytest.mark.long
@pytest.mark.column("chat")
def test_chat(served, record_property):
    words = served.family.refused.get("chat")
    if served.template is None or served.family.refused.get("exported"):
        record_property("chat", "-")
        return
    assert not served.problem
    if words:
        assert words in served.module.no_chat
        record_property("chat", f'"{words}"')
        return
    assert not served.module.no_chat
    chats = Chats(served.template, served.reference.named)
    special = served.reference.special
    drawn = random_chats(DRAWN, seed=0)
    aimed = aimed_chats(chats, special, AIMED, seed=0)
    by_chance, by_aim = (compare_chats(served, chats, part) for part in (drawn, aimed))
    assert by_chance <= MOST_REFUSED * len(drawn)
    clean = [c for c in drawn if chats.render(c) is not None][:8]
    inputs = {**padded(clean), "max_new_tokens": [NEW_TOKENS]}
    compare_answers(served, "chat", inputs, expected(served, chats, clean))
    refused = by_chance + by_aim
    record_property(
        "chat", f"yes, refuses {refused} of {DRAWN + AIMED}" if refused else "yes"
    )


def padded(chats):
    """Roles and contents as the signature takes them."""
    most = max(map(len, chats))
    filled = [[*chat, *[("", "")] * (most - len(chat))] for chat in chats]
    names = ("roles", "contents")
    return {n: [[m[i] for m in one] for one in filled] for i, n in enumerate(names)}


def expected(served, chats, written):
    """The ids that the model must see.

    A content that spells a special token is text. The library cannot tell it from the
    token that the template writes, so these chats are compared with `rendering`.
    """
    reference, found = served.reference, []
    for chat in written:
        contents = [content for _, content in chat]
        if not any(name in text for text in contents for name in reference.special):
            found += reference.encode([chats.render(chat)], special=True)
            continue
        messages = [{"role": role, "content": content} for role, content in chat]
        try:
            found.append(rendering.encode(served.loaded.tokenizer, messages))
        except ValueError:
            found.append(None)
    return found


def chat_ids(module):
    """A function of roles and contents to ids: the signature without its answers."""
    module._answers = lambda name, ids, *args, **options: {"ids": ids}
    call, _, defaults = module.signatures()["chat"]

    def run(roles, contents):
        return call(roles=roles, contents=contents, **defaults)["ids"]

    run = tf.function(run, input_signature=[STRINGS, STRINGS], autograph=False)

    def ids(chats):
        given = padded(chats)
        roles, contents = (tf.constant(given[n]) for n in ("roles", "contents"))
        return run(roles, contents).to_list()

    return ids


REFUSAL = r"(roles|contents): row (\d+) has .*allowed"


def compare_chats(served, chats, written):
    """Ids are those of the rendered text; returns how many chats are refused.

    A chat may be refused where the template writes one, if the error names the input
    and what is allowed. What the template refuses must be refused.
    """
    run, got = chat_ids(served.module), []
    rendered = {n: chats.render(chat) for n, chat in enumerate(written)}
    # one bad row fails its batch, so what the template refuses is asked alone
    for number in (n for n, text in rendered.items() if text is None):
        with pytest.raises(tf.errors.InvalidArgumentError, match=REFUSAL):
            run([written[number]])
    allowed = [(n, written[n]) for n, text in rendered.items() if text is not None]
    for start in range(0, len(allowed), BATCH):
        part = allowed[start : start + BATCH]
        while part:
            try:
                got += zip(part, run([chat for _, chat in part]), strict=True)
                break
            except tf.errors.InvalidArgumentError as error:
                named = re.search(REFUSAL, str(error))
                assert named, str(error)
                del part[int(named[2])]
    answered = {number: ids for (number, _), ids in got}
    those = [written[n] for n in answered]
    wanted = expected(served, chats, those)
    rows = zip(those, answered.values(), wanted, strict=True)
    odd = [row for row in rows if row[2] is not None and row[1] != row[2]]
    assert not odd, (len(odd), min(odd, key=lambda row: len(str(row[0]))))
    return len(
        {n for n, text in rendered.items() if text is not None} - answered.keys()
    )


# ---- GGUF ----


@pytest.mark.long
@pytest.mark.column("GGUF")
def test_gguf(served, record_property, commands, tmp_path):
    if served.family.refused.get("exported"):
        record_property("GGUF", "-")
        return
    assert not served.problem
    path = tmp_path / "model.gguf"
    options = [f"--source={served.folder}", f"--output={path}", "--format=gguf"]
    done = commands("zoo.convert", *options)
    words = served.family.refused.get("GGUF")
    if words:
        assert done.code == 1 and words in done.errors[0]
        record_property("GGUF", f'"{words}"')
        return
    assert done.code == 0, done.out
    again, loaded, reference = zoo.load(path), served.loaded, served.reference
    texts = real_texts.DOZEN + real_texts.fuzz(reference, 1000, seed=2)
    wanted, tokenizer = reference.encode(texts), again.tokenizer
    assert differing(texts, tokenizer.encode_batch(texts), wanted) == (0, None)
    back = [tokenizer.decode(row) for row in wanted]
    assert differing(texts, back, reference.decode(wanted)) == (0, None)
    for name in ("prefix", "end_id", "end_ids", "chat_template"):
        assert getattr(tokenizer, name) == getattr(loaded.tokenizer, name), name
    tokens = tf.constant([[1, 5, 300, 7, 2]])
    np.testing.assert_allclose(again.model(tokens), loaded.model(tokens), atol=1e-5)
    record_property("GGUF", "yes")


# ---- a small package in every run of the tests, another by hand ----


@pytest.mark.parametrize(
    "name", [pytest.param("Llama 2", marks=pytest.mark.long), "Phi 1, 1.5, 2"]
)
def test_ids_of_a_dozen_texts(name, tmp_path):
    from zoo.text.importers import hf_files
    from zoo.text.in_graph import tokenizer as graph_tokenizer

    try:
        files = FAMILIES[name].written()
    except Unreachable as reason:
        pytest.skip(str(reason))
    real_families.write(FAMILIES[name], tmp_path)
    reference, texts = Reference(files), real_texts.DOZEN
    loaded = hf_files.load(str(tmp_path))
    wanted = reference.encode(texts)
    assert differing(texts, loaded.encode_batch(texts), wanted) == (0, None)
    graph = graph_tokenizer.build(loaded.json)
    ids = graph.encode(tf.constant(texts))
    assert differing(texts, ids.to_list(), wanted) == (0, None)
    back = [text.decode() for text in graph.decode(ids).numpy()]
    assert differing(texts, back, reference.decode(wanted)) == (0, None)
    config = json.loads(files["config.json"])
    assert config == FAMILIES[name].config
    assert hf.from_hf(config, name).vocab_size == config["vocab_size"]
