"""FAULTS class 17, format 3: no file of a checkpoint executes anything, leads elsewhere, or costs absurdly."""

import builtins
import json
import pickle
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hostile_run import MEBIBYTE, RESUME, TEST, VERBS, cheaply
from old_checkpoint import saved

from nnkit.checkpoint.formats import DOCUMENT, TENSORS, encode
from nnkit.files.atomic import sha256


class Opens:
    def __reduce__(self):
        return builtins.open, (str(Path("canary").absolute()), "w")


def parts(hostile):
    """Return the files of the run's checkpoint by suffix."""
    return {TENSORS: hostile.tensors.read_bytes(), DOCUMENT: hostile.document.read_bytes()}


def split(data):
    """Return the header of a file of tensors and the bytes behind it."""
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, rest=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + rest


def test_what_the_attacks_write_is_read_where_nothing_is_wrong(hostile, cli):
    """Otherwise they would prove nothing."""
    files = parts(hostile)
    header, rest = split(files[TENSORS])
    hostile.put_files({**files, TENSORS: joined(header, rest)})
    assert cli(*TEST)[0] == 0


@pytest.mark.parametrize("suffix", [TENSORS, DOCUMENT])
@pytest.mark.parametrize("data", [pickle.dumps(Opens()), saved({"x": Opens()})], ids=["pickle", "torch.save"])
def test_no_file_is_unpickled(hostile, refuses, suffix, data):
    hostile.put_files({**parts(hostile), suffix: data})
    for words in VERBS:
        refuses(words, "no valid checkpoint is left")
    assert not Path("canary").exists()


def one(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


DEEP = b'{"a":' + b"[" * 100_000
# Some take a second to write, which only the test that uses them is to take.
HEADERS = {
    "nothing": b"",
    "shorter than its length": b"\x08\x00",
    "a header longer than the file": joined(b"{}", length=10**6),
    "a header of 2 ** 63 bytes": joined(b"{}", length=2**63),
    "no JSON": joined(b"{" * 100),
    "a deep header": joined(DEEP),
    "a shape of 40 GB": joined({"a": one(shape=[10**10])}, bytes(4)),
    "a shape that overflows": joined({"a": one(shape=[2**62, 2**62, 0], offsets=(0, 0))}),
    "empty, with strides that overflow": joined({"a": one(shape=[0, 2**62, 2**62], offsets=(0, 0))}),
    "a negative shape": joined({"a": one(shape=[-1])}, bytes(4)),
    "a hundred thousand dimensions": lambda: joined({"a": one(shape=[1] * 100_000)}, bytes(4)),
    "two million dimensions": lambda: joined({"a": one(shape=[0] * 2_000_000, offsets=(0, 0))}),
    "offsets beyond the file": joined({"a": one(shape=[2], offsets=(0, 8))}, bytes(4)),
    "offsets backwards": joined({"a": one(shape=[0], offsets=(4, 0))}, bytes(4)),
    "two tensors in one place": joined({"a": one(), "b": one()}, bytes(4)),
    "a hole": joined({"a": one(offsets=(4, 8))}, bytes(8)),
    "bytes that belong to none": joined({"a": one()}, bytes(400)),
    "one name twice": joined(
        b'{"a":' + json.dumps(one()).encode() + b',"a":' + json.dumps(one(offsets=(4, 8))).encode() + b"}",
        bytes(8),
    ),
    "a type that torch does not have": joined({"a": one(dtype="F4", shape=[2], offsets=(0, 1))}, bytes(1)),
    "no type": joined({"a": one(dtype="os.system")}, bytes(4)),
    "thousands of empty tensors": lambda: joined(
        {f"{n:x}": one(shape=[0], offsets=(0, 0)) for n in range(200_000)}
    ),
    "names of other tensors": joined({"a": one()}, bytes(4)),
}


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS)
def test_a_header_that_lies_is_refused(hostile, refuses, data):
    hostile.put_files({**parts(hostile), TENSORS: data() if callable(data) else data})
    with cheaply():
        refuses(RESUME, "the checkpoint is refused")


def test_the_sizes_are_those_of_the_manifest(hostile, refuses):
    hostile.put(hostile.state())
    for path in (hostile.tensors, hostile.document):
        data = path.read_bytes()
        path.write_bytes(data + b" ")
        refuses(TEST, f"{path.name} has {len(data) + 1:,} bytes, its manifest says {len(data):,}")
        path.write_bytes(data)


LAUGHS = b"[]"
for _ in range(6):
    LAUGHS = b"[" + b",".join([LAUGHS] * 10) + b"]"
