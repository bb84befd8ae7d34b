"""The feed of language models: documents, tokenized and cut into windows."""

import functools
import hashlib

from trainers import evaluation
from trainers.feeds import companions, documents
from trainers.feeds import rows as rows_feed
from trainers.feeds.feed import Evaluate, Feed
from trainers.roles import Start
from trainers.run import Run
from zoo import directory, registry
from zoo.data import batches, fingerprints, formats, mixtures, phases, splits, streams
from zoo.decode import generate
from zoo.fields import one_of
from zoo.text import encoder_tokenizer, framing
from zoo.text import tokenizer as tokenizers

_WINDOW = 1024  # tokens by default, where a pretrained model has a long context
_SAMPLE = 48  # tokens of the text sample
_ROWS = (name for name, format in formats.BY_NAME.items() if format.makes == "rows")
_FORMATS = ("lm", *_ROWS)


def make(run: Run, start: Start) -> Feed:
    """Joins the documents by end tokens and cuts the stream into windows.

    Formats of single examples are another file's: `trainers/feeds/rows.py`.

    Raises:
      ValueError: the model reads no text or sees what it is to predict; the data are
        missing, broken or too short; the tokenizer has more tokens than the model.
    """
    data, config = run.data, start.config
    check_model(run, config)
    one_of("config.data.format", data.format, _FORMATS)
    _check_packing(data, config)
    if data.format != "lm":
        tokenizer = with_end(run, tokenizer_of(run, start))
        check_vocabulary(tokenizer, config)
        others = companions.check(run, tokenizer, config, window(run, config))
        feed = rows_feed.make(run, start, tokenizer, window(run, config))
        return feed._replace(fingerprint=feed.fingerprint | others)
    parts = mixtures.parts(data.source, data.mixture)
    schedule = mixtures.schedule(data.schedule, parts)
    shares = [part.share for part in parts]
    found = phases.phases(shares, schedule, data.batch)
    specs = [*(part.source for part in parts), data.valid]
    folders = streams.folders(specs, sizes=not data.max_bad_rows)
    train, valid = [], []
    if folders:
        tokenizer = _of_shards(run, start, folders)
    else:
        train, valid = mixtures.split(
            functools.partial(splits.documents, clean=data.clean),
            parts,
            data.valid,
            data.hold_out,
        )
        texts = [text for each in train for text in each]
        tokenizer = with_end(run, tokenizer_of(run, start, texts))
    check_vocabulary(tokenizer, config)
    length = window(run, config)
    others = companions.check(run, tokenizer, config, length)
    if folders:
        read = documents.of_shards(run, parts, folders, tokenizer)
    else:
        read = documents.of_texts(train, valid, tokenizer)
    # also refuses a stream that is too short, before anything is written
    counts = [batches.windows_per_epoch(size, length) for size in read.sizes]
    if data.mixture:
        print("\n".join(mixtures.about(parts, counts, "windows")))
    if schedule:
        print("\n".join(mixtures.about_schedule(parts, found, data.batch)))
    logged = documents.Shares(data, found)

    def train_from(number, roles):
        del roles
        logged.begin(number)
        more = {"shares": shares, "schedule": schedule}
        return read.train(length, data.batch, run.seed, start=number, **more)

    evaluate: Evaluate | None = None
    if read.held_out is not None:
        dataset = read.held_out(length, evaluation.rows_at_once(run))
        sums = evaluation.make_evaluate(run.objective)

        def evaluate_text(roles):
            with read.reading():
                return sums(roles, dataset, read.bytes)

        evaluate = evaluate_text

    def show(roles):
        return _sample(roles[run.objective.trains[0]], tokenizer)

    return Feed(
        train_from,
        evaluate,
        sum(counts),
        ("tokens", data.batch * length),
        tokenizer,
        lambda roles: None,
        show,
        fingerprint_of(data, tokenizer) | others,
        length,
        metrics=logged.metrics if schedule else dict,
        reading=read.reading,
    )


def _of_shards(run, start, folders) -> tokenizers.Tokenizer:
    """The tokenizer of shards; refuses that of the Run where it is another one."""
    given, where = None, ""
    if run.data.tokenizer:
        where = f"config.data.tokenizer: {run.data.tokenizer}"
    elif start.pretrained is not None:
        where = f"config.init_from: {run.init_from}"
    if where:
        given = with_end(run, tokenizer_of(run, start))
    return documents.tokenizer_of_shards(folders, given, where)


