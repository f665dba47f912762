import gzip
import hashlib
import io
import json
import logging
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nnkit.batches import IGNORED
from nnkit.data.datasets.documentation import documents
from nnkit.data.datasets.pydocs import PyDocs
from nnkit.data.datasets.shakespeare import Shakespeare
from nnkit.data.download import sources
from nnkit.data.download.fetch import FetchError
from nnkit.data.sampler import Draw
from nnkit.data.text.corpus import read_text, whole_words
from nnkit.data.text.long_text import TextFile, cut_by_position
from nnkit.errors import EnvironmentFault, UserError

WORDS = ("the", "cat", "saw", "a", "dog", "and", "went", "home", "naïve", "日本")
COPY = Path(__file__).parents[4] / "shared" / "data" / "tinyshakespeare.txt"
needs_copy = pytest.mark.skipif(not COPY.is_file(), reason=f"there is no copy of Tiny Shakespeare at {COPY}")


def prose(lines=60, shift=0):
    return "\n".join(
        " ".join(WORDS[(number * step + shift) % len(WORDS)] for step in range(1, 8))
        for number in range(lines)
    )


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(prose(), encoding="utf-8")
    return path


def prepared(path, **options):
    data = TextFile(path=str(path), **{"block_size": 16, "batch_size": 8, **options})
    data.setup_data()
    return data


def restored(data, path, **options):
    other = TextFile(path=str(path), **{"block_size": 16, "batch_size": 8, **options})
    other.setup_data(json.loads(json.dumps(data.preprocessing)))
    return other


def everything(data, name, epoch=None):
    samples = data.split(name)
    return samples[Draw(epoch, torch.arange(len(samples)))]


def ids(text):
    """Number characters as nanoGPT does."""
    table = {char: number for number, char in enumerate(sorted(set(text)))}
    return [table[char] for char in text]


def test_held_out_tokens_are_scored_once_in_their_order(path):
    data = prepared(path, val_fraction=0.1, test_fraction=0.2, eval_block_size=10)
    numbers, counts = ids(prose()), data.preprocessing["counts"]
    begin = counts["train"]["tokens"]
    for name in ("val", "test"):
        batch = everything(data, name)
        assert batch.inputs.shape == batch.target.shape == (len(data.split(name)), 10)
        end = begin + counts[name]["tokens"]
        scored = batch.target != IGNORED
        assert batch.target[scored].tolist() == numbers[begin:end]
        # Each is predicted from the token before it, the first one from the part before.
        assert batch.inputs[scored].tolist() == numbers[begin - 1 : end - 1]
        assert scored[:-1].all()
        assert not batch.inputs[~scored].any()
        begin = end
    assert begin == len(numbers)


def test_splits_are_cut_by_position_near_their_share(path):
    counts = prepared(path, val_fraction=0.1, test_fraction=0.2).preprocessing["counts"]
    length = len(prose())
    assert sum(count["characters"] for count in counts.values()) == length
    assert counts["val"]["characters"] == pytest.approx(0.1 * length, abs=8)
    assert counts["test"]["characters"] == pytest.approx(0.2 * length, abs=8)


def test_windows_are_a_pure_function_of_seed_epoch_and_index(path):
    data = prepared(path, seed=3)
    first = everything(data, "train", epoch=2)
    state = torch.get_rng_state()
    one_by_one = [data.split("train")[Draw(2, torch.tensor([n]))] for n in reversed(range(len(first.inputs)))]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(torch.cat([batch.inputs for batch in reversed(one_by_one)]), first.inputs)
    assert torch.equal(everything(prepared(path, seed=3), "train", epoch=2).inputs, first.inputs)
    for other in (everything(data, "train", epoch=1), everything(prepared(path, seed=4), "train", epoch=2)):
        assert not torch.equal(other.inputs, first.inputs)


def test_windows_lie_anywhere_in_the_training_split(path):
    data = prepared(path)
    text = prose()[: data.preprocessing["counts"]["train"]["characters"]]
    numbers = ids(prose())[: len(text)]
    assert len(data.split("train")) == len(text) // 16
    rows = set()
    for epoch in range(3):
        batch = everything(data, "train", epoch)
        assert torch.equal(batch.inputs[:, 1:], batch.target[:, :-1])
        rows |= {tuple(row) for row in torch.cat([batch.inputs, batch.target[:, -1:]], 1).tolist()}
    places = {tuple(numbers[start : start + 17]) for start in range(len(numbers) - 16)}
    assert rows <= places
    assert len(rows) > 1.5 * len(data.split("train"))


