"""HDF5 files of others, opened with care.

HDF5 can point out of a file, into any other of the system, and can say that a few bytes
are terabytes of zeros. Nobody writes weights so.
"""

import contextlib
import os

import h5py


def arrays(path, where: str) -> dict[str, h5py.Dataset]:
    """The arrays of a file by their paths in it; the file stays open for them.

    Raises:
      ValueError: it is no HDF5 file or broken, it points out of itself, or says that it
        holds more than its size.
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
        stack.pop_all()  # it is closed with the last of its arrays
    return found


def _walk(group, found, where, seen):
    # a group that is among its own members would never end
    place = h5py.h5o.get_info(group.id).addr
    if place in seen or len(seen) > 100_000:
        raise ValueError(f"{where}: the group {group.name} is in itself.")
    seen.add(place)
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
