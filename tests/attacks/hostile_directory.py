"""What an attacker does to a directory of Hugging Face."""

import json
import os
import pickle
import struct

import safetensors.torch
from hugging_face.peers import edit

WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
TOKENIZER, OPTIONS = "tokenizer.json", "tokenizer_config.json"


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


def claims(**changes):
    """Return what lets the header claim something else of a tensor."""
    return lambda folder: header(folder, lambda names: names[POOLER].update(changes))


def link(folder, name, target):
    """Replace a file by a link."""
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)


def tokenizer(folder, **changes):
    """Write tokenizer.json, with other values for some of its keys; those of its model begin with model_."""
    tokens = (folder / "vocab.txt").read_text().split()
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "vocab": {token: place for place, token in enumerate(tokens)},
    }
    model |= {key.removeprefix("model_"): value for key, value in changes.items() if key.startswith("model_")}
    content = {"normalizer": {"type": "BertNormalizer"}, "pre_tokenizer": {"type": "BertPreTokenizer"}}
    content |= {key: value for key, value in changes.items() if not key.startswith("model_")}
    (folder / TOKENIZER).write_text(json.dumps({"added_tokens": [], **content, "model": model}))


def byte_level(folder, **changes):
    """The same of a byte-level tokenizer, as GPT-2 has one."""
    cuts = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    rest = {"model_type": "BPE", "model_merges": [], "model_unk_token": None} | changes
    tokenizer(folder, **{"normalizer": None, "pre_tokenizer": cuts} | rest)


def config_of(**changes):
    """Return what lets config.json say something else."""
    return lambda folder: edit(folder / CONFIG, **changes)


def text_of(name, text):
    """Return what writes a file."""
    return lambda folder: (folder / name).write_text(text)
