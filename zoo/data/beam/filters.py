"""Stages as a PTransform, for pipelines that are not a Recipe."""

from collections.abc import Iterable

import apache_beam as beam  # type: ignore[import-not-found]

from zoo.data import stages

KEPT, DROPPED = "kept", "dropped"


class Stages(beam.PTransform):
    """Runs stages on texts: (key, text) -> `kept` and `dropped`.

    The result has two collections. `kept` has (key, new text), and `dropped` has (key,
    (stage, reason)). Documents and drops of each stage are counters of the pipeline.

    Args:
      entries: of `zoo.data.stages`, in order.

    Raises:
      ValueError: see `zoo.data.stages.make`.
    """

    def __init__(self, entries: Iterable[str] = stages.DEFAULT):
        super().__init__()
        self._entries = tuple(entries)
        stages.check(self._entries)

    def expand(self, pairs):
        return pairs | beam.ParDo(_Run(self._entries)).with_outputs(DROPPED, main=KEPT)


class _Run(beam.DoFn):
    """Runs the stages, which each worker makes once."""

    def __init__(self, entries):
        self._entries = entries

    def setup(self):
        self._pipeline = stages.Pipeline(self._entries)

    def process(self, element):
        key, text = element
        clean, stage, reason = self._pipeline.run(text)
        if clean is None:
            beam.metrics.Metrics.counter("dropped", f"{stage}: {reason}").inc()
            yield beam.pvalue.TaggedOutput(DROPPED, (key, (stage, reason)))
        else:
            yield key, clean
