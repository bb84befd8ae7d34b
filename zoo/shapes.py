"""Checks shapes at the door of public functions, with the names of the dimensions."""


def check(name: str, tensor, dims: str, **sizes: int) -> dict[str, int | None]:
    """Checks the static shape of one tensor and returns its sizes by dimension.

    Args:
      name: what the message calls the tensor.
      tensor: anything with a `shape`.
      dims: one letter a dimension, for example "BT".
      **sizes: the size that a dimension must have, for example `T=128`.

    Raises:
      ValueError: the rank or a known size differs.
    """
    shape = tuple(tensor.shape)
    wanted = ", ".join(f"{d}={sizes[d]}" if d in sizes else d for d in dims)
    if len(shape) != len(dims):
        raise ValueError(f"{name}: shape {shape}, expected [{wanted}]")
    for dim, size in zip(dims, shape, strict=True):
        if size is not None and sizes.get(dim, size) != size:
            raise ValueError(f"{name}: shape {shape}, expected [{wanted}]")
    return dict(zip(dims, shape, strict=True))
