"""Checkpoints of the formats 1 and 2, files of torch.save: read as before, and never written any more.

`torch.load(weights_only=True)` runs no code, yet calls `bytearray(6_000_000_000)` where a pickle of thirty bytes
says so, and resizes the memory of a tensor to what its shape claims. So the pickle is followed opcode by opcode before
torch obeys one of them, and nothing is built: containers are counted, tensors are compared with the bytes of their
records, and only what nnkit wrote is let through.
"""

import io
import math
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from nnkit.checkpoint.formats import MAX_DEPTH, MAX_DIMS
from nnkit.files.json_limits import MAX_VALUES

# The end of every file of torch.save: the directory's 64-bit record, its locator, the plain record without a comment.
_TAIL = struct.Struct("<4s36xQQ 4s4xQ4x 4s16xH")
_SIGNATURES = (b"PK\x06\x06", b"PK\x06\x07", b"PK\x05\x06")
_MAX_OPCODES = 10_000_000
_FOLDER = re.compile(r"[^/]+/(data\.pkl|version|byteorder|\.[\w/]+|data/(\d+))")

_ITEM_BYTES = {
    **{"torch DoubleStorage": 8, "torch FloatStorage": 4, "torch HalfStorage": 2, "torch BFloat16Storage": 2},
    **{"torch LongStorage": 8, "torch IntStorage": 4, "torch ShortStorage": 2, "torch CharStorage": 1},
    **{"torch ByteStorage": 1, "torch BoolStorage": 1},
    **{"torch ComplexFloatStorage": 8, "torch ComplexDoubleStorage": 16},
}
_DTYPES = {
    *("torch float64", "torch float32", "torch float16", "torch bfloat16", "torch bool"),
    *("torch int64", "torch int32", "torch int16", "torch int8", "torch uint8"),
}


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class _Storage:
    """The numbers of a tensor: how many its record holds, which its claim does not exceed."""

    numbers: int


@dataclass
class _Container:
    """A list, dictionary, set or tensor, known only as far as its attributes tell.

    Attributes:
        kind: "list", "dict", "set" or "tensor".
        size: How many values were put in.
        plain: Whether all of them are texts or numbers, which cost nothing to hash.
    """

    kind: str
    size: int = 0
    plain: bool = True


def load(data: bytes) -> dict[str, Any]:
    """Deserialise a checkpoint without executing anything in it, at a cost bounded by its size.

    Raises:
        ValueError: If the bytes hold more than plain data and tensors, or are no checkpoint.
    """
    try:
        _check_archive(data)
        _check_pickle(data)
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        _check_values(loaded)
    except Exception as error:
        # One line: torch goes on with the advice to load it unsafely.
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"the checkpoint is refused: {reason}") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"the checkpoint holds a {type(loaded).__name__}, not a dictionary")
    return loaded


def _check_archive(data: bytes) -> None:
    """Refuse a file that would unpack to more than itself; torch stores tensors as they are.

    The directory must stand where torch looks for it: another reader of zip files could be shown another one.

    Raises:
        ValueError: If it is no file of torch.save, or its records are compressed or share their bytes.
    """
    if len(data) < _TAIL.size or not data.startswith(b"PK\x03\x04"):
        raise ValueError("it is no file that torch.save has written")
    end = len(data) - _TAIL.size
    first, size, start, second, located, third, comment = _TAIL.unpack_from(data, end)
    if (first, second, third) != _SIGNATURES or (start + size, located, comment) != (end, end, 0):
        raise ValueError("it is no file that torch.save has written: its directory is elsewhere")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = archive.infolist()
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise ValueError("its records are compressed, which torch.save never does")
    unpacked = sum(record.file_size for record in records)
    if unpacked > len(data):
        raise ValueError(f"its {len(data):,} bytes claim to be {unpacked:,} bytes of records")


