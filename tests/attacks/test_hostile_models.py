"""FAULTS class 17: a directory of Hugging Face from elsewhere is refused in a sentence, and nothing of it runs."""

import json
import os
import pickle
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hugging_face.peers import BERT, edit, network, peer

import nnkit
from nnkit.errors import ConfigError, NnkitError
from nnkit.hugging_face import Directory, is_directory

WORDS = ["model=bert", "data=langid", "data.vocab_size=30", "data.markers=true", "data.max_length=20"]
WORDS += ["data.num_classes=3"]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    peer("BertModel", **BERT).save_pretrained(folder)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxy"]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    return folder


@pytest.fixture
def folder(sound, tmp_path):
    return Path(shutil.copytree(sound, tmp_path / "model"))


def load(folder):
    """Read a directory as `init_from` does."""
    assert is_directory(folder)
    return network(Directory(folder), WORDS)


def test_the_directory_that_the_attacks_change_is_read(folder):
    assert not load(folder)[2].left


def header(folder, change=lambda names: None, length=None, cut=None, raw=None):
    """Write the weights with another header."""
    data = (folder / WEIGHTS).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    names = json.loads(data[8 : 8 + size])
    change(names)
    text = json.dumps(names).encode() if raw is None else raw
    whole = struct.pack("<Q", len(text) if length is None else length) + text + data[8 + size :]
    (folder / WEIGHTS).write_bytes(whole[:cut])


POOLER = "pooler.dense.bias"


def longer(names):
    names[POOLER]["shape"] = [25]


def overlapping(names):
    names[POOLER]["data_offsets"] = names["pooler.dense.weight"]["data_offsets"]


def endless(names):
    names[POOLER]["shape"] = [2**62, 4]


def beyond(names):
    names[POOLER]["data_offsets"] = [2**40, 2**40 + 96]


def program(folder, name=WEIGHTS):
    class Program:
        def __reduce__(self):
            return (os.mkdir, (str(folder / "sprung"),))

    (folder / WEIGHTS).unlink()
    (folder / name).write_bytes(pickle.dumps(Program()))


def tensors(folder, **changes):
    found = safetensors.torch.load_file(folder / WEIGHTS) | changes
    kept = {name: tensor for name, tensor in found.items() if tensor is not None}
    safetensors.torch.save_file(kept, folder / WEIGHTS, {"format": "pt"})


def sharded(folder, places=None, rename="one.safetensors"):
    names = list(safetensors.torch.load_file(folder / WEIGHTS))
    (folder / WEIGHTS).rename(folder / rename)
    listed = dict.fromkeys(names, rename) | (places or {})
    (folder / INDEX).write_text(json.dumps({"weight_map": listed}))


def pipe(folder):
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


