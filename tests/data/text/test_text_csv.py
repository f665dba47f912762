import gzip
import io
import json
import logging
import random
import sys

import pytest
import torch

import nnkit
from nnkit.data.sampler import Draw
from nnkit.data.text.labelled_files import TextCSV
from nnkit.data.text.labelled_texts import Labelled, classify
from nnkit.errors import ConfigError, UserError

GOOD = ["great", "lovely", "superb", "happy"]
BAD = ["awful", "poor", "dull", "broken"]
FILL = ["the", "film", "was", "a", "story", "of", "people", "and", "it", "had", "some", "scenes"]


def reviews(size=200, seed=1):
    """Sentences with one word that says whether they are good or bad, with the label."""
    drawn = random.Random(seed)
    rows = []
    for number in range(size):
        words = [drawn.choice(FILL) for _ in range(drawn.randint(3, 12))]
        words.insert(drawn.randrange(len(words)), drawn.choice(GOOD if number % 2 else BAD))
        rows.append((" ".join(words), "good" if number % 2 else "bad"))
    return rows


def table(rows):
    return "id,review,stars\n" + "".join(f'{n},"{text}",{label}\n' for n, (text, label) in enumerate(rows))


@pytest.fixture
def write(tmp_path):
    def write(text, name="reviews.csv", encoding="utf-8"):
        path = tmp_path / name
        content = text.encode(encoding)
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return str(path)

    return write


def prepared(path, **options):
    data = TextCSV(path=path, **options)
    data.setup_data()
    return data


def texts_of(data, split):
    """Return each text of a split with its label, read back from the batches."""
    from nnkit.data.tokenizing import tokenizer_from

    tokenizer, names = tokenizer_from(data.preprocessing["tokenizer"]), data.preprocessing["class_names"]
    samples = data.split(split)
    batch = samples[Draw(None, torch.arange(len(samples)))]
    rows = zip(batch.inputs, batch.mask, batch.target.tolist(), strict=True)
    return [(tokenizer.decode(tokens[mask].tolist()), names[target]) for tokens, mask, target in rows]


@pytest.mark.parametrize("name", ["reviews.csv", "reviews.csv.gz"])
def test_columns_are_found_and_every_text_keeps_its_label(write, name, caplog):
    rows = reviews()
    data = prepared(write(table(rows), name), split_seed=3)
    assert "the texts are in column 'review'" in caplog.text
    assert "the target is the last other column, 'stars'" in caplog.text
    assert data.preprocessing["counts"] == {"train": 160, "val": 20, "test": 20}
    assert data.facts()["num_classes"] == 2
    read = [texts_of(data, split) for split in ("train", "val", "test")]
    assert sorted(row for part in read for row in part) == sorted(rows)
    # As many of each label in every part.
    assert [sum(label == "good" for _, label in part) for part in read] == [80, 10, 10]


def test_batches_are_padded_little_and_all_texts_come_once_an_epoch(write):
    data = prepared(write(table(reviews())), batch_size=16)
    loader = data.train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader) == 10
    assert sorted(torch.cat([batch.indices for batch in batches]).tolist()) == list(range(160))
    for batch in batches:
        assert batch.mask[:, 0].all()
        assert batch.mask.sum(1).max() == batch.inputs.shape[1]
    assert sum(batch.mask.sum() for batch in batches) > 0.9 * sum(batch.mask.numel() for batch in batches)


def test_a_budget_of_tokens_bounds_all_batches(write):
    data = prepared(write(table(reviews())), max_tokens=600)
    for loader in (data.train_dataloader(), data.val_dataloader()):
        assert max(batch.inputs.numel() for batch in loader) <= 600
    with pytest.raises(ValueError, match="max_tokens must be at least max_length, 256"):
        TextCSV(path="x.csv", max_tokens=100)


