import gzip
import json
import logging
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import nnkit
from nnkit.data.sampler import Draw
from nnkit.data.splits import SPLITS, SplitOptions, settled_by_names
from nnkit.data.splitting import make_splits
from nnkit.data.text.classes import LabelledRows, classify
from nnkit.data.text.columns import choose_columns
from nnkit.data.text.text_table import TextTable
from nnkit.data.tokenizing import tokenizer_from
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


def records(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def prepared(path, **options):
    data = TextTable(path=path, **options)
    data.setup_data()
    return data


def texts_of(data, split="all"):
    """Return each text of a split, or of all, with its label or labels, read back from the batches."""
    if split == "all":
        return sorted(row for name in SPLITS for row in texts_of(data, name))
    tokenizer, names = tokenizer_from(data.preprocessing["tokenizer"]), data.preprocessing["class_names"]
    samples = data.split(split)
    batch = samples[Draw(None, torch.arange(len(samples)))]
    rows = zip(batch.inputs, batch.mask, batch.target.tolist(), strict=True)

    def labels(target):
        if not isinstance(target, list):
            return names[target]
        return tuple(name for name, there in zip(names, target, strict=True) if there)

    return [(tokenizer.decode(tokens[mask].tolist()), labels(target)) for tokens, mask, target in rows]


@pytest.mark.parametrize("name", ["reviews.csv", "reviews.csv.gz"])
def test_columns_are_found_and_every_text_keeps_its_label(write, name, caplog):
    rows = reviews()
    data = prepared(write(table(rows), name), split_seed=3)
    assert "the texts are in column 'review', by its name (data.text)" in caplog.text
    assert "the labels are in column 'stars', by its name (data.target)" in caplog.text
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
        TextTable(path="x.csv", max_tokens=100)


def test_a_restored_run_sees_the_same_texts_and_says_nothing(write, caplog):
    path = write(table(reviews()))
    first = prepared(path, split_seed=5, max_length=20)
    second = TextTable(path=path, split_seed=6)
    caplog.clear()
    second.setup_data(json.loads(json.dumps(first.preprocessing)))
    for split in ("train", "val", "test"):
        assert texts_of(first, split) == texts_of(second, split)
    assert second.facts() == first.facts()
    assert not caplog.records


def test_a_changed_file_is_refused(write):
    preprocessing = prepared(write(table(reviews()))).preprocessing
    data = TextTable(path=write(table(reviews(seed=2))))
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
    assert texts_of(data) == sorted((text[:10], label) for text, label in rows)
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
    keys = {"settled": settled_by_names(parts)}
    labelled = LabelledRows("file", {"text": "t", "target": "l"}, texts, labels, "0", keys)
    found = classify(
        labelled, lambda *given, **keys: make_splits(*given[:1], SplitOptions(), **keys)[0], report=True
    )
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
        ("text,label\nhello,a\nthere,b,c\n", UserError, "line 3"),
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


def as_csv(rows):
    return table(rows).encode()


def as_tsv(rows):
    return ("review\tstars\n" + "".join(f"{text}\t{label}\r\n" for text, label in rows)).encode("utf-16")


def as_json_lines(rows):
    return records({"review": text, "stars": label} for text, label in rows).encode()


def as_json_array(rows):
    return json.dumps([{"review": text, "stars": label} for text, label in rows]).encode()


def as_parquet(rows):
    texts, labels = zip(*rows, strict=True)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"review": texts, "stars": pa.array(labels).dictionary_encode()}), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "write_as"),
    [
        ("reviews.csv", as_csv),
        ("reviews.tsv", as_tsv),
        ("reviews.jsonl.gz", as_json_lines),
        ("reviews.json", as_json_array),
        ("reviews.parquet", as_parquet),
    ],
)
def test_every_kind_of_table_holds_the_same_texts(tmp_path, name, write_as):
    quote = '""' if name == "reviews.csv" else '"'
    rows = [(f"naïve {quote}{text}{quote}, 好", label) for text, label in reviews(60)]
    content = write_as(rows)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    data = prepared(str(path))
    assert texts_of(data) == sorted((text.replace('""', '"'), label) for text, label in rows)
    # The same files are read for predictions, each text by the number of its row.
    read = dict(data.read([str(path)]))
    assert len(read) == 60
    tokens = read[f"{path}:60"].inputs[0].tolist()
    assert tokenizer_from(data.preprocessing["tokenizer"]).decode(tokens) == rows[-1][0].replace('""', '"')