def test_blocks_cover_the_training_split_in_shuffled_order(path):
    data = prepared(path, windows="blocks")
    numbers = ids(prose())[: data.preprocessing["counts"]["train"]["tokens"]]
    batches = list(data.train_dataloader())
    inputs, order = (
        torch.cat(values) for values in zip(*((b.inputs, b.indices) for b in batches), strict=True)
    )
    assert order.tolist() != sorted(order.tolist())
    used = len(inputs) * 16
    assert len(numbers) - 16 <= used + 1 <= len(numbers) + 1
    assert inputs[order.argsort()].flatten().tolist() == numbers[:used]


@pytest.mark.parametrize("kind", ["bytes", "words", "bpe", "wordpiece"])
def test_each_split_is_encoded_by_itself(path, kind):
    data = prepared(path, tokenizer=kind, max_vocab={"bpe": 280, "wordpiece": 60}.get(kind), block_size=4)
    counts, text = data.preprocessing["counts"], prose()
    begin = 0
    for name in ("train", "val", "test"):
        part = text[begin : begin + counts[name]["characters"]]
        begin += len(part)
        batch = everything(data, name)
        expected = data.learnt_tokenizer.encode(part).tolist()
        assert len(expected) == counts[name]["tokens"]
        if name != "train":
            assert batch.target[batch.target != IGNORED].tolist() == expected
        assert batch.characters.sum().item() == pytest.approx(
            len(part), rel=0.05 if name == "train" else 1e-6
        )
    assert data.facts() == {"vocab_size": data.learnt_tokenizer.vocab_size}


def test_held_out_words_are_not_learnt_and_counted(tmp_path, caplog):
    path = tmp_path / "text.txt"
    path.write_text(prose() + "\n" + "unheard " * 8, encoding="utf-8")
    data = prepared(path, tokenizer="words", block_size=4, val_fraction=0.0)
    assert "unheard" not in data.learnt_tokenizer.spec()["vocabulary"]
    assert data.preprocessing["counts"]["test"]["unknown"] > 0
    assert "test tokens" in caplog.text
    assert "are not in the vocabulary" in caplog.text


@pytest.mark.parametrize(("kind", "dtype"), [("characters", "u1"), ("bpe", "u2")])
def test_tokens_are_mapped_into_memory_in_the_smallest_type(path, tmp_path, kind, dtype):
    prepared(path, tokenizer=kind, max_vocab={"bpe": 300}.get(kind), block_size=4)
    (array,) = (tmp_path / "cache").rglob("tokens.npy")
    assert np.load(array, mmap_mode="r").dtype == np.dtype(dtype)


def cached(tmp_path, pattern="*"):
    """Return what lies in the cache, and when it was written."""
    return {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "text").glob(f"{pattern}/*")}


