"""A builder of TensorFlow Datasets for files of one's own: text, JSON lines, tables.

    files = tfds_builder.Files(
        name="mails", version="1.0.0", train="jsonl:mails.jsonl.gz", label="folder"
    )
    tfds_builder.LocalTexts(config=files).download_and_prepare()
    dataset = tfds.load("local_texts/mails", split="train")

Once prepared, `tfds.load` needs neither this module nor the files. The source
`tfds:local_texts/mails` reads the same examples.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from zoo.data import sources
from zoo.data.formats import labels
from zoo.data.sources.examples import check_text
from zoo.fields import suggest


@dataclasses.dataclass(eq=False, kw_only=True)
class Files(tfds.core.BuilderConfig):
    """Which files become which split.

    Attributes:
      name: of the configuration, such as "mails".
      version: of the data, such as "1.0.0". Other files need another version, because
        what is prepared is never made again.
      train, validation, test: specs of `zoo.data.sources` without a field; empty ones
        make no split.
      field: of the text.
      label: the field of a label, whose names in `train` become a ClassLabel; or "".
    """

    train: str = ""
    validation: str = ""
    test: str = ""
    field: str = "text"
    label: str = ""


class LocalTexts(tfds.core.GeneratorBasedBuilder):
    """Texts of local files, in the order of the files, with the place of each.

    Raises:
      ValueError: no configuration, no split, or (when it prepares) a row without the
        text or the label, by file and line.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> Any:
        files = self._files()
        features: dict[str, Any] = {
            "text": tfds.features.Text(),
            "place": tfds.features.Text(),
        }
        if files.label:
            features["label"] = tfds.features.ClassLabel(names=self._names(files))
        return tfds.core.DatasetInfo(
            builder=self,
            description="Texts of local files.",
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,  # the order of the files
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        files = self._files()
        return {
            split: self._generate_examples(spec)
            for split, spec in _specs(files).items()
        }

    def _generate_examples(self, spec: str) -> Iterator[tuple[int, dict[str, Any]]]:
        files = self._files()
        indexed = sources.label_names(spec, files.label) if files.label else ()
        names = labels.Labels(self._names(files), indexed) if files.label else None
        for number, (where, example) in enumerate(sources.numbered(spec)):
            if isinstance(example, ValueError):
                raise example
            text = check_text(example, files.field, where)[files.field]
            row = {"text": text, "place": where}
            if names:
                row["label"] = _label(example, files.label, names, where)
            yield number, row

    def _files(self) -> Files:
        """The configuration."""
        if not isinstance(self.builder_config, Files) or not _specs(
            self.builder_config
        ):
            raise ValueError(
                "local_texts: needs config=Files(...) with one of train, validation, "
                "test."
            )
        return self.builder_config

    def _names(self, files: Files) -> tuple[str, ...]:
        """The names of the classes in the first split, in order."""
        spec = next(iter(_specs(files).values()))
        indexed = sources.label_names(spec, files.label)
        found = labels.names_of(sources.numbered(spec), files.label, indexed)
        return labels.ordered(found, indexed)


def _specs(files: Files) -> dict[str, str]:
    """The splits that have a spec."""
    named = ("train", "validation", "test")
    return {split: getattr(files, split) for split in named if getattr(files, split)}


def _label(example: dict[str, Any], field: str, names: labels.Labels, where: str):
    """The index of an example's class."""
    if field not in example:
        raise ValueError(f"{where}: no field {field!r}.{suggest(field, example)}")
    try:
        return names.read(example[field])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
