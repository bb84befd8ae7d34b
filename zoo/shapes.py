"""Checks the shapes of arguments, with the names of the dimensions."""


def check(name: str, tensor, dims: str, **sizes: int) -> dict[str, int | None]:
    """Checks the static shape of one tensor.

    Args:
      name: the tensor's name in the message.
      tensor: anything with a `shape`.
      dims: one letter for each dimension, for example "BT".
      **sizes: the required size of a dimension, for example `T=128`.

    Returns:
      The static size of each dimension by its letter; None is unknown.

    Raises:
      ValueError: the rank or a static size differs.
    """
    shape = tuple(tensor.shape)
    wanted = ", ".join(f"{d}={sizes[d]}" if d in sizes else d for d in dims)
    if len(shape) != len(dims):
        raise ValueError(f"{name}: shape {shape}, expected [{wanted}]")
    for dim, size in zip(dims, shape, strict=True):
        if size is not None and sizes.get(dim, size) != size:
            raise ValueError(f"{name}: shape {shape}, expected [{wanted}]")
    return dict(zip(dims, shape, strict=True))
