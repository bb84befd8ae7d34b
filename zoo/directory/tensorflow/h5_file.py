"""Opens HDF5 files that may come from anybody.

An HDF5 file can link to any other file of the system. It can also claim that a few
bytes are terabytes of zeros. Files of weights need neither, so both are refused.
"""

import contextlib
import os

import h5py


def arrays(path, where: str) -> dict[str, h5py.Dataset]:
    """Returns the arrays of a file by their paths in it; they keep the file open.

    Args:
      path: the file.
      where: the start of error messages.

    Raises:
      ValueError: the file is broken, links to another file, or claims to hold more
        bytes than its size.
    """
    found, size = {}, os.path.getsize(path)
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(h5py.File(path, "r"))
            _walk(file, found, where, set())
        except (OSError, RuntimeError, KeyError) as error:
            raise ValueError(f"{where}: cannot be read as HDF5: {error}") from None
        total = sum(array.nbytes for array in found.values())
        if total > size:
            raise ValueError(f"{where}: says it holds {total} bytes, but has {size}.")
        stack.pop_all()  # the file is closed with the last of its arrays
    return found


def _walk(group, found, where, seen):
    """Adds the arrays of a group and of the groups in it to `found`."""
    # A group can be a member of itself.
    if group.id in seen or len(seen) > 100_000:
        raise ValueError(f"{where}: the group {group.name} is in itself.")
    seen.add(group.id)
    for name in group:
        path = f"{group.name.rstrip('/')}/{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{where}: {path} is a link, arrays and groups allowed.")
        member = group[name]
        if isinstance(member, h5py.Group):
            _walk(member, found, where, seen)
        elif isinstance(member, h5py.Dataset):
            if member.external or member.is_virtual:
                raise ValueError(f"{where}: {path} points to other files.")
            found[path.lstrip("/")] = member