def test_a_restored_run_sees_the_same_texts_and_says_nothing(write, caplog):
    path = write(table(reviews()))
    first = prepared(path, split_seed=5, max_length=20)
    second = TextCSV(path=path, split_seed=6)
    caplog.clear()
    second.setup_data(json.loads(json.dumps(first.preprocessing)))
    for split in ("train", "val", "test"):
        assert texts_of(first, split) == texts_of(second, split)
    assert second.facts() == first.facts()
    assert not caplog.records


def test_a_changed_file_is_refused(write):
    preprocessing = prepared(write(table(reviews()))).preprocessing
    data = TextCSV(path=write(table(reviews(seed=2))))
    data.setup_data(preprocessing)
    with pytest.raises(UserError, match="has changed since this run was prepared"):
        data.samples("test")


def test_long_texts_are_cut_and_counted(write, caplog):
    rows = reviews()
    data = prepared(write(table(rows)), max_length=10)
    long = sum(len(text) > 10 for text, _ in rows)
    assert (
        f"{long} of 200 ({long / 2:.1f} %) texts are longer than 10 tokens and are cut there" in caplog.text
    )
    read = [row for split in ("train", "val", "test") for row in texts_of(data, split)]
    assert sorted(read) == sorted((text[:10], label) for text, label in rows)
    assert max(data.split("train").lengths) == 10


def test_unknown_characters_are_counted(write, caplog):
    caplog.set_level(logging.INFO)
    rows = [(f"{text} {chr(0x4E00 + n)}", label) for n, (text, label) in enumerate(reviews())]
    prepared(write(table(rows)))
    # One of its own in each of the 40 texts of the other parts.
    assert "40 of " in caplog.text
    assert "are not in the vocabulary and count as unknown" in caplog.text


def test_rows_without_text_or_label_are_left_out_and_counted(write, caplog):
    rows = [*reviews(), ("", "good"), ("  ", "bad"), ("something", ""), ("", "")]
    data = prepared(write(table(rows)))
    assert sum(data.preprocessing["counts"].values()) == 200
    assert "3 of 204 rows have an empty text; they are left out" in caplog.text
    assert "1 of 204 rows have no label ('stars'); they are left out" in caplog.text


def test_words_may_be_the_tokens(write):
    data = prepared(write(table(reviews())), tokenizer="words")
    assert data.facts()["vocab_size"] < 30
    assert data.split("train").lengths.max() <= 13


def test_texts_in_which_no_token_is_found_are_left_out(write, caplog):
    # Nothing but marks that cannot be seen, which wordpiece drops.
    data = prepared(write(table([*reviews(), ("\u200b\xad", "good")])), tokenizer="wordpiece", max_vocab=60)
    assert sum(data.preprocessing["counts"].values()) == 200
    assert "texts without a token, which are left out: 1" in caplog.text
    assert dict(data.read(["\u200b"]))["\u200b"].startswith("there is nothing to read in it")


