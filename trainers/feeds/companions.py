"""Models of directories that read the same Batches as the model that learns."""

import pathlib

from trainers.run import Run
from zoo import directory, registry
from zoo.data import fingerprints
from zoo.directory import assemble
from zoo.text.tokenizer import Tokenizer, library_tokenizer


def check(
    run: Run, tokenizer: Tokenizer, config, length: int
) -> fingerprints.Fingerprint:
    """Refuses a role's directory whose model does not fit the tokens of the run.

    Args:
      run: its objective's `needs` names the directories.
      tokenizer: of the run.
      config: of the model that learns.
      length: inputs of the longest row.

    Returns:
      The fingerprint of the weights, by which a resumed run sees that they changed.

    Raises:
      ValueError: a directory is missing, has no language model, has another vocabulary,
        or its model has fewer positions.
    """
    found = {}
    for role, source in run.objective.needs.items():
        if source in ("model", "start", "base", "value", "value_head"):
            continue
        where = f"config.objective.{role}"
        if not source:
            raise ValueError(f"{where}: empty, a model directory allowed.")
        read = directory.read(source)
        other = assemble.config_of(read)
        if (other.reads, other.task) != ("text", "generate"):
            raise ValueError(f"{where}: {source} is no language model.")
        if other.vocab_size != config.vocab_size:
            raise ValueError(
                f"{where}: {source} has a vocabulary of {other.vocab_size}, and the "
                f"model that learns one of {config.vocab_size}; equal ones allowed."
            )
        if length > other.context:
            raise ValueError(
                f"{where}: {source} has a context of {other.context}, at least the "
                f"run's {length} allowed; lower config.data.length."
            )
        if run.data.pack and not registry.entry(registry.name_of(other)).own_layers:
            raise ValueError(
                f"{where}: {source} cannot read packed rows; leave data.pack out."
            )
        own = read.tokenizer() if callable(read.tokenizer) else read.tokenizer
        if own is None or _vocabulary(own) != _vocabulary(tokenizer):
            raise ValueError(
                f"{where}: {source} has other tokens than the run's tokenizer; set "
                f"config.data.tokenizer to {source}."
            )
        path = pathlib.Path(read.where)
        files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
        found |= fingerprints.of_files({f"{role} {p.name}": str(p) for p in files})
    return found


def _vocabulary(tokenizer: Tokenizer) -> dict[str, int]:
    """The id of each token."""
    return library_tokenizer(tokenizer.json).get_vocab()