def test_files_of_a_folder_are_one_table(tmp_path):
    rows = reviews(90)
    for number in range(3):
        (tmp_path / f"part-{number}.jsonl").write_bytes(as_json_lines(rows[30 * number : 30 * number + 30]))
    assert (
        texts_of(prepared(str(tmp_path)))
        == texts_of(prepared(str(tmp_path / "part-*.jsonl")))
        == sorted(rows)
    )


def test_splits_of_their_own_stay_as_they_are(tmp_path):
    rows = reviews(90)
    for name, part in {"train": rows[:60], "dev": rows[60:70], "test": rows[70:]}.items():
        (tmp_path / f"{name}.csv").write_bytes(as_csv(part))
    whole = prepared(str(tmp_path))
    assert texts_of(whole, "train") == rows[:60]
    assert texts_of(whole, "val") == rows[60:70]
    assert texts_of(whole, "test") == rows[70:]
    files = {
        f"{split}_path": str(tmp_path / f"{name}.csv")
        for split, name in (("train", "train"), ("test", "test"))
    }
    own = prepared(None, **files)
    assert own.preprocessing["counts"] == {"train": 54, "val": 6, "test": 20}
    assert sorted(texts_of(own, "train") + texts_of(own, "val")) == sorted(rows[:60])


def test_columns_decide_the_split(tmp_path, write):
    rows = reviews(80)
    lines = [
        {
            "review": text,
            "stars": label,
            "writer": f"w{n % 9}",
            "day": f"2024-01-{n % 28 + 1:02}",
            "part": part,
        }
        for n, (text, label) in enumerate(rows)
        for part in ("train" if n < 60 else "test" if n < 70 else "validation",)
    ]
    path = write(records(lines), "reviews.jsonl")
    by_column = prepared(path, split_column="part")
    assert texts_of(by_column, "train") == rows[:60]
    assert texts_of(by_column, "val") == rows[70:]
    by_group = prepared(path, group="writer")
    writer = {row["review"]: row["writer"] for row in lines}
    writers = [{writer[text] for text, _ in texts_of(by_group, split)} for split in SPLITS]
    assert not (writers[0] & writers[1] or writers[0] & writers[2] or writers[1] & writers[2])
    by_time = prepared(path, time="day")
    day = {row["review"]: row["day"] for row in lines}
    spans = [[day[text] for text, _ in texts_of(by_time, split)] for split in SPLITS]
    assert max(spans[0]) < min(spans[1])
    assert max(spans[1]) < min(spans[2])
    folds = [texts_of(prepared(path, fold=fold, folds=4), "test") for fold in range(4)]
    assert sorted(row for fold in folds for row in fold) == sorted(rows)
    # A restored run splits as the run did, whatever its options.
    restored = TextTable(path=path)
    restored.setup_data(json.loads(json.dumps(by_group.preprocessing)))
    assert [texts_of(restored, split) for split in SPLITS] == [texts_of(by_group, split) for split in SPLITS]


TOPICS = [("rain tomorrow", ["weather"]), ("goal in the rain", ["sport", "weather"]), ("nothing much", [])]


def several(size=60):
    return [(f"{TOPICS[n % 3][0]} {n}", TOPICS[n % 3][1]) for n in range(size)]


@pytest.mark.parametrize(
    ("name", "cell", "options"),
    [
        ("topics.jsonl", list, {}),
        ("topics.csv", "|".join, {}),
        ("topics.csv", " / ".join, {"target_separator": "/"}),
        ("topics.csv", ", ".join, {"target_separator": "comma"}),
        ("topics.csv", str, {}),
    ],
)
def test_a_text_may_have_several_labels(write, name, cell, options, caplog):
    rows = [{"text": text, "topics": cell(labels)} for text, labels in several()]
    if name.endswith(".csv"):
        content = "text,topics\n" + "".join(f'{row["text"]},"{row["topics"]}"\n' for row in rows)
    else:
        content = records(rows)
    data = prepared(write(content, name), targets=["multi"], **options)
    assert data.preprocessing["class_names"] == ["sport", "weather"]
    assert texts_of(data) == sorted((text, tuple(labels)) for text, labels in several())
    batch = data.split("train")[Draw(None, torch.arange(4))]
    assert batch.target.dtype == torch.float32
    assert batch.target.shape == (4, 2)
    assert data.preprocessing["class_counts"] == data.split("train").targets().sum(0).tolist()
    if not options and cell == "|".join:
        assert "labels in column 'topics' are separated by '|' (data.target_separator)" in caplog.text


