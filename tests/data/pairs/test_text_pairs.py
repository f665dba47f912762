import gzip
import json

import pytest
import torch

import nnkit
from nnkit.batches import IGNORED
from nnkit.data.pairs.text_pairs import TextPairs
from nnkit.data.sampler import Draw
from nnkit.errors import ConfigError, UserError

ROWS = [(f"number {number}", f"Zahl {number}") for number in range(50)]


@pytest.fixture
def write(tmp_path):
    def write(content, name="pairs.tsv"):
        path = tmp_path / name
        content = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return str(path)

    return write


def columns(rows):
    return "".join("\t".join(row) + "\n" for row in rows)


def answers(path, target_path=None, **options):
    """Return the target of each source, as a prepared dataset holds them."""
    data = TextPairs(path=path, target_path=target_path, **options)
    data.setup_data()
    found = {}
    for split in ("train", "val", "test"):
        samples = data.split(split)
        batch = samples[Draw(None, torch.arange(len(samples)))]
        source = data.tokenizers.source
        for inputs, mask, target in zip(batch.inputs, batch.mask, batch.target, strict=True):
            found[source.decode(inputs[mask].tolist())] = data.decode_target(target.tolist())
    return found


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.tsv.gz"])
def test_two_columns(write, name):
    assert answers(write(columns(ROWS), name)) == dict(ROWS)


def test_two_parallel_files(write):
    sources = write("\ufeff" + "\n".join(source for source, _ in ROWS), "a.en")
    # Lines end at line feeds alone: other separators of Unicode stand inside of texts.
    rows = [(source, target.replace(" ", "\u2028")) for source, target in ROWS]
    targets = write("".join(f" {target}\r\n" for _, target in rows), "a.de.gz")
    assert answers(sources, targets) == dict(rows)


def test_further_columns_are_left(write, caplog):
    assert answers(write(columns((*row, "by Ann") for row in ROWS))) == dict(ROWS)
    assert "has 3 columns: the first is read, the second written, others are left" in caplog.text


def test_empty_sides_are_left_out_and_their_lines_named(write, caplog):
    rows = [("", ""), *ROWS, ("alone", " "), ("", "allein")]
    path = write("\n" + columns(rows[1:]))
    assert answers(path) == dict(ROWS)
    assert f"{path}: 3 of 53 lines have an empty side and are left out: lines 1, 52, 53" in caplog.text
    caplog.clear()
    paths = [write("".join(f"{row[side]}\n" for row in rows), f"{side}.txt") for side in (0, 1)]
    assert answers(*paths) == dict(ROWS)
    assert "3 of 53 lines have an empty side" in caplog.text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a b\n", r"line 1: no tab in 'a b'; a source, a tab and its target were expected"),
        ("a\tb\nc\td\te\n", "line 2: 3 columns between tabs, the first line has 2"),
        ("a\tb\tc\nd\te\n", "line 2: 2 columns between tabs, the first line has 3"),
        ("\t\n \n", "there is no line with a source and a target"),
        ("", "pairs.tsv is empty"),
        ("a\tb\n" * 9, "1 rows are too few"),
    ],
)
def test_files_that_cannot_be_learnt_from(write, content, sentence):
    with pytest.raises(UserError, match=sentence):
        TextPairs(path=write(content)).setup_data()


def test_files_of_unequal_length_are_refused(write):
    short, long = write("a\nb\n", "a.en"), write("c\nd\ne\n", "a.de")
    for paths, counts in (((short, long), ("2", "3")), ((long, short), ("3", "2"))):
        with pytest.raises(UserError, match=f"has {counts[0]} lines, .* has {counts[1]}: the same lines"):
            TextPairs(path=paths[0], target_path=paths[1]).setup_data()


def test_files_that_are_missing(write, tmp_path):
    path = write(columns(ROWS))
    with pytest.raises(UserError, match=r"did you mean .*pairs\.tsv\?"):
        TextPairs(path=str(tmp_path / "pair.tsv")).setup_data()
    with pytest.raises(UserError, match=r"no such file: gone\.de"):
        TextPairs(path=path, target_path="gone.de").setup_data()


@pytest.mark.parametrize("parallel", [True, False])
def test_a_changed_file_is_refused(write, parallel):
    path = write(columns(ROWS))
    options = {"path": path, "target_path": write(columns(ROWS), "b.txt") if parallel else None}
    data = TextPairs(**options)
    data.setup_data()
    write(columns(ROWS[1:]), "b.txt" if parallel else "pairs.tsv")
    changed = TextPairs(**options)
    changed.setup_data(data.preprocessing)
    with pytest.raises(UserError, match="changed since this run was prepared"):
        changed.samples("test")


def test_what_is_left_out_stands_in_the_log_of_the_run(write):
    path = write(columns([*ROWS, *((f"{number} {'a b ' * 40}", "c") for number in range(9))]))
    words = ["data=text_pairs", f"data.path={path}", "data.max_length=80", "data.test_fraction=0.0"]
    small = ["model.dim=8", "model.num_layers=1", "trainer.max_steps=1", "trainer.num_threads=1", "logger=[]"]
    result = nnkit.train([*words, *small, "callbacks=[checkpoint]"])
    log = (result.run.path / "train.log").read_text()
    lost = 53 - result.session.data.preprocessing["counts"]["train"]
    assert 0 < lost < 10
    assert f"{path}: {53 - lost} pairs to train on, 6 for validation, 0 for the test" in log
    assert f"{lost} of 53 ({lost / 0.53:.1f} %) training pairs have a side of more than 80 tokens" in log


