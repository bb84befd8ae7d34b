"""The feed of encoder-decoders: sources with targets."""

import math
from collections.abc import Iterable

from trainers import evaluation
from trainers.feeds import generated, text
from trainers.feeds.feed import Evaluate, Feed
from trainers.roles import Start
from trainers.run import Run
from zoo.data import batches, formats, mixtures, splits
from zoo.data.sources.examples import cell
from zoo.directory import GenerationConfig
from zoo.text.tokenizer import Tokenizer

_SHOWN, _SAMPLE = 3, 64  # held-out sources of the text sample, and its tokens


def make(run: Run, start: Start) -> Feed:
    """Makes the rows of all examples, and holds out some of them for evaluation.

    A new tokenizer is trained on sources and targets together.

    Raises:
      ValueError: the source is missing or broken; too many rows are bad; a tokenizer
        does not fit; or the answers to held-out sources cannot be generated or scored.
    """
    data, config = run.data, start.config
    format = formats.BY_NAME["seq2seq"]
    names = formats.rows.columns(format, data.fields)
    parts = mixtures.parts(data.source, data.mixture)
    train, valid = mixtures.split(splits.examples, parts, data.valid, data.hold_out)
    tokenizer, source_tokenizer = _tokenizers(run, start, train, names.values())
    sides = formats.seq2seq.sides(config, source_tokenizer, tokenizer, data.prefix)
    most, most_target = formats.seq2seq.limits(config, data.length)
    if most <= sides.frame.size:
        raise ValueError(
            f"config.data.length: {most} tokens of a source, but {sides.frame.size} "
            f"stand around each one; at least {sides.frame.size + 1} allowed."
        )

    def read(examples):
        return formats.rows.read(
            examples,
            format,
            sides,
            (most, most_target + 1),
            data.fields,
            data.too_long,
            data.max_bad_rows,
        )

    of_parts = [read(examples) for examples in train]
    rows = mixtures.join_rows(of_parts)
    counts = [len(own.groups) - 1 for own in of_parts]
    for part, own in zip(parts, of_parts, strict=True):
        print(f"{part.source}: {own.about}")
    if data.mixture:
        print("\n".join(mixtures.about(parts, counts, "pairs")))

    def train_from(number, roles):
        del roles
        return batches.seq2seq_batches(
            rows.tokens,
            rows.starts,
            data.batch,
            run.seed,
            start=number,
            padding=config.padding_id,
            counts=counts,
            shares=[part.share for part in parts],
        )

    evaluate: Evaluate | None = None
    prompts: list[list[int]] = []
    references: list[str] = []
    if valid:
        held_out = read(valid)
        prompts = formats.seq2seq.sources(held_out)
        references = [valid[i][1][names["target"]] for i in held_out.numbers[::2]]
        dataset = batches.eval_seq2seq(
            held_out.tokens,
            held_out.starts,
            evaluation.rows_at_once(run),
            config.padding_id,
        )
        sums = evaluation.make_evaluate(run.objective)
        task = generated.of_sources(run, start, tokenizer, prompts, references)

        def evaluate_pairs(roles):
            metrics = sums(roles, dataset)
            metrics["perplexity"] = math.exp(min(metrics["loss"], 700.0))
            if task is not None:
                model = roles[run.objective.trains[0]]
                scored = task.measures(model, tokenizer)
                metrics |= {name: one.value for name, one in scored.items()}
            return metrics

        evaluate = evaluate_pairs
    elif data.metrics:
        raise ValueError(
            f"config.data.metrics: {data.metrics!r}, but nothing is held out; set "
            "config.data.valid or hold_out."
        )

    def show(roles):
        model = roles[run.objective.trains[0]]
        shown = prompts[:_SHOWN], references[:_SHOWN]
        return _sample(model, source_tokenizer, tokenizer, *shown)

    lengths = rows.starts[1:] - rows.starts[:-1]
    one_tokenizer = source_tokenizer is tokenizer and not config.source_vocab_size
    return Feed(
        train_from,
        evaluate,
        sum(counts),
        ("pairs", data.batch),
        tokenizer,
        lambda roles: None,
        show,
        text.fingerprint_of(data, tokenizer),
        int(lengths[::2].max() + lengths[1::2].max() - 1),
        source_tokenizer=None if one_tokenizer else source_tokenizer,
    )


def _tokenizers(
    run: Run, start: Start, train: list, columns: Iterable[str]
) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers of targets and of sources, which are one or two."""
    config = start.config
    texts = [
        found
        for examples in train
        for _, example in examples
        if not isinstance(example, ValueError)
        for column in columns
        if isinstance(found := cell(example, column), str)
    ]
    tokenizer = text.with_end(run, text.tokenizer_of(run, start, texts))
    text.check_vocabulary(tokenizer, config)
    own = start.pretrained and start.pretrained.source_tokenizer
    own = own() if callable(own) else own
    if own is None and config.source_vocab_size:
        raise ValueError(
            f"config.model.source_vocab_size: {config.source_vocab_size}, but sources "
            "have no tokenizer of their own; 0 allowed, or an init_from with two."
        )
    if own is None or run.data.tokenizer:
        own = tokenizer
    if own.vocab_size > config.source_ids:
        raise ValueError(
            f"config.model.source_vocab_size: {config.source_ids}, at least the "
            f"{own.vocab_size} of the tokenizer of sources allowed."
        )
    return tokenizer, own


def _sample(model, source_tokenizer, tokenizer, prompts, references) -> str:
    """The model's answers to held-out sources, as Markdown."""
    if not prompts:
        return ""
    room = min(model.config.context or _SAMPLE, _SAMPLE)
    knobs = GenerationConfig(max_new_tokens=room)
    answers = generated.generate(model, tokenizer, prompts, knobs)
    return "\n\n".join(
        f"**source** {source_tokenizer.decode(prompt)}\n\n**target** {reference}\n\n"
        f"**answer** {answer.text}"
        for prompt, reference, answer in zip(prompts, references, answers, strict=True)
    )
