import io
import json
import random
import sys

import pytest
import torch

from nnkit.batches import IGNORED, join
from nnkit.data.pairs.text_pairs import TextPairs
from nnkit.data.sampler import Draw, LengthSampler
from nnkit.errors import UserError

WORDS = ["kitten", "dog", "a", "house", "of", "snow", "red", "runs"]
KINDS = ["characters", "bytes", "words", "bpe", "wordpiece"]
SPLITS = ("train", "val", "test")


def sentences(size=200, seed=1):
    """Sentences, each with its words spelt backwards."""
    drawn = random.Random(seed)
    rows = []
    for number in range(size):
        words = [*drawn.choices(WORDS, k=drawn.randint(1, 6)), f"n{number}"]
        rows.append((" ".join(words), " ".join(word[::-1] for word in reversed(words))))
    return rows


@pytest.fixture
def write(tmp_path):
    def write(rows, name="pairs.tsv"):
        path = tmp_path / name
        path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


def prepared(path, **options):
    data = TextPairs(path=path, **options)
    data.setup_data()
    return data


def whole(data, split, epoch=None):
    samples = data.split(split)
    return samples[Draw(epoch, torch.arange(len(samples)))]


def letters(spec, tokens):
    """Read tokens of characters back without the tokenizer: two marks and the unknown one come first."""
    return "".join("\ufffd" if token == 2 else spec["vocabulary"][token - 3] for token in tokens)


def texts_of(data, split, epoch=None):
    """Return source and target of each pair, read back from a batch."""
    batch = whole(data, split, epoch)
    rows = []
    for inputs, mask, target in zip(batch.inputs, batch.mask, batch.target.tolist(), strict=True):
        source = letters(data.preprocessing["source_tokenizer"], inputs[mask].tolist())
        answer = target[: target.index(1)]
        assert set(target[len(answer) + 1 :]) <= {IGNORED}
        rows.append((source, letters(data.preprocessing["target_tokenizer"], answer)))
    return rows


def test_every_pair_is_in_one_split_with_its_special_tokens(write):
    rows = sentences()
    data = prepared(write(rows))
    assert data.preprocessing["counts"] == {"train": 160, "val": 20, "test": 20}
    assert sorted(row for split in SPLITS for row in texts_of(data, split)) == sorted(rows)
    for split, epoch in (("train", 0), ("val", None)):
        batch = whole(data, split, epoch)
        assert batch.mask[:, 0].all() and (batch.inputs[~batch.mask] == 0).all()
        assert torch.equal(batch.mask.sum(1), torch.tensor([len(s) for s, _ in texts_of(data, split)]))
        assert (batch.prefix[:, 0] == 0).all()
        there = batch.target[:, 1:] != IGNORED
        assert torch.equal(batch.prefix[:, 1:][there], batch.target[:, :-1][there])
        assert torch.equal(batch.references, batch.target[:, None])
    spec = data.preprocessing["source_tokenizer"]
    assert data.facts()["source_vocab_size"] == len(spec["vocabulary"]) + 3
    assert whole(data, "train").target.max() < data.facts()["vocab_size"]


def test_pairs_of_one_source_are_in_one_split(write):
    rows = [(f"{number % 40}", f"answer {number}") for number in range(200)]
    data = prepared(write(rows), val_fraction=0.2, test_fraction=0.2)
    parts = [{source for source, _ in texts_of(data, split)} for split in SPLITS]
    assert [len(part) for part in parts] == [24, 8, 8]
    assert set.union(*parts) == {str(number) for number in range(40)}


def test_batches_hold_pairs_of_like_length_and_each_comes_once_an_epoch(write):
    path = write(sentences(400))
    shares, orders = {}, []
    for buckets in (True, False):
        data = prepared(path, batch_size=16, buckets=buckets)
        loader = data.train_dataloader()
        batches = list(loader)
        assert sorted(torch.cat([batch.indices for batch in batches]).tolist()) == list(range(320))
        orders.append([batch.indices.tolist() for batch in batches])
        loader.sampler.set_epoch(1)
        assert [batch.indices.tolist() for batch in loader] != orders[-1]
        steps = sum(batch.mask.numel() + batch.target.numel() for batch in batches)
        there = sum(int(batch.mask.sum() + (batch.target != IGNORED).sum()) for batch in batches)
        shares[buckets] = 1 - there / steps
    assert shares[True] < 0.1 < 0.2 < shares[False]
    again = prepared(path, batch_size=16)
    assert [batch.indices.tolist() for batch in again.train_dataloader()] == orders[0]