def test_a_line_without_end_fills_no_memory(write, monkeypatch):
    monkeypatch.setattr("nnkit.data.text.items._MAX_LINE", 1000)
    path = write("a\tb\nc\t" + "d" * 1001, "pairs.tsv.gz")
    with pytest.raises(UserError, match="line 2: a line of 1,000 characters or more"):
        TextPairs(path=path).setup_data()


def as_csv(rows, names="source,target"):
    return f"{names}\n" + "".join(f'"{source}","{target}"\n' for source, target in rows)


def as_json_lines(rows):
    return "".join(
        json.dumps({"id": 7, "question": source, "answer": target}) + "\n" for source, target in rows
    )


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("pairs.csv", as_csv(ROWS), {}),
        ("pairs.csv", as_csv(ROWS, "en,de"), {}),
        ("pairs.csv", as_csv(ROWS[1:], '"number 0","Zahl 0"'), {}),
        ("pairs.csv", as_csv([row[::-1] for row in ROWS], "b,a"), {"source": "a", "target": "b"}),
        ("pairs.tsv", "target\tsource\n" + columns(row[::-1] for row in ROWS), {}),
        ("pairs.jsonl", as_json_lines(ROWS), {}),
        ("pairs.tsv", columns(ROWS).encode("utf-16"), {}),
    ],
)
def test_columns_of_a_table(write, name, content, options):
    assert answers(write(content, name), **options) == dict(ROWS)


def test_columns_that_nothing_tells_apart_are_asked_for(write):
    content = "a,b,c\n" + "x,y,z\n" * 9
    with pytest.raises(ConfigError, match=r"may hold the sources: .*\n    type data\.source=COLUMN"):
        TextPairs(path=write(content, "pairs.csv"), header=True).setup_data()


def test_quotes_in_lines_with_a_tab_are_letters(write):
    rows = [(f'"number {number}', f'"Zahl" {number}') for number in range(50)]
    assert answers(write(columns(rows))) == dict(rows)


@pytest.mark.parametrize(("ending", "write_as"), [("tsv", columns), ("csv", as_csv)])
def test_splits_of_their_own_stay_as_they_are(write, ending, write_as):
    parts = {"train": ROWS[:30], "val": ROWS[30:40], "test": ROWS[40:]}
    paths = {f"{split}_path": write(write_as(rows), f"{split}.{ending}") for split, rows in parts.items()}
    data = TextPairs(**paths)
    data.setup_data()
    assert data.preprocessing["counts"] == {"train": 30, "val": 10, "test": 10}
    target = data.split("test")[Draw(None, torch.tensor([0]))].target[0]
    assert data.decode_target(target.tolist()).startswith("Zahl 4")
    restored = TextPairs(**paths)
    restored.setup_data(json.loads(json.dumps(data.preprocessing)))
    assert len(restored.split("val")) == 10
    with pytest.raises(ValueError, match="do not go with val_path"):
        TextPairs(path="a", target_path="b", val_path="c")


def test_sources_are_predicted_from_a_table_of_the_same_columns(write):
    data = TextPairs(path=write(as_json_lines(ROWS), "pairs.jsonl"))
    data.setup_data()
    for name in ("question", "source"):
        read = dict(data.read([write(f"{name}\nnumber 7\n", "new.csv")]))
        (batch,) = read.values()
        assert data.tokenizers.source.decode(batch.inputs[0].tolist()) == "number 7"


@pytest.mark.parametrize(("name", "content"), [("new.tsv", columns(ROWS[:3])), ("new.csv", as_csv(ROWS[:3]))])
def test_new_pairs_have_their_targets(write, name, content):
    data = TextPairs(path=write(columns(ROWS)))
    data.setup_data()
    path = write(content, name)
    (read,) = data.read_batches([path], 10, [])
    assert read.names == [f"{path}:{row}" for row in (1, 2, 3)]
    (batch,) = data.labelled_batches(path)
    assert [data.decode_target(row.tolist()) for row in batch.target] == ["Zahl 0", "Zahl 1", "Zahl 2"]
    sources = write("source\nnumber 4\n", "sources.csv")
    assert [batch.target.max() for _, batch in data.read([sources, "number 5"])] == [IGNORED, IGNORED]
    with pytest.raises(UserError, match="none of its items has a true target"):
        list(data.labelled_batches(sources))


def test_new_pairs_are_written_and_tested_on(write, cli):
    path = write(columns(ROWS))
    small = ["model.dim=8", "model.num_layers=1", "trainer.max_steps=1", "trainer.num_threads=1", "logger=[]"]
    nnkit.train(["name=pairs", "data=text_pairs", f"data.path={path}", *small, "callbacks=[checkpoint]"])
    code, out, _ = cli(
        "predict", "pairs", write(as_csv(ROWS[:2]), "new.csv"), "--keep", "target", "--format", "csv"
    )
    assert code == 0
    assert [line.split(",")[1] for line in out.splitlines()] == ["target", "Zahl 0", "Zahl 1"]
    assert cli("test", "pairs", path)[0] == 0