def test_a_label_never_seen_in_training_is_named(caplog):
    rows = [
        ("a", "x", "train"),
        ("b", "y", "train"),
        ("c", "z", "test"),
        ("d", "y", "test"),
        ("e", "z", "val"),
    ]
    texts, labels, parts = map(list, zip(*rows, strict=True))
    labelled = Labelled("file", {"text": "t", "target": "l"}, texts, labels, "0", parts)
    found = classify(labelled, split_rows=None, report=True)
    assert (
        "2 validation and test texts are left out, as their label is never seen in training: 'z'"
        in caplog.text
    )
    assert found.class_names == ["x", "y"]
    assert {part: rows.tolist() for part, rows in found.rows.items()} == {
        "train": [0, 1],
        "val": [],
        "test": [3],
    }
    assert found.target[[0, 1, 3]].tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        ("text,label\n", UserError, "holds column names but no rows"),
        ('text,label\n"",a\n" ",b\n', UserError, "has nothing but empty texts in 'text', 2 of them"),
        ("text,label\nhello there,\n", UserError, "has no text with a label in 'label'"),
        ("text,label\nhello there,a\n", ConfigError, "'label' has one class only, 'a'"),
        ("text,label\nhello,a\nthere,b\n", UserError, "2 rows are too few"),
        ("text,label\nhello,a\nthere,b,c\n", UserError, "line 3: 3 fields, the header has 2"),
        (
            "text,label\n" + "".join(f"some text,{n}.5\n" for n in range(99)),
            ConfigError,
            "amounts, not classes",
        ),
    ],
)
def test_files_that_cannot_be_learnt_from(write, content, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        prepared(write(content), text="text")
    assert "regression" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"text": "revew"}, r"data.text: .* has no column 'revew'\n    did you mean data\.text=review\?"),
        ({"target": "star"}, r"data.target: .* has no column 'star'\n    did you mean data\.target=stars\?"),
        ({"text": "review", "target": "review"}, "it cannot be the target as well"),
    ],
)
def test_columns_that_are_not_there(write, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        prepared(write(table(reviews())), **options)


def test_a_file_that_is_not_utf8_is_warned_of_with_its_place(write, caplog):
    rows = reviews()
    rows[40] = ("déjà vu", "bad")
    data = prepared(write(table(rows), encoding="latin-1"))
    assert "line 42: byte 6 (0xe9) is not UTF-8; the file is read as Latin-1" in caplog.text
    assert ("déjà vu", "bad") in [row for split in ("train", "val", "test") for row in texts_of(data, split)]


def test_texts_are_read_from_arguments_files_and_standard_input(write, tmp_path, monkeypatch):
    data = prepared(write(table(reviews())))
    other = write('stars,review\n,a great film\n,""\n', "other.csv")
    lines = write("a lovely story\n\nsome people\n", "lines.txt")
    objects = write('{"review": "dull"}\n{"text": "x"}\n', "more.jsonl.gz")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"it was poor\n\xff\n")))
    items = ["what a film", "", other, lines, objects, "-", "gone.csv", write("a,b\n1,2\n", "x.csv")]
    read = {name: batch if isinstance(batch, str) else batch.inputs.shape for name, batch in data.read(items)}
    assert read == {
        "what a film": (1, 11),
        "": "an empty text",
        f"{other}:1": (1, 12),
        f"{other}:2": "an empty text",
        f"{lines}:1": (1, 14),
        f"{lines}:3": (1, 11),
        f"{objects}:1": (1, 4),
        f"{objects}:2": "no key 'review'",
        "stdin:1": (1, 11),
        "stdin:2": "byte 1 (0xff) is not UTF-8",
        "gone.csv": "no such file: gone.csv",
        items[-1]: "there is no column 'review', the one with the texts; it has: a, b",
    }


def test_what_a_text_loses_is_warned_of_once(write, caplog):
    data = prepared(write(table(reviews())), max_length=20)
    caplog.clear()
    batches = dict(data.read(["ß and more words than there is room for", "ß" * 30]))
    assert all(batch.inputs.shape == (1, 20) for batch in batches.values())
    assert [record.message for record in caplog.records] == [
        "longer than 20 tokens and cut there: 'ß and more words than there is room for' and maybe others",
        "not in the training texts, counts as unknown: 'ß' in 'ß and more words than there is room for'; "
        "maybe in others as well",
    ]


def test_a_small_lstm_learns_which_words_matter(write):
    words = [
        "data=text_csv",
        f"data.path={write(table(reviews(300)))}",
        "data.tokenizer=words",
        "model.dim=16",
    ]
    quick = ["trainer.max_epochs=15", "trainer.num_threads=1", "logger=[]", "callbacks=[checkpoint]"]
    result = nnkit.train([*words, *quick, "data.batch_size=16", "optimizer.lr=1e-2", "model.pooling=max"])
    assert result.metrics["test/accuracy"] >= 0.9