def window(run: Run, config) -> int:
    """The tokens of one example: `data.length`, or by default the model's context.

    A model of `init_from` may have a context that no training step has memory for.
    """
    if run.data.length or not run.init_from:
        return run.data.length or config.context
    return min(config.context, _WINDOW)


def framed_window(run: Run, tokenizer, config) -> tuple[framing.Frame, int]:
    """The tokens around each text, and the most tokens of a text with these.

    Raises:
      ValueError: the window has no room for a text.
    """
    frame, length = framing.frame(tokenizer, config), window(run, config)
    if length <= frame.size:
        raise ValueError(
            f"config.data.length: {length}, but {frame.size} tokens stand around each "
            f"text; at least {frame.size + 1} allowed."
        )
    return frame, length


def check_model(run: Run, config) -> None:
    """Refuses a model that reads no text, or whose positions see the whole text.

    Raises:
      ValueError: see above.
    """
    where = f"config.model: {type(config).__module__}"
    if config.reads != "text":
        raise ValueError(
            f"{where} has no vocabulary, and the objective {run.objective.name} learns "
            "from text."
        )
    if config.task != "generate":
        raise ValueError(
            f"{where} sees the whole text, and the objective {run.objective.name} "
            "predicts each token from the tokens before it."
        )


def _check_packing(data, config):
    """Refuses a packing that is unknown, or that the format or the model has not."""
    if not data.pack:
        return
    where = f"config.data.pack: {data.pack!r}"
    one_of("config.data.pack", data.pack, batches.PACKINGS)
    if data.format == "lm":
        raise ValueError(
            f"{where}, but the format lm fills its windows already; leave it out."
        )
    if data.pack == "concat" and data.too_long != "error":
        raise ValueError(
            f"{where} splits long rows, so config.data.too_long {data.too_long!r} "
            "means nothing; leave it out."
        )
    name = registry.name_of(config)
    if not registry.entry(name).own_layers:
        raise ValueError(
            f"{where}, but {name} cannot read packed rows, because its attention sees "
            "the whole row."
        )


def check_vocabulary(tokenizer, config) -> None:
    """Refuses a model with fewer rows than the tokenizer has tokens."""
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(
            f"config.model.vocab_size: {config.vocab_size}, at least the tokenizer's "
            f"{tokenizer.vocab_size} allowed."
        )


def tokenizer_of(run, start, documents=None) -> tokenizers.Tokenizer:
    """The Run's own tokenizer, that of `init_from`, or a new one.

    Args:
      run: the Run.
      start: what it starts from.
      documents: texts to train a new tokenizer on; None trains none.

    Raises:
      ValueError: there is no tokenizer, or the texts do not support the model's
        vocabulary.
    """
    if run.data.tokenizer:
        found = directory.read_tokenizer(run.data.tokenizer)
    elif start.pretrained is not None:
        found = start.tokenizer
    elif documents is not None:
        masks = start.config.task == "fill_mask"
        train = encoder_tokenizer.train if masks else tokenizers.train
        found = train(documents, start.config.vocab_size)
    else:
        raise ValueError(
            f"config.data.tokenizer: none, but the format {run.data.format!r} needs "
            "one; give it, or init_from."
        )
    if found is None:
        raise ValueError(
            f"config.init_from: {run.init_from} has no tokenizer; give one as "
            "config.data.tokenizer."
        )
    return found


def with_end(run: Run, tokenizer) -> tokenizers.Tokenizer:
    """The tokenizer.

    Raises:
      ValueError: it has no token that ends a text.
    """
    if tokenizer.end_id is None:
        raise ValueError(
            f"{run.data.tokenizer or run.init_from}: no token ends a text, and "
            "training needs one between documents; name it as eos_token."
        )
    return tokenizer


def fingerprint_of(data, tokenizer) -> fingerprints.Fingerprint:
    """The fingerprint of the sources and of the tokenizer."""
    text = tokenizer.json.encode()
    entry = {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    parts = mixtures.parts(data.source, data.mixture)
    return mixtures.fingerprint(parts, data.valid) | {"tokenizer": entry}


def _sample(model, tokenizer) -> str:
    """The model's answer to an empty prompt, which takes one position."""
    room = model.limit - 1 if model.limit else _SAMPLE
    if room < 1:
        return ""
    options = directory.GenerationConfig(max_new_tokens=min(room, _SAMPLE))
    return generate(model, tokenizer, [""], options)[0].text
