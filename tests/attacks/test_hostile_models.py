"""FAULTS class 17: a directory of Hugging Face from elsewhere is refused in a sentence, and nothing of it runs."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hostile_directory import (
    CONFIG,
    INDEX,
    OPTIONS,
    POOLER,
    TOKENIZER,
    WEIGHTS,
    beyond,
    byte_level,
    claims,
    config_of,
    endless,
    header,
    link,
    longer,
    overlapping,
    pipe,
    program,
    sharded,
    tensors,
    text_of,
    tokenizer,
)
from hugging_face.peers import BERT, edit, network, peer
from untouched import assert_refused, untouched

from nnkit.errors import ConfigError
from nnkit.hugging_face import Directory, is_directory

WORDS = ["model=bert", "data=langid", "data.vocab_size=30", "data.markers=true", "data.max_length=20"]
WORDS += ["data.num_classes=3"]
TRAIN = [
    "train",
    "model=bert",
    "data=text_csv",
    "data.path=rows.csv",
    "data.max_length=20",
    "init_from=model",
]
TRAIN += ["name=never", "logger=[]", "trainer.num_threads=1"]
HALF = {token: place for place, token in enumerate(["[UNK]", *map(chr, range(0xD800, 0xD81D))])}
COMMANDS = (TRAIN, ["embed", "model", "a b c", "--out", "vectors.npy"])


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    peer("BertModel", **BERT).save_pretrained(folder)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxy"]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    return folder


@pytest.fixture
def folder(sound, tmp_path):
    rows = "".join(f"{text},{label}\n" for text, label in [("a b c", "x"), ("d e f", "y")] * 12)
    (tmp_path / "rows.csv").write_text(f"text,kind\n{rows}")
    return Path(shutil.copytree(sound, tmp_path / "model"))


def load(folder):
    """Read a directory as `init_from` does."""
    assert is_directory(folder)
    return network(Directory(folder), WORDS)


def test_the_directory_that_the_attacks_change_is_read(folder, cli):
    assert not load(folder)[2].left
    for words in COMMANDS:
        code, _, err = cli(*words, *(["trainer.max_steps=1"] if words[0] == "train" else []))
        assert code == 0, err
    assert Path("outputs/never").is_dir() and Path("vectors.npy").is_file()


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
        "body.layers.1.feed_forward.3.bias (24,): encoder.layer.1.output.dense.bias is missing there",
    ),
    "a layer more": (
        lambda at: tensors(at, **{"encoder.layer.2.output.dense.bias": torch.zeros(24)}),
        "encoder.layer.2.output.dense.bias: it has no place here",
    ),
    "another width": (
        lambda at: tensors(at, **{"encoder.layer.1.output.dense.bias": torch.zeros(25)}),
        "(25,) there, (24,) here",
    ),
    "widths that do not join": (
        lambda at: tensors(at, **{"encoder.layer.1.attention.self.key.weight": torch.zeros(24, 25)}),
        "(24, 24) and (24, 25) and (24, 24) there, which do not join to (72, 24) here",
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
    "no type": (lambda at: edit(at / CONFIG, model_type=None), "model_type is 'None'"),
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
    "negative offsets": (claims(data_offsets=[-96, 0]), "cannot be read"),
    "offsets the wrong way": (claims(data_offsets=[96, 0]), "cannot be read"),
    "offsets past all numbers": (claims(data_offsets=[2**70, 2**70 + 96]), "cannot be read"),
    "less than no rows": (claims(shape=[-24]), "cannot be read"),
    "no rows": (claims(shape=[]), "cannot be read"),
    "wider numbers": (claims(dtype="F64"), "cannot be read"),
    "numbers of no type": (claims(dtype="F99"), "cannot be read"),
    "half as wide": (claims(dtype="F16", shape=[48]), "(48,) there, (24,) here"),
    "complex numbers": (claims(dtype="C64", shape=[12]), "pooler.dense.bias holds C64"),
    "a shard of another folder": (
        lambda at: sharded(at, {POOLER: "../../x.safetensors"}),
        "not the name of a file in this",
    ),
    "a shard of a hidden folder": (
        lambda at: sharded(at, {POOLER: "a\\..\\x"}),
        "the directory has no such file",
    ),
    "a shard of many letters": (lambda at: sharded(at, {POOLER: "x" * 5000}), "cannot be read"),
    "a shard with a zero": (lambda at: sharded(at, {POOLER: "x\0y"}), "the directory has no such file"),
    "an index that asks for code": (
        lambda at: [sharded(at), edit(at / INDEX, auto_map={"x": "y.Z"})],
        "asks for code",
    ),
    "a deep index": (lambda at: [sharded(at), (at / INDEX).write_text("[" * 90_000)], "nested too deeply"),
    "a link to no tensors": (lambda at: link(at, WEIGHTS, "../rows.csv"), "has a header of"),
    "a link to a device": (lambda at: link(at, WEIGHTS, "/dev/zero"), "no plain file"),
    "a link to itself": (lambda at: link(at, WEIGHTS, WEIGHTS), "has neither model.safetensors nor"),
    "a link to a folder": (lambda at: link(at, WEIGHTS, ".."), "no plain file"),
    "a config without end": (lambda at: link(at, CONFIG, "/dev/zero"), "no plain file"),
    "words without end": (lambda at: link(at, "vocab.txt", "/dev/zero"), "no plain file"),
    "many values": (
        text_of(CONFIG, '{"x": [' + "0," * 1_000_001 + "0]}"),
        "holds more than 1,000,000 values",
    ),
    "many bytes": (text_of(CONFIG, " " * 64_000_001), "more than the 64,000,000"),
    "many digits": (text_of(CONFIG, '{"hidden_size": ' + "9" * 5000 + "}"), "cannot be read"),
    "a long name of a type": (config_of(model_type="x" * 100_000), "model_type is 'xxx"),
    "a type with orders": (config_of(model_type="\x1b]0;owned\x07"), "model_type is"),
    "an activation with orders": (config_of(hidden_act="\x1b[2J" * 9000), "hidden_act is"),
    "a long fixed value": (config_of(is_decoder="x" * 100_000), "is_decoder is"),
    "a width past all counting": (config_of(hidden_size=3 * 10**12), "no machine has"),
    "a width far beyond the weights": (
        config_of(hidden_size=24 * 10**4),
        "(30, 24) there, (30, 240000) here",
    ),
    "layers without end": (config_of(num_hidden_layers=10**9), "more than 5,000 tensors"),
    "positions without end": (
        config_of(max_position_embeddings=10**9),
        "(20, 24) there, (1000000000, 24) here",
    ),
    "no heads": (config_of(num_attention_heads=0), "num_heads"),
    "heads that do not divide": (config_of(num_attention_heads=5), "num_heads"),
    "a dropout of words": (config_of(hidden_dropout_prob="much"), "hidden_dropout_prob must be a number"),
    "a dropout above 1": (config_of(hidden_dropout_prob=7.5), "dropout"),
    "no number": (text_of(CONFIG, '{"model_type": "bert", "layer_norm_eps": NaN}'), "must be a number"),
    "without end": (text_of(CONFIG, '{"model_type": "bert", "layer_norm_eps": 1e999}'), "must be a number"),
    "a pooling that is a list": (
        lambda at: [(at / "1_Pooling").mkdir(), (at / "1_Pooling" / CONFIG).write_text("[]")],
        "holds a list",
    ),
    "options in a list": (text_of(OPTIONS, "[]"), "holds a list"),
    "options of words": (text_of(OPTIONS, '{"do_lower_case": "yes"}'), "lowercase"),
    "deep tokenizer": (text_of(TOKENIZER, '{"a":' * 90_000), "nested too deeply"),
    "an empty tokenizer": (text_of(TOKENIZER, "{}"), "it has no model"),
    "a tokenizer of another kind": (
        lambda at: tokenizer(at, model_type="Unigram"),
        "its model is Unigram; what can be read",
    ),
    "a kind of many letters": (lambda at: tokenizer(at, model_type="x" * 100_000), "its model is xxx"),
    "a kind of no letters": (lambda at: tokenizer(at, model_type=["x"]), "its model is ['x']"),
    "a pattern without end": (
        lambda at: byte_level(
            at,
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [
                    {
                        "type": "Split",
                        "pattern": {"Regex": "(a+)+$"},
                        "behavior": "Isolated",
                        "invert": False,
                    },
                    {"type": "ByteLevel", "use_regex": False},
                ],
            },
        ),
        "it cuts words by '(a+)+$'",
    ),
    "a step of packed bytes": (
        lambda at: tokenizer(at, normalizer={"type": "Precompiled", "precompiled_charsmap": "A" * 100_000}),
        "its steps are normalizer Precompiled",
    ),
    "steps in steps": (
        lambda at: tokenizer(at, normalizer={"type": "Sequence", "normalizers": [3]}),
        "its sequence of steps holds something else",
    ),
    "ids below nothing": (lambda at: tokenizer(at, model_vocab={"[UNK]": -1}), "ids of its tokens"),
    "ids past all numbers": (
        lambda at: tokenizer(at, model_vocab={"[UNK]": 0, "a": 2**80}),
        "ids of its tokens",
    ),
    "ids of words": (lambda at: tokenizer(at, model_vocab={"[UNK]": "0"}), "must be whole numbers"),
    "a vocabulary in a list": (lambda at: tokenizer(at, model_vocab=["a"]), "must give each token an id"),
    "tokens that are added twice": (
        lambda at: tokenizer(at, added_tokens=[{"content": "[CLS]", "id": 3}]),
        "give one twice",
    ),
    "added tokens of numbers": (lambda at: tokenizer(at, added_tokens=[3]), "must have a content and an id"),
    "an added token without end": (
        lambda at: tokenizer(at, added_tokens=[{"content": "[CLS]" * 10**5, "id": 30}]),
        "has 31 tokens, and vocab_size",
    ),
    "merges of numbers": (lambda at: byte_level(at, model_merges=[3]), "merges must be a list of strings"),
    "too few bytes": (lambda at: byte_level(at, model_merges=["a"]), "lacks 231 of the 256 bytes"),
    "half a character": (lambda at: tokenizer(at, model_vocab=HALF), "half a surrogate pair"),
    "lists of words without merges": (
        lambda at: [(at / "vocab.txt").unlink(), (at / "vocab.json").write_text('{"a": 0}')],
        "bpe needs merges.txt beside it",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_directory_from_elsewhere_is_refused_in_a_sentence(name, folder, cli, tmp_path, monkeypatch):
    """Both by training from it and by embedding with it; not a file is made, changed or removed by that."""
    change, text = ATTACKS[name]
    change(folder)
    with untouched(tmp_path, monkeypatch):
        for words in COMMANDS:
            assert_refused(cli(*words), words, text)


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


def lora(*words):
    """Train an adapter on the directory."""
    kept = [word for word in TRAIN if not word.startswith("name=")]
    if any(word.startswith("init_from=") for word in words):
        kept.remove("init_from=model")
    return [*kept, "adapter=lora", "adapter.rank=2", "trainer.max_steps=1", *words]


BASES = {
    "other weights": (lambda at: tensors(at, **{POOLER: torch.ones(24)}), "has changed: its SHA-256 is"),
    "weights of another size": (
        lambda at: tensors(at, **{POOLER: torch.ones(25)}),
        "cannot be read: init_from: model: its weights do not fit",
    ),
    "no weights": (lambda at: (at / WEIGHTS).unlink(), "cannot be read"),
    "no directory": (shutil.rmtree, "is gone"),
    "code": (config_of(auto_map={"AutoModel": "mine.Model"}), "asks for code of its own"),
    "another model": (config_of(model_type="gpt2"), "cannot be read"),
    "a pickle": (program, "cannot be read"),
}


@pytest.mark.parametrize("name", BASES)
def test_an_adapter_on_a_directory_that_has_changed_is_refused(name, folder, cli, tmp_path, monkeypatch):
    code, _, err = cli(*lora("name=mine"))
    assert code == 0, err
    change, text = BASES[name]
    change(folder)
    verbs = (
        ["test", "mine"],
        ["predict", "mine", "a b"],
        ["embed", "mine", "a b", "--out", "vectors.npy"],
        ["export", "mine", "--format", "safetensors", "--merge"],
        ["resume", "mine", "trainer.max_steps=2"],
        lora("name=other", "init_from=mine"),
    )
    with untouched(tmp_path, monkeypatch):
        for words in verbs:
            assert_refused(cli(*words), words, text)


@pytest.mark.parametrize(
    "place", ["outputs/x/config.yaml", "cache/x.npy", "temporary/x", "model/config.json"]
)
def test_what_is_written_anywhere_is_noticed(place, folder, tmp_path, monkeypatch):
    with pytest.raises(AssertionError), untouched(tmp_path, monkeypatch):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        Path(place).write_text("{}")