CONFIG = "config.json"
ATTACKS = {
    "no weights": (lambda at: (at / WEIGHTS).unlink(), "has neither model.safetensors nor"),
    "a pickle": (lambda at: program(at, "pytorch_model.bin"), "is a pickle, a program"),
    "a pickle by another name": (program, "cannot be read"),
    "a pipe": (pipe, "no plain file"),
    "truncated": (lambda at: header(at, cut=-100), "cannot be read"),
    "truncated header": (lambda at: header(at, cut=50), "has a header of"),
    "empty": (lambda at: (at / WEIGHTS).write_bytes(b""), "has a header of"),
    "long header": (lambda at: header(at, length=2**60), "has a header of"),
    "no JSON": (lambda at: header(at, raw=b"{" * 200), "cannot be read"),
    "other shape": (lambda at: header(at, longer), "cannot be read"),
    "overlap": (lambda at: header(at, overlapping), "cannot be read"),
    "huge": (lambda at: header(at, endless), "cannot be read"),
    "beyond the end": (lambda at: header(at, beyond), "cannot be read"),
    "no numbers": (lambda at: tensors(at, **{POOLER: torch.full((24,), torch.nan)}), "not finite"),
    "whole numbers": (
        lambda at: tensors(at, **{POOLER: torch.zeros(24).long()}),
        "pooler.dense.bias holds I64",
    ),
    "a tensor less": (
        lambda at: tensors(at, **{"encoder.layer.1.output.dense.bias": None}),
        "body.layers.1.feed_forward.3.bias .*is missing there",
    ),
    "a layer more": (
        lambda at: tensors(at, **{"encoder.layer.2.output.dense.bias": torch.zeros(24)}),
        "encoder.layer.2.output.dense.bias: it has no place here",
    ),
    "another width": (
        lambda at: tensors(at, **{"encoder.layer.1.output.dense.bias": torch.zeros(25)}),
        r"\(25,\) there, \(24,\) here",
    ),
    "widths that do not join": (
        lambda at: tensors(at, **{"encoder.layer.1.attention.self.key.weight": torch.zeros(24, 25)}),
        "cannot be read",
    ),
    "a missing shard": (
        lambda at: sharded(at, {POOLER: "two.safetensors"}),
        "the directory has no such file",
    ),
    "a shard above": (
        lambda at: sharded(at, {POOLER: "../two.safetensors"}),
        "not the name of a file in this",
    ),
    "a shard elsewhere": (lambda at: sharded(at, {POOLER: "/etc/passwd"}), "not the name of a file in this"),
    "a shard of no name": (lambda at: sharded(at, {POOLER: ".."}), "not the name of a file in this"),
    "an index of numbers": (lambda at: sharded(at, {POOLER: 3}), "not the name of a file in this"),
    "an index of another model": (lambda at: sharded(at, {"x": "one.safetensors"}), "do not agree on x"),
    "an empty index": (lambda at: [sharded(at), (at / INDEX).write_text("{}")], "weight_map must name"),
    "code": (lambda at: edit(at / CONFIG, auto_map={"AutoModel": "mine.Model"}), "asks for code of its own"),
    "trusted code": (lambda at: edit(at / CONFIG, trust_remote_code=True), "asks for code of its own"),
    "code of a tokenizer": (
        lambda at: (at / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "x.Y"}}'),
        "asks for code of its own",
    ),
    "no config": (lambda at: (at / CONFIG).unlink(), "has no config.json"),
    "a list": (lambda at: (at / CONFIG).write_text("[]"), "holds a list"),
    "a deep config": (lambda at: (at / CONFIG).write_text("[" * 90_000), "nested too deeply"),
    "another type": (lambda at: edit(at / CONFIG, model_type="t5"), "model_type is 't5'"),
    "no type": (lambda at: edit(at / CONFIG, model_type=None), "model_type is .None"),
    "a width of words": (
        lambda at: edit(at / CONFIG, hidden_size="24"),
        "hidden_size must be a whole number",
    ),
    "less than nothing": (lambda at: edit(at / CONFIG, num_hidden_layers=-1), "must be a whole number"),
    "an unknown activation": (lambda at: edit(at / CONFIG, hidden_act="mish"), "hidden_act is 'mish'"),
    "a decoder": (lambda at: edit(at / CONFIG, is_decoder=True), "is_decoder is True"),
    "quantized": (lambda at: edit(at / CONFIG, quantization_config={"bits": 4}), "quantized"),
    "a smaller vocabulary": (
        lambda at: (at / "vocab.txt").write_text("[UNK]\na\n"),
        "has 2 tokens, and vocab_size",
    ),
    "a word twice": (lambda at: (at / "vocab.txt").write_text("[UNK]\na\na\n"), "holds an entry twice"),
    "no text": (lambda at: (at / "vocab.txt").write_bytes(b"\xff\xfe"), "cannot be read"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_directory_from_elsewhere_is_refused_in_a_sentence(name, folder):
    change, text = ATTACKS[name]
    change(folder)
    with pytest.raises(ConfigError, match=text) as caught:
        load(folder)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith("init_from: ")
    assert not (folder / "sprung").exists()


def test_weights_in_several_files_are_those_of_one(folder):
    whole, _, _ = load(folder)
    found = safetensors.torch.load_file(folder / WEIGHTS)
    first = dict(list(found.items())[:9])
    safetensors.torch.save_file(first, folder / "a.safetensors")
    safetensors.torch.save_file(
        {name: found[name] for name in found.keys() - first.keys()}, folder / "b.safetensors"
    )
    (folder / WEIGHTS).unlink()
    places = {name: f"{'a' if name in first else 'b'}.safetensors" for name in found}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    for name, tensor in load(folder)[0].state_dict().items():
        assert name.startswith("head.") or torch.equal(tensor, whole.state_dict()[name])


def test_the_command_that_is_shown_makes_tensors_of_a_pickle(folder):
    whole, _, _ = load(folder)
    torch.save(safetensors.torch.load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    with pytest.raises(ConfigError) as caught:
        load(folder)
    words = shlex.split(str(caught.value).partition("this makes one of it: ")[2])
    subprocess.run([sys.executable, *words[1:]], check=True)
    assert torch.equal(load(folder)[0].body.positions.weight, whole.body.positions.weight)


def test_sizes_that_no_machine_has_are_answered_and_nothing_is_written(folder, tmp_path):
    rows = "".join(f"{text},{label}\n" for text, label in [("a b c", "x"), ("d e f", "y")] * 12)
    (tmp_path / "rows.csv").write_text(f"text,kind\n{rows}")
    edit(folder / CONFIG, num_hidden_layers=10**9)
    words = ["model=bert", "data=text_csv", f"data.path={tmp_path / 'rows.csv'}", f"init_from={folder}"]
    with pytest.raises(NnkitError):
        nnkit.train([*words, "data.max_length=20", "name=never"])
    assert not Path("outputs").exists()