def test_a_second_start_reads_and_learns_nothing(path, tmp_path):
    first = prepared(path, tokenizer="bpe", max_vocab=280, block_size=4)
    before, status = cached(tmp_path), path.stat()
    # Whoever reads the file would notice that it is another one, which its size and time hide.
    path.write_bytes(b"?" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = prepared(path, tokenizer="bpe", max_vocab=280, block_size=4)
    assert again.preprocessing == first.preprocessing
    other = restored(first, path, block_size=4, tokenizer="bpe")
    assert torch.equal(everything(other, "test").inputs, everything(first, "test").inputs)
    assert cached(tmp_path) == before


def test_a_copied_text_needs_no_second_vocabulary(path, tmp_path):
    first = prepared(path, tokenizer="bpe", max_vocab=280, block_size=4)
    copy = tmp_path / "elsewhere" / "text.txt"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    before = cached(tmp_path, "vocabulary-*")
    assert prepared(copy, tokenizer="bpe", max_vocab=280, block_size=4).preprocessing == first.preprocessing
    assert len(before) > 0
    assert cached(tmp_path, "vocabulary-*") == before


def test_a_damaged_cache_is_made_again(path, tmp_path, caplog):
    first = everything(prepared(path), "test").inputs
    (array,) = (tmp_path / "cache").rglob("tokens.npy")
    content = bytearray(array.read_bytes())
    content[-5:] = b"\0" * 5
    array.write_bytes(content)
    assert torch.equal(everything(prepared(path), "test").inputs, first)
    assert "is damaged and will be prepared again" in caplog.text


def test_without_its_cache_a_run_encodes_with_its_own_tokenizer(path, tmp_path):
    first = prepared(path, tokenizer="bpe", max_vocab=280, block_size=4)
    expected = everything(first, "val").target
    shutil.rmtree(tmp_path / "cache")
    assert torch.equal(everything(restored(first, path, block_size=4), "val").target, expected)
    assert cached(tmp_path, "tokens-*")
    assert not cached(tmp_path, "vocabulary-*")


def test_a_changed_text_is_refused_with_what_changed(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for name in ("a.txt", "b.txt", "c.txt"):
        (folder / name).write_text(prose(shift=ord(name[0])), encoding="utf-8")
    data = prepared(folder)
    (folder / "a.txt").unlink()
    (folder / "b.txt").write_text("shorter", encoding="utf-8")
    (folder / "d.md").write_text("new", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        restored(data, folder).split("test")
    for part in ("notes/a.txt is gone", "notes/d.md is new", "notes/b.txt is another one", "7 now"):
        assert part in str(caught.value)
    with pytest.raises(UserError, match="no file or folder"):
        restored(data, tmp_path / "gone").split("test")


def test_a_run_without_its_text_still_reads_what_it_is_given(path):
    data = prepared(path)
    path.unlink()
    other = restored(data, path)
    assert other.facts() == {"vocab_size": len(set(prose()))}
    ((name, batch),) = other.read(["the cat"])
    assert name == "the cat"
    table = sorted(set(prose()))
    assert batch.inputs.tolist() == [[table.index(char) for char in "the ca"]]
    assert batch.target.tolist() == [[table.index(char) for char in "he cat"]]


def test_items_are_texts_files_and_lines(path, tmp_path, monkeypatch, caplog):
    data = prepared(path)
    (tmp_path / "long.txt").write_text("the cat " * 2000, encoding="utf-8")
    (tmp_path / "bad.txt").write_bytes(b"the \xff")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a dog\n\nQ\n")))
    read = dict(data.read(["t", "", "XYZ the", "long.txt", "bad.txt", "-", "the cat " * 600]))
    assert "at least 2 tokens" in read["t"]
    assert read[""] == "an empty text"
    assert "lacks: 'X', 'Y', 'Z'" in read["XYZ the"]
    assert read["long.txt"].inputs.shape == (1, 4095)
    assert "long.txt: only the first 4096 tokens are read" in caplog.text
    assert "bad.txt is not UTF-8: line 1, byte 5 of the file is 0xff" in read["bad.txt"]
    assert read["stdin:1"].inputs.shape == (1, 4)
    assert "lacks: 'Q'" in read["stdin:3"]
    assert read["the cat " * 600].inputs.shape == (1, 4095)


def test_a_text_of_unknown_words_is_refused_with_them(path):
    data = prepared(path, tokenizer="words", block_size=4)
    read = dict(data.read(["never heard", "the unheard"]))
    assert "'never', 'heard'" in read["never heard"]
    assert read["the unheard"].target.tolist() == [[0]]


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_broken_utf8_is_refused_with_file_line_and_byte(tmp_path, size):
    path = tmp_path / "bad.txt"
    content = "\ufeffnaïve\n日本\n".encode() + b"caf\xe9 again"
    path.write_bytes(content)
    where = f"line 3, byte {content.index(0xE9, 15) + 1} of the file is 0xe9"
    with pytest.raises(UserError, match=where) as caught:
        list(read_text(path, block=size))
    assert "bad.txt" in str(caught.value)
    assert "data.encoding=latin-1" in str(caught.value)
    with pytest.raises(UserError, match=where):
        prepared(path)
    path.write_bytes(content[:-8] + b"\xe6\x97")
    with pytest.raises(UserError, match="line 3, byte"):
        list(read_text(path, block=size))


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_text_read_in_blocks_is_the_text(tmp_path, size):
    path = tmp_path / "text.txt"
    path.write_bytes("\ufeff".encode() + prose(5).encode())
    assert "".join(read_text(path, block=size)) == prose(5)
    words = list(whole_words(read_text(path, block=size)))
    assert "".join(words) == prose(5)
    assert all(piece[0].isspace() for piece in words[1:])


def test_other_encodings_are_read_when_named(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(prose().replace("日本", "ö").encode("utf-16"))
    with pytest.raises(UserError, match=r"data\.encoding=utf-16"):
        prepared(path)
    data = prepared(path, encoding="utf-16")
    assert sum(count["characters"] for count in data.preprocessing["counts"].values()) == len(
        prose().replace("日本", "ö")
    )
    with pytest.raises(ValueError, match="codec"):
        TextFile(path="text.txt", encoding="hex")


def test_gzip_holds_the_same_text(path, tmp_path):
    packed = tmp_path / "text.txt.gz"
    packed.write_bytes(gzip.compress(prose().encode()))
    first, second = prepared(path), prepared(packed)
    assert first.preprocessing["fingerprint"] == second.preprocessing["fingerprint"]
    assert torch.equal(everything(first, "val").target, everything(second, "val").target)
    packed.write_bytes(gzip.compress(prose().encode())[:-9])
    with pytest.raises(UserError, match="damaged as gzip"):
        prepared(packed)


def test_a_folder_is_read_in_the_order_of_names_and_not_beyond_itself(tmp_path):
    folder, outside = tmp_path / "notes", tmp_path / "secret"
    (folder / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "key.txt").write_text("ß" * 100, encoding="utf-8")
    for name, letter in (("b.txt", "b"), ("a.md", "a"), ("sub/c.TXT", "c"), ("d.log", "d")):
        (folder / name).write_text((letter * 9 + "\n") * 50, encoding="utf-8")
    (folder / "link.txt").symlink_to(outside / "key.txt")
    (folder / "linked").symlink_to(outside)
    data = prepared(folder, val_fraction=0, test_fraction=0)
    assert [source["name"] for source in data.preprocessing["sources"]] == [
        "notes/a.md",
        "notes/b.txt",
        "notes/sub/c.TXT",
    ]
    assert data.preprocessing["tokenizer"]["vocabulary"] == "\nabc"
    both = TextFile(path=[str(outside), str(folder / "d.log")], block_size=16)
    both.setup_data()
    # A file that does not end with a line's end does not run into the next one.
    assert both.preprocessing["tokenizer"]["vocabulary"] == "\ndß"
    with pytest.raises(UserError, match=r"holds no \.txt"):
        prepared(tmp_path / "cache")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("one line", "too short: its 8 characters are"),
        ("the cat saw a dog and went home", "needs at least 17 to train on"),
    ],
)
def test_too_short_a_text_is_refused_with_what_it_takes(tmp_path, text, said):
    path = tmp_path / "short.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        prepared(path, val_fraction=0.3, test_fraction=0.3)
    assert "short.txt" in str(caught.value)


def test_the_length_asked_for_is_enough(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("ab" * 30)
    with pytest.raises(UserError, match="about 144 in all"):
        prepared(path, block_size=128)
    path.write_text("ab" * 72)
    assert len(prepared(path, block_size=128).split("train")) == 1


def test_a_text_without_blanks_has_its_three_splits(tmp_path):
    path = tmp_path / "genome.txt"
    path.write_text("ACGT" * 5000)
    counts = prepared(path).preprocessing["counts"]
    assert [count["tokens"] for count in counts.values()] == [18000, 1000, 1000]


def test_words_on_a_border_stay_whole_wherever_the_pieces_end():
    text = prose(20)
    for size in (3, 50, 10_000):
        chunks = whole_words(text[start : start + size] for start in range(0, len(text), size))
        parts = {"train": "", "val": "", "test": ""}
        for part, piece in cut_by_position(chunks, (400, 500, len(text))):
            parts[part] += piece
        assert "".join(parts.values()) == text
        assert 400 <= len(parts["train"]) < 408
        assert all(part[0].isspace() for part in (parts["val"], parts["test"]))


@pytest.mark.parametrize(
    "options",
    [{"block_size": 0}, {"eval_block_size": 0}, {"windows": "some"}, {"path": None}, {"max_vocab": 1}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TextFile(**{"path": "text.txt", **options})


def test_evaluation_batches_are_as_large_as_training_batches(path):
    assert prepared(path).eval_batch_size == 8
    assert prepared(path, eval_batch_size=3).eval_batch_size == 3


@needs_copy
def test_shakespeare_is_verified_by_its_hash(tmp_path):
    data = Shakespeare(path=str(COPY))
    data.setup_data()
    assert data.facts() == {"vocab_size": 65}
    assert data.num_train_samples() == data.preprocessing["counts"]["train"]["tokens"] // 128
    text = COPY.read_text(encoding="utf-8")
    batch = data.split("test")[Draw(None, torch.tensor([0]))]
    begin = len(text) - data.preprocessing["counts"]["test"]["tokens"]
    assert data.learnt_tokenizer.decode(batch.target[0].tolist()) == text[begin : begin + 128]
    other = tmp_path / "other.txt"
    other.write_text(text[:-1] + "?", encoding="utf-8")
    with pytest.raises(UserError, match=r"data\.verify=false"):
        Shakespeare(path=str(other)).setup_data()
    Shakespeare(path=str(other), verify=False).setup_data()


@needs_copy
def test_shakespeare_is_fetched_once(tmp_path, monkeypatch):
    asked = []

    def download(url, path, limit):
        asked.append(url)
        path.write_bytes(COPY.read_bytes())

    monkeypatch.setattr(sources, "SYSTEM_FOLDERS", ())
    monkeypatch.setattr(sources, "download", download)
    for _ in range(2):
        data = Shakespeare()
        data.setup_data()
        assert data.facts() == {"vocab_size": 65}
    assert asked == [
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
    ]
    kept = tmp_path / "cache" / "shakespeare" / "tinyshakespeare.txt"
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == Shakespeare.published.files[0].sha256


def test_without_a_network_the_message_names_what_to_type(monkeypatch):
    def download(url, path, limit):
        raise FetchError("the host cannot be found")

    monkeypatch.setattr(sources, "download", download)
    monkeypatch.setattr(sources, "SYSTEM_FOLDERS", ())
    with pytest.raises(EnvironmentFault) as caught:
        Shakespeare().setup_data()
    for part in ("input.txt: the host cannot be found", "data.path=FILE", "nnkit train data=pydocs"):
        assert part in str(caught.value)


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A standard library of three files, one of which must not be run."""
    library = tmp_path / "lib"
    for folder in ("pydoc_data", "pack", "test", "site-packages"):
        (library / folder).mkdir(parents=True)
    (library / "pydoc_data" / "topics.py").write_text(
        "topics = {'b': 'Topic b' ' goes on.\\n', 'a': '\\nTopic a.'}\n"
    )
    (library / "pack" / "__init__.py").write_text('"""The pack."""\nraise SystemExit("it was run")\n')
    (library / "one.py").write_text(
        'def f():\n    """Do f.\n\n    First.\n        More.\n    """\n\n'
        'class C:\n    "A class"\n    async def g(self):\n        "Do g"\n'
    )
    (library / "broken.py").write_text("def (:\n")
    for folder in ("test", "site-packages"):
        (library / folder / "other.py").write_text('"""Left out."""\n')
    monkeypatch.setattr("nnkit.data.datasets.documentation.library_folder", lambda: library)
    return library


def test_documentation_is_read_and_never_run(library):
    assert list(documents(library)) == [
        ("", "a", "Topic a."),
        ("", "b", "Topic b goes on."),
        ("one", "one.f", "Do f.\n\nFirst.\n    More."),
        ("one", "one.C", "A class"),
        ("one", "one.C.g", "Do g"),
        ("pack", "pack", "The pack."),
    ]
    (library / "pydoc_data" / "topics.py").unlink()
    with pytest.raises(EnvironmentFault, match="no sources of its library"):
        list(documents(library))


def test_documentation_of_another_python_is_refused_by_its_version(library, tmp_path, monkeypatch):
    data = PyDocs(block_size=16)
    data.setup_data()
    text = data.corpus().sources[0].path.read_text()
    assert text.startswith("Topic a.\n\n\nTopic b goes on.\n\n\none.f\n\nDo f.")
    assert sum(count["characters"] for count in data.preprocessing["counts"].values()) == len(text)
    monkeypatch.setattr("platform.python_version", lambda: "4.0.1")
    (library / "one.py").write_text('"""Another one."""')
    other = PyDocs(block_size=16)
    other.setup_data(data.preprocessing)
    with pytest.raises(UserError, match=r"it was made by Python 3\.\S+, and this is 4\.0\.1"):
        other.split("train")


def test_what_was_prepared_is_logged(path, caplog):
    caplog.set_level(logging.INFO, logger="nnkit")
    prepared(path)
    assert f"{len(prose())} characters; " in caplog.text


def test_a_run_is_tested_on_every_block_of_another_text(tmp_path):
    (tmp_path / "train.txt").write_text("abcd" * 100)
    (tmp_path / "other.txt").write_text("dcba" * 5)
    data = TextFile(path=str(tmp_path / "train.txt"), block_size=8)
    data.setup_data()
    (batch,) = data.labelled_batches(str(tmp_path / "other.txt"))
    read = data.learnt_tokenizer.decode(
        batch.inputs[0][:1].tolist() + batch.target[batch.target >= 0].tolist()
    )
    # The first token of a text is read and not scored.
    assert read == "dcba" * 5
    (tmp_path / "other.txt").write_text("")
    with pytest.raises(UserError):
        list(data.labelled_batches(str(tmp_path / "other.txt")))


@pytest.mark.parametrize("packed", [False, True])
def test_the_line_of_bytes_that_are_no_text_is_counted_through_all_pieces(tmp_path, packed):
    content = "é line\n".encode() * 50 + b"bad \xff byte\n"
    path = tmp_path / "bad.txt"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(UserError, match=r"line 51, byte 405 of the file is 0xff"):
        list(read_text(path, block=7))
