"""FAULTS class 17: a pickle of a few kilobytes that torch.load obeys with gigabytes or hours is refused unread."""

import collections
import io
import zipfile

import pytest
import torch
from hostile_run import VERBS, cheaply
from old_checkpoint import ended, pieces, record, rewritten, saved

from nnkit.checkpoint.old_formats import load

MARK = b"X\x04\x00\x00\x00mark"


def text(word):
    return b"X" + len(word).to_bytes(4, "little") + word.encode()


def name(module, word):
    return f"c{module}\n{word}\n".encode()


def number(value):
    size = value.to_bytes(9, "little")
    return b"\x8a" + bytes([len(size)]) + size


def keep(index):
    return b"r" + (10**6 + index).to_bytes(4, "little")


def kept(index):
    return b"j" + (10**6 + index).to_bytes(4, "little")


# A list of 20,000 numbers; a call that copies it has to be written in about 15 bytes.
LONG_LIST = b"](" + b"K\x01" * 20_000 + b"e" + keep(0)
PAIRS = b"](" + b"K\x01K\x01\x86" * 20_000 + b"e" + keep(0)


def copies(first, function):
    """Call a function on the same value again and again, and keep all that it returns."""
    return b"](" + first + function + keep(1) + (kept(1) + kept(0) + b"\x85R") * 5_000 + b"e"


def doubled(depth):
    """A tuple of two tuples of two tuples, which takes 2 ** depth steps to hash."""
    return b")" + b"".join(keep(n) + kept(n) + b"\x86" for n in range(depth))


LETTERS = text("x" * 200_000)
ENCODED = name("_codecs", "encode") + keep(1)
PICKLES = {
    "bytearray(6e9)": name("__builtin__", "bytearray") + number(6 * 10**9) + b"\x85R",
    "bytearray(2e9), one of several": b"]("
    + (name("__builtin__", "bytearray") + number(2 * 10**9) + b"\x85R") * 3
    + b"e",
    "a dictionary filled 5,000 times": copies(PAIRS, name("collections", "OrderedDict")),
    "a counter filled 5,000 times": copies(LONG_LIST, name("collections", "Counter")),
    "a set filled 5,000 times": copies(LONG_LIST, name("__builtin__", "set")),
    "a text encoded 5,000 times": b"]("
    + LETTERS
    + keep(0)
    + ENCODED
    + (kept(1) + kept(0) + text("latin1") + b"\x86R") * 5_000
    + b"e",
    "a key that takes 2 ** 60 steps to hash": b"}" + doubled(60) + b"K\x01s",
    "a set member that takes 2 ** 60 steps": name("__builtin__", "set") + b"]" + doubled(60) + b"a\x85R",
    "a tensor's own constructor": name("torch", "Tensor") + number(10**9) + b"\x85R",
    "another opcode": b"\x8b\xff\xff\xff\x7f",
    "a value from nowhere": kept(7),
    "a tensor of a text": name("torch._utils", "_rebuild_tensor_v2") + text("x") + b"\x85R",
}


def forged(hostile, payload):
    data = saved({**hostile.state(), "x": "mark"})
    pickled = record(data, "data.pkl")
    assert pickled.count(MARK) == 1
    return rewritten(data, **{"data.pkl": [pickled.replace(MARK, payload)]})


@pytest.mark.parametrize("payload", PICKLES.values(), ids=PICKLES)
def test_a_pickle_that_costs_more_than_it_weighs_is_refused(hostile, refuses, payload):
    hostile.put_old(forged(hostile, payload))
    assert max(path.stat().st_size for path in hostile.checkpoints.iterdir()) < 500_000
    for words in VERBS:
        with cheaply():
            refuses(words, "no valid checkpoint is left")


SIZES = {
    "a shape beyond its record": (b"K\n\x85", number(10**10) + b"\x85"),
    "a stride beyond its record": (b"K\x01\x85", number(10**10) + b"\x85"),
}


@pytest.mark.parametrize(("old", "new"), SIZES.values(), ids=SIZES)
def test_a_tensor_is_compared_with_its_record_before_it_is_built(hostile, old, new, monkeypatch):
    data = saved({**hostile.state(), "large": torch.zeros(10)})
    pickled = record(data, "data.pkl")
    assert old in pickled
    monkeypatch.setattr(torch, "load", lambda *arguments, **named: pytest.fail("it was loaded"))
    with cheaply(), pytest.raises(ValueError, match="the checkpoint is refused"):
        load(rewritten(data, **{"data.pkl": [pickled.replace(old, new)]}))


@pytest.mark.parametrize(
    "name", ["archive/DATA.PKL", "other/data.pkl", "archive/constants.pkl", "archive/data/../x"]
)
def test_no_other_record_is_shown_to_torch(hostile, name):
    data, buffer = saved(hostile.state()), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for one in old.namelist():
            new.writestr(one, old.read(one))
        new.writestr(name, old.read("archive/data.pkl"))
    records, directory = pieces(buffer.getvalue())
    with pytest.raises(ValueError, match="record"):
        load(ended(records, directory))


def test_whatever_a_callback_keeps_is_still_read():
    """What torch.load takes and costs no more than its size."""
    kept_values = {
        "empty": [(), [], {}, set(), ""],
        "numbers": [1, -1, 2**70, 1.5, float("inf"), True, None],
        "bytes": b"\x00\xff",
        "set": {1, 2, "three"},
        "ordered": collections.OrderedDict(a=1, b=(1, (2, 3))),
        1: "a key that is a number",
        "shared": [[1, 2]] * 3,
        "dtype": torch.bfloat16,
        "scalar": torch.tensor(1.5, dtype=torch.float64),
        "none": torch.zeros(0, 3),
        "view": torch.arange(12).reshape(3, 4)[:, 1:].t(),
        "bool": torch.tensor([True]),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "complex": torch.ones(2, dtype=torch.complex64),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    found = load(saved(kept_values))
    assert found.keys() == kept_values.keys()
    for key, value in kept_values.items():
        if isinstance(value, torch.Tensor):
            assert found[key].dtype == value.dtype and torch.equal(found[key], value), key
        else:
            assert found[key] == value, key
