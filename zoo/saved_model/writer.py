"""Writes a model as a SavedModel that stock TF Serving answers with.

    BASE/<version>/saved_model.pb, variables/
    BASE/<version>/assets.extra/signature.json    what each signature takes and gives
    BASE/<version>/...                            the files of `serving_files`

Core TensorFlow operations only, no XLA, no Python, no state; see docs/serving.md.
"""

import os
import pathlib
import shutil
from collections.abc import Callable

import tensorflow as tf
from absl import logging

from zoo import files, registry
from zoo.decode import speculation
from zoo.decode.search import searching
from zoo.directory import Loaded
from zoo.generation_config import KNOBS, MOST_BEAMS, MOST_DRAFTS, SEARCH
from zoo.saved_model import request_examples, server_graph, serving_files, traces
from zoo.saved_model.checker.graph import Graph
from zoo.saved_model.signatures.classifier import Classifier
from zoo.saved_model.signatures.fill_mask import FillMask
from zoo.saved_model.signatures.language_model import TextGenerator
from zoo.saved_model.signatures.seq2seq import Seq2SeqGenerator
from zoo.saved_model.signatures.table import TableModel
from zoo.saved_model.signatures.tagger import Tagger
from zoo.saved_model.signatures.text_encoder import TextEncoderModule

# What models of text other than language models are exported as, by their task.
_TEXT_MODULES = {
    "classify": Classifier,
    "regress": Classifier,
    "tag": Tagger,
    "fill_mask": FillMask,
    "embed": TextEncoderModule,
}
Module = (
    Classifier
    | FillMask
    | Seq2SeqGenerator
    | TableModel
    | Tagger
    | TextEncoderModule
    | TextGenerator
)
_SPARE = 2**20  # bytes of a version beside the weights, at least


def write(
    base,
    loaded: Loaded,
    version: int = 0,
    batch: int = 0,
    capacity: int = 1024,
    most_new_tokens: int = 0,
    date_string: str = "",
    report: Callable[[str], None] = lambda line: None,
    beams: int | None = None,
    speculate: int | None = None,
) -> pathlib.Path:
    """Exports a model.

    Args:
      base: the folder of versions that TF Serving watches.
      loaded: a model with its tokenizer, as `zoo.load` returns it.
      version: its number; 0 takes the next free one.
      batch: the most rows of an in-graph batch; 0 leaves batching to the server.
      capacity: the number of positions in the state of `start` and `step`, at most the
        model's context.
      most_new_tokens: the largest max_new_tokens of a request; 0 is the context.
      date_string: the default date of `chat`, for a chat template that writes a date;
        "" is today, as the template writes it.
      report: gets a line at each stage of the export.
      beams: the most beams of a request; 0 leaves search out. By default those of the
        GenerationConfig for a language model, 0 if that is 1; and 64 for an
        encoder-decoder.
      speculate: the most tokens of a draft, as `zoo.decode.speculation` has it; 0 is
        off. By default prompt_lookup_num_tokens of the GenerationConfig.

    Returns:
      The folder of the version.

    Raises:
      ValueError: the version exists already, the model or its tokenizer cannot be
        exported, or `beams` or `speculate` is not allowed.
      OSError: the folder cannot be written, or the disk is full.
    """
    if beams is not None and not 0 <= beams <= MOST_BEAMS:
        raise ValueError(f"beams: {beams}, 0 to {MOST_BEAMS} allowed.")
    base = pathlib.Path(base)
    if base.exists() and not base.is_dir():
        raise ValueError(f"{base}: is a file; a folder for versions allowed.")
    numbers = [int(p.name) for p in base.glob("*") if p.name.isdecimal()]
    folder = base / str(version or max(numbers, default=0) + 1)
    files.refuse_full(folder)
    _check_disk(base, loaded.model)
    report("building the tokenizer and the signatures")
    if beams is None:
        beams = _beams(loaded)
    drafts = loaded.generation.prompt_lookup_num_tokens
    drafts = drafts if speculate is None else speculate
    _check_drafts(loaded.model, drafts, beams)
    with traces.as_written():  # a part may be traced
        module = _module(
            loaded, batch, capacity, most_new_tokens, date_string, beams, drafts
        )
    with files.staged(folder) as new:
        try:
            with traces.as_written():
                _save(module, loaded, new, batch, beams, report)
        except (tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError) as e:
            raise OSError(f"{base}: {e.message.splitlines()[0]}") from None
    return folder


def _check_disk(base: pathlib.Path, model) -> None:
    """Refuses a folder without room for the weights, before the work of an export."""
    there = next(path for path in (base, *base.absolute().parents) if path.exists())
    if not os.access(there, os.W_OK):
        raise OSError(f"{there}: no permission to write.")
    weights = [v.value for v in model.weights]
    needed = _SPARE + sum(w.dtype.size * w.shape.num_elements() for w in weights)
    free = shutil.disk_usage(there).free
    if free < needed:
        raise OSError(f"{there}: {free:,} bytes are free, an export needs {needed:,}.")


