"""The format of a checkpoint's state: tensors in safetensors, everything else in one JSON document.

Nothing in it is ever executed. A dictionary with plain text keys, a list, a text, a number, a boolean and None are
themselves in JSON. Whatever JSON does not know is an object with one key that begins with ``$``:
``{"$tuple": [0.9, 0.999]}``, ``{"$dict": [[0, ...], [1, ...]]}`` for keys that are no texts, ``{"$tensor": NAME}`` for
a tensor of the files beside the document, ``{"$shards": [NAME, ...], "shape": [...]}`` for one whose rows several
processes have shared, each with a file of its own: the rows follow each other in this order.
"""

import base64
import json
import math
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import safetensors.torch
import torch
from torch import Tensor

from nnkit.files.json_limits import check_cost, parse_json
from nnkit.files.tensor_files import check_header

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

# 1: nnkit 0.1; torch.save.
# 2: the length of metrics.jsonl, whether the run had been stopped, gradients inside an accumulation window, the data's
#    fingerprint; the manifest names the best checkpoint.
# 3: several files, which the manifest lists: the tensors in safetensors, everything else in JSON.
FORMAT = 3

KEY = "nnkit"

# What the names of a checkpoint's files end with.
TENSORS = ".safetensors"
DOCUMENT = ".state.json"

MAX_DEPTH = 64
# torch's own limit.
MAX_DIMS = 64
# Far below where Python refuses to parse an integer.
_LARGE = 1 << 2_040
_DTYPES = frozenset(
    getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "bool"),
        *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
    )
)
_TAGS: dict[type, str] = {
    **{tuple: "$tuple", set: "$set"},
    **{dict: "$dict", OrderedDict: "$ordered", Counter: "$counter"},
}
_KINDS = {tag: kind for kind, tag in _TAGS.items()}
_IN_JSON = (type(None), bool, str)
# No tuples: those of tuples of tuples take as long to hash as they have leaves, which their number doubles.
_KEYS = (type(None), bool, int, float, str, bytes)


def encode(state: Any, shards: dict[str, Tensor] | None = None) -> tuple[Any, dict[str, Tensor]]:
    """Take a state apart into plain JSON data and its tensors; no tensor is copied that is dense.

    A tensor that occurs twice is stored once. An order of dimensions other than the row-major one is kept, because a
    fused optimizer walks parameter and state side by side in memory.

    Args:
        state: Nested dictionaries, lists, tuples and sets of plain values and tensors.
        shards: Filled with the rows that this process has of tensors that several share, by the names that the JSON
            data, the same ones in each process, refer to. None: the state must hold no such tensor.

    Returns:
        The JSON data, and the contiguous tensors by the names that it refers to.

    Raises:
        ValueError: If a value is of any other kind, with its key.
    """
    encoder = _Encoder(shards)
    return encoder.encode(state, ()), encoder.tensors


