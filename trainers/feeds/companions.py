"""Models beside the one that learns: whether they fit, and whether they changed."""

import pathlib
from collections.abc import Sequence

from trainers.rewards import registry as rewards
from trainers.roles import Start
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
        found |= _weights(role, read)
    return found


def of_start(run: Run, start: Start) -> fingerprints.Fingerprint:
    """The fingerprint of `init_from`, where a resumed run reads its weights again.

    A checkpoint holds what learns. Weights under adapters, weights that `freeze` names,
    and those of a role "start" are not in it.
    """
    again = run.lora.rank or run.freeze or "start" in run.objective.needs.values()
    if start.pretrained is None or not again:
        return {}
    return _weights("init_from", start.pretrained)


def of_rewards(entries: Sequence[str]) -> fingerprints.Fingerprint:
    """The fingerprint of reward models, and of the files of the user's functions.

    Args:
      entries: of a config's rewards.

    Raises:
      ValueError: an entry is wrong, or a model directory or a file cannot be read.
    """
    parsed = rewards.parse(entries)
    found = fingerprints.of_files(rewards.files(parsed))
    for entry in parsed:
        if entry.name == rewards.MODEL:
            read = directory.read(entry.argument)
            found |= _weights(f"reward model:{entry.argument}", read)
    return found


def _weights(name: str, read: directory.Pretrained) -> fingerprints.Fingerprint:
    """The fingerprint of the files of weights."""
    path = pathlib.Path(read.where)
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    return fingerprints.of_files({f"{name} {p.name}": str(p) for p in files})


def _vocabulary(tokenizer: Tokenizer) -> dict[str, int]:
    """The id of each token."""
    return library_tokenizer(tokenizer.json).get_vocab()
