"""Finds and loads TensorFlow's C library, and declares its functions.

Standard library only. The declarations follow tensorflow/c/c_api.h and tf_tstring.h.
"""

import ctypes
import functools
import importlib.util
import pathlib

from zoo.saved_model.checker import wire

_LIBRARIES = (
    "libtensorflow_cc.so.2",
    "libtensorflow.so.2",
    "libtensorflow.so",
    "libtensorflow_cc.2.dylib",
)


class _Buffer(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    ]


def folder() -> pathlib.Path:
    """The folder of the installed tensorflow package, found without importing it.

    Raises:
      ValueError: it is not installed.
    """
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("tensorflow: not installed here; give its package folder.")
    return pathlib.Path(next(iter(spec.submodule_search_locations)))


def find(tensorflow: str) -> pathlib.Path:
    """The C library in the folder of a tensorflow package.

    Raises:
      ValueError: the folder holds none.
    """
    for name in _LIBRARIES:
        if (path := pathlib.Path(tensorflow) / name).exists():
            return path
    raise ValueError(f"{tensorflow}: holds none of {', '.join(_LIBRARIES)}.")


@functools.cache
def load(tensorflow: str) -> ctypes.CDLL:
    """Loads the C library in a folder and switches XLA off, once for the process.

    Raises:
      ValueError: the folder holds no library, or one whose XLA stays on.
    """
    path = find(tensorflow)
    lib = ctypes.CDLL(str(path))
    try:
        lib._ZN10tensorflow21DisableXlaCompilationEv()
    except AttributeError:
        raise ValueError(f"{path}: has no DisableXlaCompilation().") from None
    pointer, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    for name, result, *arguments in (
        ("TF_Version", text),
        ("TF_GetAllOpList", ctypes.POINTER(_Buffer)),
        ("TF_NewBuffer", ctypes.POINTER(_Buffer)),
        ("TF_DeleteBuffer", None, ctypes.POINTER(_Buffer)),
        ("TF_NewStatus", pointer),
        ("TF_DeleteStatus", None, pointer),
        ("TF_GetCode", ctypes.c_int, pointer),
        ("TF_Message", text, pointer),
        ("TF_NewGraph", pointer),
        ("TF_DeleteGraph", None, pointer),
        ("TF_GraphOperationByName", pointer, pointer, text),
        ("TF_NewSessionOptions", pointer),
        ("TF_DeleteSessionOptions", None, pointer),
        ("TF_LoadSessionFromSavedModel", pointer, pointer, pointer, text, pointer)
        + (ctypes.c_int, pointer, ctypes.POINTER(_Buffer), pointer),
        ("TF_CloseSession", None, pointer, pointer),
        ("TF_DeleteSession", None, pointer, pointer),
        ("TF_SessionRun", None, pointer, pointer, pointer, pointer, ctypes.c_int)
        + (pointer, pointer, ctypes.c_int, pointer, ctypes.c_int, pointer, pointer),
        ("TF_AllocateTensor", pointer, ctypes.c_int, pointer, ctypes.c_int, size),
        ("TF_DeleteTensor", None, pointer),
        ("TF_TensorType", ctypes.c_int, pointer),
        ("TF_NumDims", ctypes.c_int, pointer),
        ("TF_Dim", ctypes.c_int64, pointer, ctypes.c_int),
        ("TF_TensorData", pointer, pointer),
        ("TF_TensorByteSize", size, pointer),
        ("TF_StringInit", None, pointer),
        ("TF_StringCopy", None, pointer, text, size),
        ("TF_StringGetDataPointer", pointer, pointer),
        ("TF_StringGetSize", size, pointer),
        ("TF_StringDealloc", None, pointer),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def version(lib: ctypes.CDLL) -> str:
    """The release of a loaded library."""
    return lib.TF_Version().decode()


def registry(lib: ctypes.CDLL) -> dict[str, bool]:
    """The ops that a loaded library knows, and whether each is declared stateful."""
    buffer = lib.TF_GetAllOpList()
    try:
        return wire.ops(contents(buffer))
    finally:
        lib.TF_DeleteBuffer(buffer)


def contents(buffer) -> bytes:
    """The bytes of a TF_Buffer."""
    return ctypes.string_at(buffer.contents.data, buffer.contents.length)