def test_a_budget_of_tokens_bounds_both_sides_of_all_batches(write):
    data = prepared(write(sentences()), max_tokens=400)
    for loader in (data.train_dataloader(), data.val_dataloader()):
        assert isinstance(loader.sampler, LengthSampler)
        assert max(max(batch.inputs.numel(), batch.target.numel()) for batch in loader) <= 400


def test_a_restored_run_sees_the_same_pairs_and_needs_no_file_to_read(write, tmp_path, caplog):
    path = write(sentences())
    first = prepared(path, split_seed=5, max_length=30)
    second = TextPairs(path=path, split_seed=6)
    caplog.clear()
    second.setup_data(json.loads(json.dumps(first.preprocessing)))
    for split in SPLITS:
        assert texts_of(first, split) == texts_of(second, split)
    third = TextPairs(path="gone.tsv")
    third.setup_data(first.preprocessing)
    assert third.facts() == first.facts()
    assert third.max_target_len == first.max_target_len > max(len(t) for _, t in texts_of(first, "train"))
    assert third.decode_target(whole(first, "test").target[0].tolist()) == texts_of(first, "test")[0][1]
    assert not caplog.records


def test_long_pairs_are_not_trained_on_but_tested(write, caplog):
    rows = sentences(300)
    short = prepared(write(rows), max_length=20)
    parts = {split: texts_of(prepared(write(rows)), split) for split in SPLITS}
    kept = [row for row in parts["train"] if max(map(len, row)) <= 20]
    lost = len(parts["train"]) - len(kept)
    assert 0 < lost < 240
    assert texts_of(short, "train") == kept
    assert f"{lost} of 240 " in caplog.text
    assert (
        "training pairs have a side of more than 20 tokens and are left out (data.max_length)" in caplog.text
    )
    assert texts_of(short, "test") == [(source[:20], target) for source, target in parts["test"]]
    assert "test sources are longer than 20 tokens and are cut there" in caplog.text