DOCUMENTS = {
    "nothing": (b"", "the checkpoint is refused"),
    "a list": (b"[]", "does not mention the tensor"),
    "half": (b'{"nnkit": {', "the checkpoint is refused"),
    "no text": (b"\xff\xfe\x00\x01", "the checkpoint is refused"),
    "deep": (b"[" * 100_000 + b"]" * 100_000, "it is nested too deeply"),
    "too deep to walk": (b"[" * 200 + b"]" * 200, "nested more than 64 deep"),
    "millions of lists": (LAUGHS, "it holds more than 1,000,000 values"),
    "a long number": (b'{"a": ' + b"9" * 5_000 + b"}", "the checkpoint is refused"),
    "another tag": (b'{"$eval": "open(1)"}', "'$eval'"),
    "a tag of another kind": (b'{"$tuple": 3}', "the checkpoint is refused"),
    "a function for a type": (b'{"$dtype": "load"}', "the checkpoint is refused"),
    "a type that is none": (b'{"$dtype": 3}', "the checkpoint is refused"),
    "a key that cannot be hashed": (b'{"$dict": [[[], 1]]}', "the checkpoint is refused"),
    "a key that is a tuple": (b'{"$dict": [[{"$tuple": []}, 1]]}', "keys that are neither texts nor numbers"),
    "a member that is a list": (b'{"$set": [[]]}', "the checkpoint is refused"),
    "no tensor": (b'{"a": {"$tensor": "nowhere"}}', "none of its files holds the tensor 'nowhere'"),
    "a tensor without a name": (b'{"a": {"$tensor": []}}', "the checkpoint is refused"),
    "bytes that are none": (b'{"$bytes": "\xc3\xa4"}', "the checkpoint is refused"),
}


@pytest.mark.parametrize(("data", "said"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_document_of_any_content_is_answered(hostile, refuses, data, said):
    hostile.put_files({**parts(hostile), DOCUMENT: data})
    with cheaply():
        refuses(RESUME, said)


def test_a_document_of_gigabytes_is_not_parsed(hostile, refuses):
    hostile.put_files({**parts(hostile), DOCUMENT: b" " * (65 * MEBIBYTE)})
    with cheaply(num_bytes=200 * MEBIBYTE):
        refuses(TEST, "more than the 64,000,000 that are read")


@pytest.mark.parametrize(
    "stride", [[2], [0, 0], [1, 3], [2, "1"], "21", [2, 1, 1], [2, -1], [1 << 80, 1], 7, [2.0, 1]], ids=str
)
def test_strides_that_reach_past_the_numbers_are_refused(hostile, refuses, stride):
    document, tensors = encode({**hostile.state(), "x": torch.zeros(3, 2)})
    document["x"]["stride"] = stride
    hostile.put_files({TENSORS: safetensors.torch.save(tensors), DOCUMENT: json.dumps(document).encode()})
    refuses(TEST, "the checkpoint is refused")


def test_a_tensor_that_nobody_mentions_is_refused(hostile, refuses):
    document, tensors = encode(hostile.state())
    data = safetensors.torch.save({**tensors, "hidden": torch.zeros(3)})
    hostile.put_files({TENSORS: data, DOCUMENT: json.dumps(document).encode()})
    refuses(TEST, "does not mention the tensor 'hidden'")


def test_two_files_of_one_tensor_are_refused(hostile, refuses):
    files = parts(hostile)
    hostile.put_files({**files, ".more" + TENSORS: files[TENSORS]})
    refuses(TEST, "two of its files hold the tensor")


# ------------------------------------------------------------------------------------------------- the list of files

NAMES = [
    "../../../secret.safetensors",
    "/etc/passwd",
    "..",
    "a/b.safetensors",
    "",
    "index.json",
    "step-000001.safetensors",
    "step-0000080.safetensors",
    "{name}.json",
    "{name}.ckpt",
    "{name}.more.ckpt",
    "{name}.more.state.json",
    "{name}.py",
    "{name}.safetensors.tmp",
    "{name}.SAFETENSORS",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_list_names_no_other_file(hostile, refuses, tmp_path, name):
    outside = tmp_path / "secret.safetensors"
    outside.write_text("mine")
    files = json.loads(hostile.manifest.read_text())["files"]
    entry = {"file": name.format(name=hostile.name), "size": 4, "sha256": sha256(b"mine")}
    hostile.say(files=[*files, entry])
    with cheaply():
        refuses(RESUME, "no valid checkpoint is left", "it is not a manifest")
    assert outside.read_text() == "mine"


FILES = {
    "none": lambda files: [],
    "one twice": lambda files: [*files, files[0]],
    "one twice but for its letters": lambda files: [
        *files,
        {**files[0], "file": files[0]["file"].replace("step", "Step")},
    ],
    "no document": lambda files: files[:1],
    "a million": lambda files: files * 10_000,
    "no size": lambda files: [{**files[0], "size": None}, files[1]],
    "a size that is a text": lambda files: [{**files[0], "size": "9"}, files[1]],
    "no hash": lambda files: [{**files[0], "sha256": None}, files[1]],
    "a text": lambda files: [files[0]["file"], files[1]],
    "lists": lambda files: [[], []],
}


@pytest.mark.parametrize("change", FILES.values(), ids=FILES)
def test_a_list_of_any_content_is_answered(hostile, refuses, change):
    hostile.say(files=change(json.loads(hostile.manifest.read_text())["files"]))
    with cheaply():
        refuses(RESUME, "no valid checkpoint is left", "it is not a manifest")


@pytest.mark.parametrize("suffix", [TENSORS, DOCUMENT])
def test_what_a_linked_file_leads_to_is_neither_shown_nor_changed(hostile, refuses, tmp_path, suffix):
    outside = tmp_path / "secret"
    outside.write_text("password")
    link = hostile.checkpoints / (hostile.name + suffix)
    link.unlink()
    link.symlink_to(outside)
    for words in VERBS:
        refuses(words)
    assert outside.read_text() == "password"
