"""The config.json of a model directory, as a Config of the registry and back."""

from typing import Any

from zoo import registry
from zoo.directory import hf

OWN = "zoo-"  # starts the model_type of a model that no Hugging Face family expresses


def to_json(config: Any) -> dict[str, Any]:
    """Returns the config.json of a Config: a Hugging Face family's, or else our own."""
    value = hf.to_hf(config)
    if value is not None:
        return value
    name = registry.name_of(config)
    return {"model_type": f"{OWN}{name}", "zoo": registry.to_fields(config)}


def from_json(value: dict[str, Any], where: str) -> Any:
    """Returns the Config of a config.json.

    Args:
      value: the content of the file.
      where: the start of error messages.

    Raises:
      ValueError: an unknown family or model, a missing field, or a wrong value.
    """
    family = value.get("model_type", "")
    if not isinstance(family, str) or not family.startswith(OWN):
        return hf.from_hf(value, where)
    fields = value.get("zoo")
    if not isinstance(fields, dict):
        raise ValueError(f"{where}: the field 'zoo' is missing or not an object.")
    fields = dict(fields)
    name = fields.pop("name", None)
    if not isinstance(name, str) or family != f"{OWN}{name}":
        raise ValueError(
            f"{where}: model_type {family!r}, but zoo.name {name!r}; {OWN} and that "
            "name allowed."
        )
    try:
        return registry.config(name, **fields)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from None
