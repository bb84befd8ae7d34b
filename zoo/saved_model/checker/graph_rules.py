"""Rules that a SavedModel's graph must keep, checked without running it.

Standard library only.
"""

import collections
from collections.abc import Iterable, Iterator

from zoo.saved_model.checker import releases
from zoo.saved_model.checker.graph import Graph
from zoo.saved_model.checker.report import Result
from zoo.saved_model.checker.wire import TensorInfo

# Ops declared stateful that change nothing: they read variables and immutable tables,
# call functions, check values, or keep values for one call only.
_READ_ONLY = frozenset(
    """
    Assert BatchFunction Case CheckNumerics CheckNumericsV2 CudnnRNN CudnnRNNV2
    CudnnRNNV3 DatasetToSingleElement DeepCopy DeviceIndex DisableCopyOnRead
    GuaranteeConst HashTable HashTableV2 If IsTensorFloat32Enabled LookupTableExportV2
    LookupTableFindV2 LookupTableSizeV2 RangeDataset ReadVariableOp ReduceDataset
    ResourceGather ResourceGatherNd StatefulPartitionedCall StatelessRandomGetAlg
    TensorArray TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3
    TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3
    TensorArrayV2 TensorArrayV3 TensorArrayWriteV3 TensorDataset TensorSliceDataset
    VarHandleOp VarIsInitializedOp Variable VariableShape VariableV2 While
    """.split()
)
# Writes that are not declared stateful (those of TensorFlow 1).
_REF_WRITES = frozenset(
    """
    Assign AssignAdd AssignSub CountUpTo LookupTableImport LookupTableInsert
    ScatterAdd ScatterDiv ScatterMax ScatterMin ScatterMul ScatterNdAdd ScatterNdSub
    ScatterNdUpdate ScatterSub ScatterUpdate StridedSliceAssign
    """.split()
)
_PYTHON = frozenset(("EagerPyFunc", "PyFunc", "PyFuncStateless"))
_HOST = frozenset(
    """
    DebugIdentityV2 DebugIdentityV3 DumpTensor ImportEvent MatchingFiles
    MergeV2Checkpoints Print PrintV2 ReadFile Restore RestoreSlice RestoreV2 Save
    SaveSlices SaveV2 WholeFileReader WholeFileReaderV2 WriteFile
    """.split()
)
_ELSEWHERE = ("Collective", "Nccl", "RemoteCall", "Rpc", "TPU", "Send", "Recv")
# The types that TF Serving's json_tensor.cc converts.
_REST_TYPES = frozenset(
    "bool float32 float64 int8 int16 int32 int64 string uint8 uint32 uint64".split()
)
_SHOWN = 4  # findings in a line


def ops(graph: Graph) -> list[str]:
    """The op types that any signature reaches, sorted."""
    reached = (graph.reached(name) for name in graph.signatures)
    return sorted({node.op for nodes in reached for _, node in nodes})


def check(graph: Graph, registry: dict[str, bool], about: dict) -> Iterator[Result]:
    """Applies every rule.

    Args:
      graph: the graph of the SavedModel.
      registry: the ops of the core library, and whether each is declared stateful.
      about: the signatures of signature.json; {} without the file.
    """
    yield from _rest(graph)
    if about:
        yield from _described(graph, about)
    everything = list(graph.everything())
    types = {node.op for _, node in everything}
    yield _verdict(
        "ops",
        "",
        [
            (w, n.op)
            for w, n in everything
            if n.op not in registry and n.op not in graph.functions
        ],
        f"{len(types)} types, all in the core library since {releases.first(types)}",
    )
    xla = [(where, n.op) for where, n in everything if "Xla" in n.op or n.compiled]
    xla += [(name, "jit_compile") for name in graph.compiled]
    yield _verdict("xla", "", xla, "none")
    python = [(w, n.op) for w, n in everything if n.op in _PYTHON]
    yield _verdict("python", "", python, "none")
    for name in graph.signatures:
        reached = list(graph.reached(name))
        state = [(w, n.op) for w, n in reached if _changes_state(n.op, registry)]
        yield _verdict("state", name, state, "changes nothing")
        host = [(w, n.op) for w, n in reached if _leaves(n.op)]
        yield _verdict("host", name, host, "no files, logs or other machines")


def _changes_state(op: str, registry: dict[str, bool]) -> bool:
    """Whether an op leaves something behind after a call."""
    named = op in _READ_ONLY or op in _PYTHON or "Xla" in op or _leaves(op)
    return op in _REF_WRITES or (registry.get(op, False) and not named)


def _leaves(op: str) -> bool:
    """Whether an op reads or writes files, logs or other machines."""
    return op in _HOST or op.lstrip("_").startswith(_ELSEWHERE) or "Summary" in op


def _verdict(
    check: str, signature: str, found: Iterable[tuple[str, str]], good: str
) -> Result:
    counts = collections.Counter(found)
    if not counts:
        return Result(check, signature, "pass", good)
    shown = [f"{op} in {where}" for where, op in list(counts)[:_SHOWN]]
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return Result(check, signature, "fail", ", ".join(shown) + more)


def _rest(graph: Graph) -> Iterator[Result]:
    """Whether TF Serving's REST interface and its batching take the signatures."""
    if not graph.signatures:
        yield Result("rest", "", "fail", "there is no signature to call")
    for name, signature in graph.signatures.items():
        wrong = [] if signature.inputs else ["has no inputs"]
        wrong += [] if signature.outputs else ["has no outputs"]
        for kind in ("inputs", "outputs"):
            for key, info in getattr(signature, kind).items():
                problem = _problem(info)
                if problem:
                    wrong.append(f"{kind[:-1]} {key!r} {problem}")
        detail = (
            "; ".join(wrong[:_SHOWN]) or "every tensor is [batch, ...] of REST types"
        )
        yield Result("rest", name, "fail" if wrong else "pass", detail)


def _problem(info: TensorInfo) -> str:
    """Why REST or batching refuses a tensor, or ""."""
    if not info.tensor:
        return "is sparse or composite"
    if info.dtype not in _REST_TYPES:
        return f"is {info.dtype}"
    if not info.shape or info.shape[0] is not None:
        return f"has shape {_sizes(info)}, expected an unknown batch dimension first"
    return ""


def _sizes(info: TensorInfo) -> list | None:
    return None if info.shape is None else list(info.shape)


def _described(graph: Graph, about: dict) -> Iterator[Result]:
    """Whether signature.json names the same signatures, tensors, types and shapes."""
    wrong = [f"{name!r} is in one only" for name in about.keys() ^ graph.signatures]
    for name in about.keys() & graph.signatures.keys():
        for kind in ("inputs", "outputs"):
            infos, texts = getattr(graph.signatures[name], kind), about[name][kind]
            for key in infos.keys() | texts.keys():
                where = f"{name}: {kind[:-1]} {key!r}"
                if key not in infos or key not in texts:
                    wrong.append(f"{where} is in one only")
                    continue
                described = f"{texts[key]['dtype']} {texts[key]['shape']}"
                real = f"{infos[key].dtype} {_sizes(infos[key])}"
                if real != described:
                    wrong.append(f"{where} is {real}, described as {described}")
    detail = "; ".join(sorted(wrong)[:_SHOWN]) or "signature.json agrees with the graph"
    yield Result("described", "", "fail" if wrong else "pass", detail)
