"""Feeds: where the Batches of a run come from, by the name an objective gives."""

from trainers.feeds import (
    companions,
    generated,
    labelled,
    masked,
    pairs,
    preferences,
    rollouts,
    seq2seq,
    spans,
    table,
    text,
)
from trainers.feeds.feed import Feed, Roles
from trainers.roles import Start
from trainers.run import Run
from zoo import registry
from zoo.data import augmentation, compressed, mixtures, shards
from zoo.fields import one_of

__all__ = ["BY_NAME", "Feed", "Roles", "make"]


def _labels(run: Run, start: Start) -> Feed:
    """The feed of labels: of a table's rows, or of texts."""
    config = start.config
    if config.task not in ("classify", "regress", "tag"):
        raise ValueError(
            f"config.model: {registry.name_of(config)} has no labels, which the "
            f"objective {run.objective.name} learns; the model headed puts them on it."
        )
    by_reads = {"features": table.make, "text": labelled.make}
    return by_reads[config.reads](run, start)


def _sources(run: Run, start: Start) -> Feed:
    """The feed of encoder-decoders: sources with targets, or texts without spans."""
    if set(run.objective.needs.values()) != {"model"}:
        raise ValueError(
            f"config.model: {registry.name_of(start.config)} reads sources, which the "
            f"objective {run.objective.name} does not learn."
        )
    by_format = {"seq2seq": seq2seq.make, "span_corruption": spans.make}
    one_of("config.data.format", run.data.format, by_format)
    return by_format[run.data.format](run, start)


def _text(run: Run, start: Start) -> Feed:
    """The feed of texts: for next tokens, for hidden ones, or for targets."""
    by_task = {"fill_mask": masked.make, "seq2seq": _sources}
    return by_task.get(start.config.task, text.make)(run, start)


BY_NAME = {
    "labels": _labels,
    "pairs": pairs.make,
    "preferences": preferences.make,
    "rollouts": rollouts.make,
    "text": _text,
}


def make(run: Run, start: Start) -> Feed:
    """Reads the data that the Run's objective asks for.

    Raises:
      ValueError: data that are missing, empty, broken, or do not fit the model.
    """
    one_of(f"feed of {run.objective.name}", run.objective.feed, BY_NAME)
    _check_augment(run, start.config)
    _check_sources(run, start.config)
    generated.check(run, start.config)
    others = companions.of_start(run, start)
    feed = BY_NAME[run.objective.feed](run, start)
    return feed._replace(fingerprint=feed.fingerprint | others)


def _check_augment(run, config):
    """Refuses augmentation where a target is a token or a number of the text."""
    if not any(augmentation.parse(run.data.augment)):
        return
    if config.task != "classify" or config.reads != "text":
        raise ValueError(
            f"config.data.augment: {run.data.augment!r}, but only texts with one label "
            "allowed; a change of these data would make their targets wrong."
        )


def _check_sources(run, config):
    """Refuses mixtures and packing where the feed has none."""
    if run.data.mixture and config.reads == "features":
        raise ValueError(
            f"config.data.mixture: {run.data.mixture!r}, but a model of features "
            "learns from one table; leave it out."
        )
    if run.data.mixture and run.objective.feed in ("preferences", "rollouts"):
        raise ValueError(
            f"config.data.mixture: {run.data.mixture!r}, but the objective "
            f"{run.objective.name} learns from one source; give data.source alone."
        )
    if run.data.prefix and run.data.format != "seq2seq":
        raise ValueError(
            f"config.data.prefix: {run.data.prefix!r}, but only the format seq2seq "
            "takes it; leave it out."
        )
    language = run.objective.feed == "text" and config.task == "generate"
    if not (language and run.data.format == "lm"):
        _refuse_streams(run)
    if run.data.pack and not language:
        raise ValueError(
            f"config.data.pack: {run.data.pack!r}, but only a language model takes it; "
            "leave it out."
        )


def _refuse_streams(run):
    """Refuses what only documents of a language model have: shards and a schedule."""
    data, only = run.data, "only a language model with the format lm"
    if data.schedule:
        raise ValueError(
            f"config.data.schedule: {data.schedule!r}, but {only} has one; leave it "
            "out."
        )
    parts = mixtures.parts(data.source, data.mixture)
    for spec in [*(part.source for part in parts), data.valid]:
        if shards.folder_of(spec):
            raise ValueError(f"'{compressed.shown(spec)}': {only} reads shards.")
