"""The feed of language models: documents, tokenized and cut into windows."""

from trainers import evaluation
from trainers.feeds.feed import Evaluate, Feed
from trainers.roles import Start
from trainers.run import Data, Run
from zoo import directory
from zoo.data import batches, cleaning, formats, sources
from zoo.decode import generate
from zoo.text import tokenizer as tokenizers

_SAMPLE = 48  # tokens of the text sample


def make(run: Run, start: Start) -> Feed:
    """Joins the documents by end tokens and cuts the stream into windows.

    Raises:
      ValueError: the model reads no text or sees what it is to predict; the data are
        missing, broken or too short; the tokenizer has more tokens than the model.
    """
    data, config = run.data, start.config
    _check_model(run, config)
    train, valid = documents(data)
    tokenizer = _tokenizer(run, start, train)
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(
            f"config.model.vocab_size: {config.vocab_size}, at least the tokenizer's "
            f"{tokenizer.vocab_size} allowed."
        )
    length = data.length or config.context
    stream = formats.language_model(train, tokenizer)
    # also refuses a stream that is too short, before anything is written
    rows = batches.windows_per_epoch(len(stream.tokens), length)

    def train_from(number, roles):
        del roles
        return batches.lm_batches(
            stream.tokens, length, data.batch, run.seed, start=number
        )

    evaluate: Evaluate | None = None
    if valid:
        held_out = formats.language_model(valid, tokenizer)
        dataset, _ = batches.eval_windows(
            held_out.tokens, length, data.batch, stride=max(length // 2, 1)
        )
        sums = evaluation.make_evaluate(run.objective)

        def evaluate_text(roles):
            return sums(roles, dataset, held_out.bytes)

        evaluate = evaluate_text

    def show(roles):
        return _sample(roles[run.objective.trains[0]], tokenizer)

    return Feed(
        train_from,
        evaluate,
        rows,
        ("tokens", data.batch * length),
        tokenizer,
        lambda roles: None,
        show,
    )


def documents(data: Data) -> tuple[list[str], list[str]]:
    """The training and the evaluation documents of a Run's `data`, cleaned."""

    def read(spec, split="train"):
        return [cleaning.clean(d, data.clean) for d in sources.documents(spec, split)]

    train = read(data.source)
    if data.valid:
        return train, read(data.valid)
    if data.source == "kjv":
        return train, read("kjv", "valid")
    if not data.hold_out:
        return train, []
    try:
        return sources.hold_out(train, data.hold_out)
    except ValueError as error:
        raise ValueError(f"{data.source}: {error} Or set hold_out to 0.") from None


def _check_model(run, config):
    """Refuses a model that reads no text, or whose positions see the whole text."""
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


def _tokenizer(run, start, documents):
    """The Run's own tokenizer, that of `init_from`, or a new one."""
    if run.data.tokenizer:
        return tokenizers.load(run.data.tokenizer)
    if start.tokenizer is not None:
        return start.tokenizer
    return tokenizers.train(documents, start.config.vocab_size)


def _sample(model, tokenizer) -> str:
    """The model's answer to an empty prompt, which takes one position."""
    room = model.limit - 1 if model.limit else _SAMPLE
    if room < 1:
        return ""
    options = directory.GenerationConfig(max_new_tokens=min(room, _SAMPLE))
    return generate(model, tokenizer, [""], options)[0].text