def _check_pickle(data: bytes) -> None:
    """Refuse a file of torch.save whose pickle builds more than plain data and tensors, or more than its size.

    Args:
        data: The whole file, which `_check_archive` has let through.

    Raises:
        ValueError: With the first thing that is refused.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [record.filename for record in archive.infolist()]
        # torch looks records up without regard to case, in the directory of the first.
        if len({name.lower() for name in names}) != len(names) or len({_top(name) for name in names}) != 1:
            raise ValueError("its records have names that torch.save does not give")
        if unknown := next((name for name in names if not _FOLDER.fullmatch(name)), None):
            raise ValueError(f"it has a record {unknown!r}, which torch.save does not write")
        sizes = {record.filename.partition("/data/")[2]: record.file_size for record in archive.infolist()}
        pickled = archive.read(f"{_top(names[0])}/data.pkl")
    _Follower(sizes, len(pickled)).follow(pickled)


def _check_values(state: object) -> None:
    """Refuse values that cost far more to walk through than to store.

    Raises:
        ValueError: If values are nested too deeply or within themselves, or repeat each other a million times.
    """
    ahead: list[tuple[object, int]] = [(state, 0)]
    count = 0
    while ahead:
        value, depth = ahead.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"its values are nested more than {MAX_DEPTH} deep")
        if count > MAX_VALUES:
            raise ValueError(f"it holds more than {MAX_VALUES:,} values, its repetitions counted")
        if isinstance(value, dict | list | tuple | set):
            inner = value.values() if isinstance(value, dict) else value
            ahead.extend((one, depth + 1) for one in inner)


def _top(name: str) -> str:
    return name.partition("/")[0]


class _Follower:
    """Follows a pickle with a stack of what is known of its values.

    Args:
        records: Bytes of each record of numbers, by its key.
        budget: Bytes that calls may copy in all: no more than the pickle has.
    """

    def __init__(self, records: Mapping[str, int], budget: int) -> None:
        self._records, self._budget = records, budget
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._steps: dict[str, Callable[[Any], None]] = {
            **dict.fromkeys(("PROTO", "STOP"), self._nothing),
            **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"), self._push),
            **dict.fromkeys(("NONE", "NEWTRUE", "NEWFALSE"), lambda _: self._push(None)),
            **dict.fromkeys(("BINPUT", "LONG_BINPUT"), self._remember),
            **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda index: self._push(self._memo[index])),
            "EMPTY_LIST": lambda _: self._push(_Container("list")),
            "EMPTY_DICT": lambda _: self._push(_Container("dict")),
            "EMPTY_TUPLE": lambda _: self._push(()),
            "TUPLE1": lambda _: self._push(self._last(1)),
            "TUPLE2": lambda _: self._push(self._last(2)),
            "TUPLE3": lambda _: self._push(self._last(3)),
            "TUPLE": lambda _: self._push(self._marked()),
            "MARK": self._mark,
            "APPEND": lambda _: self._append(self._last(1)),
            "APPENDS": lambda _: self._append(self._marked()),
            "SETITEM": lambda _: self._set(self._last(2)),
            "SETITEMS": lambda _: self._set(self._marked()),
            "GLOBAL": self._name,
            "BINPERSID": lambda _: self._push(self._storage(self._stack.pop())),
            "REDUCE": lambda _: self._push(self._call(*self._last(2))),
        }

    def follow(self, pickled: bytes) -> None:
        """Follow a pickle to its end.

        Raises:
            ValueError: With the first opcode or value that is refused.
        """
        try:
            for number, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
                step = self._steps.get(opcode.name)
                if step is None:
                    raise ValueError(f"its pickle has the opcode {opcode.name}, which no checkpoint needs")
                if number > _MAX_OPCODES:
                    raise ValueError(f"its pickle has more than {_MAX_OPCODES:,} opcodes")
                step(argument)
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError("its pickle is garbled") from error

    def _nothing(self, argument: object) -> None:
        pass

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _last(self, count: int) -> tuple[Any, ...]:
        if len(self._stack) < count:
            raise ValueError("its pickle is garbled")
        values = tuple(self._stack[-count:])
        del self._stack[-count:]
        return values

    def _mark(self, argument: object) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _marked(self) -> tuple[Any, ...]:
        values = tuple(self._stack)
        self._stack = self._marks.pop()
        return values

    def _remember(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _append(self, values: tuple[Any, ...]) -> None:
        place = self._stack[-1]
        if not isinstance(place, _Container) or place.kind != "list":
            raise ValueError("its pickle appends to what is no list")
        place.size += len(values)
        place.plain = place.plain and all(_is_plain(value) for value in values)

    def _set(self, values: tuple[Any, ...]) -> None:
        place = self._stack[-1]
        if not isinstance(place, _Container) or place.kind != "dict" or len(values) % 2:
            raise ValueError("its pickle sets a key of what is no dictionary")
        place.size += len(values) // 2
        # Tuples of tuples of tuples take as long to hash as they have leaves, which their number doubles.
        if not all(_is_plain(key) for key in values[::2]):
            raise ValueError("it has keys that are neither texts nor numbers")

    def _name(self, name: str) -> None:
        if name not in _CALLS and name not in _ITEM_BYTES and name not in _DTYPES:
            # Dots, as in Python.
            raise ValueError(
                f"it holds {name.replace(' ', '.')}, which is no plain data; nothing in it was run"
            )
        self._push(_Global(name))

    def _storage(self, claim: tuple[Any, ...]) -> _Storage:
        """Return the storage that a persistent id names: ("storage", type, key, device, count)."""
        word, kind, key, device, count = claim
        if (
            word != "storage"
            or not isinstance(key, str)
            or not isinstance(device, str)
            or type(count) is not int
        ):
            raise ValueError("it names a storage in a way that torch.save does not")
        there = self._records.get(key, -1)
        if there < 0 or not 0 <= count * _ITEM_BYTES[kind.name] <= there:
            raise ValueError(
                f"a storage claims {count:,} numbers, and its record has {max(there, 0):,} bytes"
            )
        return _Storage(count)

    def _call(self, function: _Global, arguments: tuple[Any, ...]) -> Any:
        if (
            not isinstance(function, _Global)
            or function.name not in _CALLS
            or not isinstance(arguments, tuple)
        ):
            raise ValueError("its pickle calls what is no constructor of plain data")
        return _CALLS[function.name](self, arguments)

    def _spend(self, count: int) -> None:
        self._budget -= count
        if self._budget < 0:
            raise ValueError("its pickle copies its values again and again, to more than its own size")

    def _tensor(self, arguments: tuple[Any, ...]) -> _Container:
        """Check the arguments of torch._utils._rebuild_tensor_v2: storage, offset, size, stride, and three more."""
        storage, offset, size, stride, *_ = arguments
        numbers = (offset, *size, *stride)
        if not isinstance(storage, _Storage) or any(type(one) is not int or one < 0 for one in numbers):
            raise ValueError("a tensor has a shape that torch.save does not write")
        if len(size) != len(stride) or len(size) > MAX_DIMS or len(arguments) not in (6, 7):
            raise ValueError("a tensor has a shape that torch.save does not write")
        count = math.prod(size)
        last = sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if count and offset + max(count, last + 1) > storage.numbers:
            raise ValueError(f"a tensor of shape {size} is stored with fewer numbers than that")
        return _Container("tensor")

    def _parameter(self, arguments: tuple[Any, ...]) -> _Container:
        """Check the arguments of torch._utils._rebuild_parameter: tensor, requires_grad, hooks."""
        tensor, _, _ = arguments
        if not isinstance(tensor, _Container) or tensor.kind != "tensor":
            raise ValueError("a parameter is made of what is no tensor")
        return tensor

    def _ordered(self, arguments: tuple[Any, ...]) -> _Container:
        if arguments:
            raise ValueError("its pickle fills a dictionary in a way that torch.save does not")
        return _Container("dict")

    def _counter(self, arguments: tuple[Any, ...]) -> _Container:
        """Check the argument of collections.Counter, as torch's MultiStepLR keeps its milestones: a dictionary."""
        (counts,) = arguments
        if not isinstance(counts, _Container) or counts.kind != "dict":
            raise ValueError("its pickle counts what is no dictionary")
        self._spend(counts.size)
        return _Container("dict", counts.size)

    def _bytes(self, arguments: tuple[Any, ...]) -> bytes:
        text, coding = arguments
        if not isinstance(text, str) or coding != "latin1":
            raise ValueError("its pickle writes bytes in a way that Python does not")
        self._spend(len(text))
        # Of bytes only that they are cheap to hash matters.
        return b""

    def _unordered(self, arguments: tuple[Any, ...]) -> _Container:
        (values,) = arguments
        if not isinstance(values, _Container) or values.kind != "list" or not values.plain:
            raise ValueError("it has a set of more than texts and numbers")
        self._spend(values.size)
        return _Container("set")


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bytes)


_CALLS: dict[str, Callable[[_Follower, tuple[Any, ...]], Any]] = {
    "torch._utils _rebuild_tensor_v2": _Follower._tensor,
    "torch._utils _rebuild_parameter": _Follower._parameter,
    "collections OrderedDict": _Follower._ordered,
    "collections Counter": _Follower._counter,
    "_codecs encode": _Follower._bytes,
    "__builtin__ set": _Follower._unordered,
}