def test_nothing_to_train_on_is_refused(write):
    with pytest.raises(UserError, match="there is nothing to train on"):
        prepared(write(sentences()), max_length=1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_encoded_is_decoded(write, kind):
    rows = sentences()
    data = prepared(write(rows), source_tokenizer=kind, target_tokenizer=kind, test_fraction=0)
    seen = prepared(write(rows), test_fraction=0)
    sources, targets = zip(*texts_of(seen, "train"), strict=True)
    batch = whole(data, "train")
    assert [data.decode_target(row) for row in batch.target.tolist()] == list(targets)
    assert [data.decode_target([0, *row, 5]) for row in batch.target.tolist()[:3]] == list(targets[:3])
    for row in range(3):
        tokens = data.encode_source(sources[row])
        assert tokens.tolist() == batch.inputs[row, batch.mask[row]].tolist()
    assert (data.target_unknown is None) == (kind in ("bytes", "bpe"))


def test_symbols_between_blanks_stay_so(write):
    rows = [(word, "HH AH0 L OW1 t͡ʃ ɑː n") for word in map(str, range(40))]
    data = prepared(write(rows), target_tokenizer="words")
    assert data.decode_target(whole(data, "test").target[0].tolist()) == "HH AH0 L OW1 t͡ʃ ɑː n"
    assert (whole(data, "test").target[0] != IGNORED).sum() == 8


def test_a_joint_vocabulary_has_one_numbering(write):
    rows = [(f"left {number}", f"right {number}") for number in range(60)]
    options = {"source_tokenizer": "words", "target_tokenizer": "words"}
    data = prepared(write(rows), joint=True, **options)
    assert data.facts()["source_vocab_size"] == data.facts()["vocab_size"]
    batch = whole(data, "train")
    assert torch.equal(batch.inputs[:, 1], batch.target[:, 1])
    assert batch.inputs[0, 0] != batch.target[0, 0]
    apart = prepared(write(rows), **options)
    assert apart.facts()["vocab_size"] < data.facts()["vocab_size"]
    restored = TextPairs(path="gone.tsv")
    restored.setup_data(json.loads(json.dumps(data.preprocessing)))
    assert restored.facts() == data.facts()


def test_unknown_words_are_counted_on_both_sides(write, caplog):
    caplog.set_level("INFO")
    rows = sentences()
    data = prepared(write(rows), source_tokenizer="words", target_tokenizer="words")
    # The number at the end of each sentence is seen once, twenty of them in each of the other parts.
    assert caplog.text.count("40 of ") == 2
    assert "source tokens are not in the vocabulary and count as unknown" in caplog.text
    assert "target tokens are not in the vocabulary and count as unknown" in caplog.text
    assert ((whole(data, "test").target == data.target_unknown).sum(1) == 1).all()


def test_pairs_without_a_token_are_left_out(write, caplog):
    # Marks that cannot be seen, which wordpiece drops.
    rows = [*sentences(), *(("\u200b\xad", f"{n}") for n in range(5)), ("a dog", "\u200b")]
    data = prepared(write(rows), source_tokenizer="wordpiece", target_tokenizer="wordpiece", max_vocab=90)
    assert sum(data.preprocessing["counts"].values()) == 200
    assert "with a side without a token, which are left out" in caplog.text
    with pytest.raises(UserError, match="there is nothing to read in it"):
        data.encode_source("\u200b")


def test_sources_are_read_from_arguments_files_and_standard_input(write, tmp_path, monkeypatch, caplog):
    data = prepared(write(sentences()), max_length=60)
    table = write([("id", "source"), ("1", "red snow")], "other.tsv")
    lines = tmp_path / "lines.txt"
    lines.write_text("a dog\n\na house\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"kitten\n\xff\n")))
    items = ["red dog", "", table, str(lines), "-", "gone.csv"]
    read = dict(data.read(items))
    shown = {name: batch if isinstance(batch, str) else batch.inputs.shape for name, batch in read.items()}
    assert shown == {
        "red dog": (1, 7),
        "": "an empty text",
        f"{table}:1": (1, 8),
        f"{lines}:1": (1, 5),
        f"{lines}:3": (1, 7),
        "stdin:1": (1, 6),
        "stdin:2": "byte 1 (0xff) is not in the encoding utf-8",
        "gone.csv": "no such file: gone.csv",
    }
    batch = read["red dog"]
    assert batch.mask.all() and batch.prefix.tolist() == [[0]] and batch.indices.tolist() == [0]
    assert batch.target.tolist() == [[IGNORED]] and batch.references.tolist() == [[[IGNORED]]]
    assert len(join([batch, whole(data, "test")]).indices) == 21
    caplog.clear()
    assert dict(data.read(["ß" * 70, "Ω" * 70]))["ß" * 70].inputs.tolist() == [[2] * 60]
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "longer than 60 tokens and cut there",
        "not in the training sources, counts as unknown",
    ]


def test_the_vocabularies_of_another_run_are_taken_over(write):
    first = prepared(write(sentences()))
    second = TextPairs(path=write([("12 ab", "Z")] * 30 + sentences(seed=2)))
    second.pretrained = {key: first.preprocessing[key] for key in TextPairs.inherited}
    second.setup_data()
    assert second.facts() == first.facts()
    assert second.preprocessing["target_tokenizer"] == first.preprocessing["target_tokenizer"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_length": 0}, "max_length must be at least 1, not 0"),
        ({"max_tokens": 128}, "max_tokens must be more than max_length, 128"),
        ({"max_tokens": 500, "buckets": False}, "max_tokens needs buckets=true"),
        ({"target_tokenizer": "letters"}, "tokenizer must be characters, .*not 'letters'"),
        (
            {"joint": True, "target_tokenizer": "bytes"},
            "source_tokenizer=characters and target_tokenizer=bytes",
        ),
        ({"max_vocab": 9, "source_tokenizer": "bytes", "target_tokenizer": "bytes"}, "max_vocab does not go"),
        ({"max_vocab": 9, "target_tokenizer": "bpe"}, "max_vocab must lie between 257"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "must add up to 0.9 at most"),
        ({"path": None}, "path must name a table"),
    ],
)
def test_options_out_of_range(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        TextPairs(**{"path": "pairs.tsv", **options})


def test_bytes_on_one_side_leave_the_limit_to_the_other(write):
    data = prepared(write(sentences()), source_tokenizer="bytes", target_tokenizer="bpe", max_vocab=300)
    assert data.facts() == {"source_vocab_size": 258, "vocab_size": 302}