def _beams(loaded) -> int:
    """The most beams of a request by default; 0 is no search.

    A search makes an export longer, and its first answers slower.
    """
    if loaded.model.config.task == "seq2seq":
        return MOST_BEAMS
    return loaded.generation.beams if loaded.generation.beams > 1 else 0


def _check_drafts(model, drafts, beams) -> None:
    """Refuses drafts where there is a search, or that the model cannot check."""
    if not 0 <= drafts <= MOST_DRAFTS:
        raise ValueError(f"speculate: {drafts}, 0 to {MOST_DRAFTS} allowed.")
    if drafts and beams:
        raise ValueError(
            f"speculate: {drafts}, but beams {beams}; 0 of one of them allowed."
        )
    speculation.check(model, drafts, "speculate")


def _module(
    loaded, batch, capacity, most_new_tokens, date_string, beams, drafts
) -> Module:
    """The signatures of a model, by its task."""
    config = loaded.model.config
    name = registry.name_of(config)
    if reason := registry.entry(name).not_exported:
        raise ValueError(f"{name}: cannot be exported: {reason}.")
    if config.reads == "features":
        return TableModel(loaded.model, batch)
    if loaded.tokenizer is None:
        raise ValueError(f"{name}: the model directory has no tokenizer.json.")
    if config.task in _TEXT_MODULES:
        return _TEXT_MODULES[config.task](loaded.model, loaded.tokenizer, batch)
    if config.task == "seq2seq":
        module = Seq2SeqGenerator(
            loaded.model,
            loaded.tokenizer,
            loaded.generation,
            batch,
            most_new_tokens,
            loaded.source_tokenizer,
            beams,
        )
    else:
        module = TextGenerator(
            loaded.model,
            loaded.tokenizer,
            loaded.generation,
            batch,
            capacity,
            most_new_tokens,
            date_string,
            beams,
            drafts,
        )
        if loaded.tokenizer.chat_template and module.no_chat:
            logging.warning("no signature chat: %s", module.no_chat)
    _warn(loaded.generation, module.generation, beams)
    return module


def _warn(given, used, beams) -> None:
    """Says which knobs of the directory the signatures change or do not have."""
    table = KNOBS + searching(beams)
    for knob in table:
        before, after = getattr(given, knob.name), getattr(used, knob.name)
        if before != after:
            logging.warning(
                "%s: %s does not fit, the default is %s", knob.name, before, after
            )
    ignored = [
        f"{knob.name} {getattr(given, knob.name)}"
        for knob in SEARCH
        if not beams and getattr(given, knob.name) != knob.default
    ]
    if ignored:
        logging.warning(
            "without search the signatures ignore %s; --beams=%s puts it in",
            ", ".join(ignored),
            given.beams,
        )


def _examples(module: Module, loaded) -> dict:
    """One row of example inputs."""
    if isinstance(module, TableModel):
        return request_examples.of_features(loaded.model.config.features)
    if isinstance(module, FillMask):
        limit = loaded.model.limit
        return request_examples.of_mask(loaded.tokenizer, module.mask, limit)
    if isinstance(module, Seq2SeqGenerator):
        return request_examples.of_seq2seq(loaded.tokenizer, module.limit)
    if not isinstance(module, TextGenerator):
        return request_examples.of_text(loaded.tokenizer, loaded.model.limit)
    return request_examples.of_language(
        loaded.tokenizer,
        module.limit,
        module.generation.max_new_tokens,
        module.capacity,
        not module.no_chat,
    )


def _save(module: Module, loaded, folder, batch, beams, report) -> None:
    """Writes every file of a version."""
    parts = module.signatures()
    traced, signatures = {}, {}
    for name, (method, specs, defaults) in parts.items():
        report(f"tracing the signature {name}")
        traced[name] = traces.traced(method, specs)
        signatures[name] = traces.with_defaults(traced[name], specs, defaults)
    report("writing the graph and the weights")
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, os.fspath(folder), signatures, options)
    server_graph.prepare(folder)
    examples = _examples(module, loaded)
    about = {knob.name: knob.about() for knob in KNOBS + searching(beams)}
    described = {}
    for name, signature in Graph(os.fspath(folder)).signatures.items():
        inputs = {key: _describe(info) for key, info in signature.inputs.items()}
        outputs = {key: _describe(info) for key, info in signature.outputs.items()}
        for key in inputs.keys() & examples.keys():
            inputs[key]["example"] = examples[key]
        for key, value in parts[name][2].items():
            inputs[key]["default"] = _plain(value.numpy().tolist())[0]
        for key in inputs.keys() & about.keys():
            inputs[key]["about"] = about[key]
        described[name] = {"inputs": inputs, "outputs": outputs}
    extra = folder / "assets.extra"
    extra.mkdir()
    files.write_json(extra / "signature.json", {"format": 1, "signatures": described})
    sizes = 1, min(8, batch or 8)
    serving_files.write(folder, described, traced, sizes, not batch, report)


def _describe(info):
    """The entry of an input or output in signature.json."""
    return {"dtype": info.dtype, "shape": list(info.shape)}


def _plain(value):
    """Nested lists with texts in place of bytes."""
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.decode() if isinstance(value, bytes) else value