@pytest.mark.parametrize("cell", [list, "|".join, ";".join])
def test_several_labels_are_never_one_class_without_a_word(write, cell):
    rows = [{"text": f"text {n}", "topics": cell(["a", "bc"[n % 2], "de"[n % 3 // 2]])} for n in range(30)]
    with pytest.raises(ConfigError, match=r"hold several labels, such as .*\n    type task=multilabel"):
        prepared(write(records(rows), "topics.jsonl"))
    if cell is not list:
        whole = prepared(write(records(rows), "topics.jsonl"), target_separator="")
        assert len(whole.preprocessing["class_names"]) == 4


def test_a_class_may_be_called_like_a_missing_value(write, caplog):
    rows = [(text, "NA" if n % 3 else "EU") for n, (text, _) in enumerate(reviews(90))]
    with pytest.raises(ConfigError, match="one class only, 'EU'"):
        prepared(write(table(rows)))
    assert (
        "'NA' in 60 cells of column 'stars' counts as a missing label (data.missing=[] makes it one)"
        in caplog.text
    )
    data = prepared(write(table(rows)), missing=[])
    assert data.preprocessing["class_names"] == ["EU", "NA"]
    assert texts_of(data) == sorted(rows)
    # A typed file has null for it.
    content = records({"review": text, "stars": label} for text, label in rows)
    assert prepared(write(content, "r.jsonl")).preprocessing["class_names"] == ["EU", "NA"]


def test_quotes_that_enclose_nothing_are_letters(write):
    rows = [
        (f'"the room {n} was awful' if n % 3 else f"the room {n} was fine", "ab"[n % 2]) for n in range(60)
    ]
    content = "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows)
    data = prepared(write(content, "quotes.tsv"))
    assert texts_of(data) == sorted(rows)
    assert len(list(data.read([write(content, "quotes.tsv")]))) == 60


def test_cells_may_be_long_and_have_lines(write):
    rows = [("word " * 40_000 + "end", "a"), ("first\nsecond", "b")] * 10
    content = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows).replace(
        "first\n", "first\r\n"
    )
    data = prepared(write(content), max_length=2_000_000, tokenizer="bytes")
    assert {(len(text), label) for text, label in texts_of(data)} == {(200_003, "a"), (12, "b")}
    assert ("first\nsecond", "b") in texts_of(data)


def test_an_older_release_that_read_other_rows_is_named(write):
    path = write(table(reviews()))
    preprocessing = prepared(path).preprocessing | {"counts": {"train": 100, "val": 20, "test": 20}}
    data = TextTable(path=path)
    data.setup_data(preprocessing)
    with pytest.raises(UserError, match="is read as 200 texts, and was read as 140 by the release"):
        data.samples("train")


CHINESE = ["这个手机难看，电影也讨厌。", "这个餐厅漂亮，歌曲也喜欢。"]


@pytest.mark.parametrize("encoding", ["gbk", "utf-8", "utf-16"])
@pytest.mark.parametrize("name", ["new.csv", "new.txt"])
def test_each_file_is_read_in_its_own_encoding(write, encoding, name):
    rows = [(f"{CHINESE[n % 2]}{n}", "ab"[n % 2]) for n in range(40)]
    content = "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows)
    data = prepared(write(content, encoding="gbk"), encoding="gbk")
    assert texts_of(data) == sorted(rows)
    new = write(("text\n" if name == "new.csv" else "") + "\n".join(CHINESE * 5), name, encoding)
    tokenizer = tokenizer_from(data.preprocessing["tokenizer"])
    read = [tokenizer.decode(batch.inputs[0].tolist()) for _, batch in data.read([new])]
    assert read == CHINESE * 5


def test_a_codec_that_nothing_tells_is_that_of_the_run(write):
    rows = [(f"{text} {n}", "ab"[n % 2]) for n, text in enumerate(["плохой фильм", "хороший фильм"] * 20)]
    content = "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows)
    data = prepared(write(content, encoding="cp1251"), encoding="cp1251")
    tokenizer = tokenizer_from(data.preprocessing["tokenizer"])
    for name in ("new.txt", "new.csv"):
        new = write("text\nплохой\n", name, "cp1251")
        assert tokenizer.decode(list(data.read([new]))[-1][1].inputs[0].tolist()) == "плохой"


def cells_of(**columns):
    return {name: list(map(str, cells)) for name, cells in columns.items()}


N = range(40)
SHORT = [f"bad {n}" for n in N]
LONG = [f"a rather long text about number {n}" for n in N]
CHOICES = [
    # Names decide, whatever is longer.
    (dict(text=SHORT, label=[f"a very long name of a class {n % 2}" for n in N]), ("text", "label")),
    (dict(language=[f"Portuguese {n % 3}" for n in N], name=SHORT), ("name", "language")),
    ({"评论": SHORT, "标签": ["好", "坏"] * 20, "备注": LONG}, ("评论", "标签")),
    (dict(Sentence=LONG, Y=[n % 2 for n in N]), ("Sentence", "Y")),
    (dict(title=SHORT, text=LONG, label=[n % 2 for n in N], stars=[n % 5 for n in N]), ("text", "label")),
    # Else how many different values there are.
    (dict(a=[f"a very long name of a class {n % 2}" for n in N], b=SHORT), ("b", "a")),
    (
        dict(nr=N, uuid=[f"{n:08x}-0000-4000-8000-000000000000" for n in N], a=[n % 3 for n in N], b=LONG),
        ("b", "a"),
    ),
    (
        dict(when=[f"2024-01-{n + 1:02}" for n in range(28)], a=[n % 3 for n in range(28)], b=LONG[:28]),
        ("b", "a"),
    ),
    (dict(a=LONG, b=SHORT, c=[n % 3 for n in N]), ("a", "c")),
]


@pytest.mark.parametrize(("columns", "expected"), CHOICES, ids=lambda value: str(value)[:30])
def test_what_texts_and_labels_are_called_or_look_like(columns, expected):
    found = choose_columns("table", cells_of(**columns), None, None, report=False)
    assert (found["text"], found["target"]) == expected


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (dict(review=LONG, comment=LONG, label=[n % 2 for n in N]), "'review', 'comment' are equally likely"),
        (dict(a=LONG, b=LONG[::-1], label=[n % 2 for n in N]), "'a', 'b' may hold the texts"),
        (dict(text=LONG, a=[n % 2 for n in N], b=[n % 3 for n in N]), "'a', 'b' may hold the labels"),
        (dict(text=LONG, id=N), "'id' hold no labels that repeat"),
        (dict(id=N, label=[n % 2 for n in N]), "'id' hold no texts"),
        (dict(text=LONG), "only one column, 'text'"),
    ],
)
def test_columns_that_nothing_tells_apart_are_asked_for(columns, sentence):
    with pytest.raises(ConfigError, match=sentence):
        choose_columns("table", cells_of(**columns), None, None, report=False)


def test_keys_that_are_missing_are_missing_values(write, caplog):
    lines = [{"text": f"text number {n}", "label": "ab"[n % 2]} for n in range(40)]
    more = [
        {"text": " ", "label": "a"},
        {"text": "x", "label": None},
        {"text": "y", "label": ""},
        {"label": "a"},
    ]
    data = prepared(write(records(lines + more), "texts.jsonl"))
    assert sum(data.preprocessing["counts"].values()) == 40
    assert "2 of 44 rows have an empty text" in caplog.text
    assert "2 of 44 rows have no label" in caplog.text


@pytest.mark.parametrize(("labels", "names"), [([True, False], ["false", "true"]), ([10, 9], ["9", "10"])])
def test_labels_may_be_numbers_or_true_and_false(write, labels, names):
    content = records({"text": f"some text {n}", "label": labels[n % 2]} for n in range(20))
    assert prepared(write(content, "t.jsonl")).preprocessing["class_names"] == names


def test_a_table_of_new_texts_has_targets_and_columns_to_keep(write):
    data = prepared(write(table(reviews())))
    new = write(
        "code,stars,review\n7,good,a great film\n8,,it was dull\n9,other,some story\n10,bad,\n", "new.csv"
    )
    (read,) = data.read_batches([new], 10, ["code"])
    assert read.names == [f"{new}:{row}" for row in (1, 2, 3, 4)]
    assert read.problems == {3: "an empty text"}
    assert read.labelled.tolist() == [True, False, False]
    assert read.batch.target[0] == data.preprocessing["class_names"].index("good")
    assert read.kept.to_pydict() == {"code": ["7", "8", "9", "10"]}
    (plain,) = data.read_batches(["a great film"], 10)
    assert plain.labelled is None
    assert plain.kept is None
    with pytest.raises(UserError, match="'a great film' is no table"):
        list(data.read_batches(["a great film"], 10, ["code"]))
    (wrong,) = data.read_batches([new], 10, ["kode"])
    assert "has no column 'kode'" in wrong.problems[0]
    # Each batch of a test on another file has the labelled ones.
    assert [batch.target.tolist() for batch in data.labelled_batches(new)] == [[1]]


def test_new_texts_may_have_several_labels(write):
    rows = "".join(f"{text},{'|'.join(labels)}\n" for text, labels in several())
    data = prepared(write("text,topics\n" + rows, "topics.csv"), targets=["multi"])
    restored = TextTable(path=data.path, targets=["multi"])
    restored.setup_data(json.loads(json.dumps(data.preprocessing)))
    new = write("text,topics\nrain,weather|sport\ngoal,sport|other\nfog,\n", "new.csv")
    (read,) = restored.read_batches([new], 10)
    assert read.labelled.tolist() == [True] * 3
    assert read.batch.target.tolist() == [[1, 1], [1, 0], [0, 0]]


def test_a_table_without_names_is_predicted_as_it_was_trained(write, caplog):
    rows = reviews(60)
    data = prepared(write("".join(f'{number % 2},"{text}"\n' for number, (text, _) in enumerate(rows))))
    assert "is read as data, as it holds numbers where they do" in caplog.text
    assert sum(data.preprocessing["counts"].values()) == 60
    assert len(list(data.read([write("1,a great film\n0,dull\n", "new.csv")]))) == 2
    # Nothing but the run tells that these columns have no names.
    read = dict(data.read([write("x,a great film\ny,dull\n", "more.csv")]))
    assert len(read) == 2


@pytest.mark.parametrize("rows", [[], [(3, " ")], [(0, ""), (11, "")]])
def test_texts_that_are_read_together_are_what_each_is_by_itself(write, caplog, rows):
    data = prepared(write(table(reviews())), tokenizer="words", max_length=6)
    texts = [text for text, _ in reviews(20, seed=2)]
    texts[5] = f"zebra {texts[5]}"
    for place, text in rows:
        texts[place] = text
    new = write("review\n" + "".join(f'"{text}"\n' for text in texts), "new.csv")
    caplog.clear()
    one_by_one = list(data.read([new]))
    alone = {record.getMessage() for record in caplog.records}
    caplog.clear()
    reads = list(data.read_batches([new], 8))
    assert {record.getMessage() for record in caplog.records} == alone
    assert len(caplog.records) == len(alone) == 2
    assert [len(read.names) for read in reads] == [8, 8, 4]
    assert [name for read in reads for name in read.names] == [name for name, _ in one_by_one]
    answers = []
    for read in reads:
        batches = iter(zip(read.batch.inputs, read.batch.mask, strict=True))
        answers += [
            read.problems[place] if place in read.problems else next(batches)
            for place in range(len(read.names))
        ]
        assert next(batches, None) is None
    assert sum(isinstance(answer, str) for answer in answers) == len(rows)
    for answer, (_, found) in zip(answers, one_by_one, strict=True):
        if isinstance(found, str):
            assert answer == found
        else:
            inputs, mask = answer
            assert torch.equal(inputs[mask], found.inputs[found.mask])