def decode(document: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Put a state together again from what `encode` returns.

    Raises:
        ValueError: If it is nothing that `encode` returns.
    """
    decoder = _Decoder(tensors)
    state = decoder.decode(document, 0)
    if unused := tensors.keys() - decoder.used:
        raise ValueError(f"its document does not mention the tensor {min(unused)!r}")
    return state


def dump_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Return a file of tensors.

    Args:
        tensors: From `encode`, on the CPU.

    Raises:
        ValueError: If they are more than what `load` accepts.
    """
    data = safetensors.torch.save(dict(tensors))
    check_header(data, len(data))
    return data


def dump(document: Any, tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    """Return the files of a state by their suffix.

    Args:
        document: From `encode`.
        tensors: From `encode`, on the CPU.

    Raises:
        ValueError: If they are larger than what `load` accepts.
    """
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    check_cost(text)
    return {TENSORS: dump_tensors(tensors), DOCUMENT: text}


def load(document: bytes, shards: Mapping[str, bytes]) -> dict[str, Any]:
    """Read a state without executing anything in it, at a cost bounded by the size of its files.

    Args:
        document: The JSON document.
        shards: The files of tensors by name.

    Raises:
        ValueError: If they are not what `dump` returns.
    """
    tensors: dict[str, Tensor] = {}
    try:
        for shard in shards.values():
            check_header(shard, len(shard))
            loaded = safetensors.torch.load(shard)
            if twice := tensors.keys() & loaded.keys():
                raise ValueError(f"two of its files hold the tensor {min(twice)!r}")
            for name in list(loaded):
                # Into memory of torch, aligned as that of a tensor that was computed: kernels may round otherwise.
                tensors[name] = loaded.pop(name).clone()
        check_cost(document)
        state = decode(parse_json(document), tensors)
    # Whatever the library says of a hostile file; torch and Python answer a few of its claims.
    except Exception as error:
        raise ValueError(f"the checkpoint is refused: {str(error) or type(error).__name__}") from error
    if not isinstance(state, dict):
        raise ValueError(f"the checkpoint holds a {type(state).__name__}, not a dictionary")
    return state


class _Encoder:
    """Encodes one state; see `encode`.

    Args:
        shards: As for `encode`.
    """

    def __init__(self, shards: dict[str, Tensor] | None) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._shards = shards
        # Where a tensor lies and how it is laid out there -> its reference.
        self._references: dict[tuple[Any, ...], dict[str, Any]] = {}
        # By storage; kept alive, so that no other tensor gets the same place.
        self._owners: dict[tuple[torch.device, int], Tensor] = {}

    def encode(self, value: Any, path: tuple[object, ...]) -> Any:
        kind = type(value)
        if kind in _IN_JSON or (kind is int and -_LARGE < value < _LARGE):
            return value
        if len(path) > MAX_DEPTH:
            _refuse(path[:3], f"values nested more than {MAX_DEPTH} deep")
        # Exact types: a subclass would not come back as itself.
        method = self._KINDS.get(kind)
        if method is None and _is_sharded(kind):
            method = _Encoder._sharded
        if method is None:
            _refuse(path, f"a {kind.__module__}.{kind.__qualname__}")
        return method(self, value, path)

    def _huge(self, value: int, path: tuple[object, ...]) -> NoReturn:
        _refuse(path, f"an integer of {value.bit_length():,} bits")

    def _float(self, value: float, path: tuple[object, ...]) -> Any:
        return value if math.isfinite(value) else {"$float": str(value)}

    def _bytes(self, value: bytes, path: tuple[object, ...]) -> Any:
        return {"$bytes": base64.b64encode(value).decode()}

    def _dtype(self, value: torch.dtype, path: tuple[object, ...]) -> Any:
        return {"$dtype": str(value).removeprefix("torch.")}

    def _sequence(self, value: list[Any] | tuple[Any, ...] | set[Any], path: tuple[object, ...]) -> Any:
        # A set has no order of its own, and the same state must give the same bytes.
        items = sorted(value, key=repr) if isinstance(value, set) else value
        encoded = [self.encode(item, (*path, number)) for number, item in enumerate(items)]
        return encoded if type(value) is list else {_TAGS[type(value)]: encoded}

    def _mapping(self, value: dict[Any, Any], path: tuple[object, ...]) -> Any:
        inner = {key: self.encode(item, (*path, key)) for key, item in value.items()}
        if type(value) is dict and all(type(key) is str and not key.startswith("$") for key in inner):
            return inner
        if odd := [type(key) for key in inner if type(key) not in _KEYS]:
            _refuse(path, f"a key of the type {odd[0].__qualname__}")
        return {_TAGS[type(value)]: [[self.encode(key, path), item] for key, item in inner.items()]}

    def _tensor(self, value: Tensor, path: tuple[object, ...]) -> dict[str, Any]:
        tensor = value.detach().resolve_conj().resolve_neg()
        if tensor.is_complex():
            return {"$complex": self._tensor(torch.view_as_real(tensor), path)}
        if tensor.layout is not torch.strided or tensor.is_meta or tensor.dtype not in _DTYPES:
            _refuse(path, f"a tensor of {tensor.dtype}, {tensor.layout}, on {tensor.device.type}")
        place = tensor.device, tensor.untyped_storage().data_ptr()
        view = (*place, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if view not in self._references:
            name = _name(path, self.tensors)
            reference: dict[str, Any] = {"$tensor": name}
            self._references[view] = reference
            if tensor.numel() and tensor.stride() != _row_major(tensor.shape):
                order = _order(tensor.stride())
                # Where a dimension has the size 1, two tensors in row-major order may still differ in their strides.
                if tensor.permute(order).is_contiguous():
                    reference["stride"] = list(tensor.stride())
                    tensor = tensor.permute(order)
            # The library stores no memory twice: of two views that overlap, the second becomes a copy.
            self.tensors[name] = tensor.clone() if place in self._owners else tensor.contiguous()
            self._owners.setdefault(place, tensor)
        return self._references[view]

    def _sharded(self, value: "DTensor", path: tuple[object, ...]) -> dict[str, Any]:
        mesh, placements = value.device_mesh, value.placements
        if self._shards is None or mesh.ndim != 1 or not placements[0].is_shard(0):
            _refuse(path, f"a tensor shared among processes as {placements}")
        # Named by its place alone: other processes may hold other tensors beside it.
        names = [f"{'.'.join(map(str, path))}@{rank}" for rank in range(mesh.size())]
        rows: Tensor = value.to_local()
        self._shards[names[mesh.get_local_rank()]] = rows.detach().contiguous()
        return {"$shards": names, "shape": list(value.shape)}

    _KINDS: ClassVar[dict[type, Callable[..., Any]]] = {
        **{int: _huge, float: _float, bytes: _bytes, torch.dtype: _dtype},
        **{list: _sequence, tuple: _sequence, set: _sequence},
        **{dict: _mapping, OrderedDict: _mapping, Counter: _mapping},
        **{Tensor: _tensor, torch.nn.Parameter: _tensor},
    }


def _is_sharded(kind: type) -> bool:
    """Return whether a tensor is shared among processes; where there is one, its module has been imported."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and kind is module.DTensor


def _refuse(path: tuple[object, ...], what: str) -> NoReturn:
    raise ValueError(
        f"{'.'.join(map(str, path)) or 'the state'} is or holds {what}, and a checkpoint holds plain data and "
        "dense tensors only"
    )


def _name(path: tuple[object, ...], taken: Mapping[str, Tensor]) -> str:
    """Return a name for the tensor at a path that no other has; one key may contain the dot that joins two."""
    name = ".".join(map(str, path)).encode(errors="backslashreplace").decode() or "tensor"
    number = 1
    found = name
    while found in taken or found == "__metadata__":
        number += 1
        found = f"{name}~{number}"
    return found


class _Decoder:
    """Decodes one state; see `decode`.

    Args:
        tensors: The tensors by name.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.used: set[str] = set()
        self._tensors = tensors

    def decode(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"its values are nested more than {MAX_DEPTH} deep")
        if isinstance(value, list):
            return [self.decode(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        tag = next((key for key in value if key.startswith("$")), None)
        if tag is None:
            return {key: self.decode(item, depth + 1) for key, item in value.items()}
        return self._tagged(tag, value, depth)

    def _tagged(self, tag: str, value: dict[str, Any], depth: int) -> Any:
        content = value[tag]
        if tag in ("$tensor", "$complex", "$shards"):
            return self._tensor(value)
        if tag == "$float":
            return float(content)
        if tag == "$bytes":
            return base64.b64decode(content, validate=True)
        if tag == "$dtype" and isinstance(dtype := getattr(torch, content, None), torch.dtype):
            return dtype
        if kind := _KINDS.get(tag):
            items = self.decode(content, depth)
            if kind in (tuple, set):
                return kind(items)
            if not all(type(key) in _KEYS for key, _ in items):
                raise ValueError("it has keys that are neither texts nor numbers")
            return kind(dict(items))
        raise ValueError(f"its document holds {tag!r}, which no checkpoint does")

    def _tensor(self, reference: dict[str, Any]) -> Tensor:
        if "$complex" in reference:
            return torch.view_as_complex(self._tensor(reference["$complex"]))
        if "$shards" in reference:
            return self._joined(reference["$shards"], reference["shape"])
        tensor = self._stored(reference["$tensor"])
        stride = reference.get("stride")
        return tensor if stride is None else _laid_out(tensor, stride)

    def _joined(self, names: list[str], shape: list[int]) -> Tensor:
        """Return a tensor from the rows of each process; no row may be mentioned twice, which would cost memory."""
        if twice := [name for name in names if name in self.used]:
            raise ValueError(f"its document mentions the rows {twice[0]!r} twice")
        tensor = torch.cat([self._stored(name) for name in names])
        if list(tensor.shape) != shape:
            raise ValueError(f"the rows of {names[0]!r} make up {list(tensor.shape)}, not {shape}")
        return tensor

    def _stored(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise ValueError(f"none of its files holds the tensor {name!r}")
        self.used.add(name)
        tensor = self._tensors[name]
        if tensor.dim() > MAX_DIMS:
            raise ValueError(f"the tensor {name!r} has {tensor.dim():,} dimensions")
        return tensor


def _row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of a tensor of this shape whose last dimension is contiguous."""
    return torch.empty(shape, device="meta").stride()


def _order(stride: Sequence[int]) -> list[int]:
    """Return the dimensions from the largest stride to the smallest."""
    return sorted(range(len(stride)), key=lambda dim: stride[dim], reverse=True)


def _laid_out(stored: Tensor, stride: list[int]) -> Tensor:
    """Return a tensor whose dimensions were stored in the order of their strides as it lay in memory.

    Raises:
        ValueError: If a tensor of these numbers cannot have these strides.
    """
    known = isinstance(stride, list) and all(type(step) is int and 0 <= step < 1 << 62 for step in stride)
    if not known or len(stride) != stored.dim():
        raise ValueError(f"a tensor of {stored.dim():,} dimensions has the strides {stride!r}")
    order = _order(stride)
    tensor = stored.permute([order.index(dim) for dim in range(stored.dim())])
    wrong = [dim for dim, step in enumerate(stride) if tensor.shape[dim] > 1 and tensor.stride(dim) != step]
    if wrong:
        raise ValueError(f"a tensor of the shape {tuple(tensor.shape)} has the strides {stride!r}")
    return tensor.as_strided(tensor.shape, stride)
