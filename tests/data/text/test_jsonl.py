import gzip
import json

import pytest

from nnkit.data.text.labelled_files import JSONLines
from nnkit.errors import ConfigError, UserError


@pytest.fixture
def write(tmp_path):
    def write(content, name="texts.jsonl"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return str(path)

    return write


def lines(size=40, **more):
    records = [{"text": f"text number {n}", "label": "ab"[n % 2], **more} for n in range(size)]
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def prepared(path, **options):
    data = JSONLines(path=path, **options)
    data.setup_data()
    return data


@pytest.mark.parametrize("name", ["texts.jsonl", "texts.jsonl.gz"])
def test_keys_and_classes_are_found(write, name, caplog):
    data = prepared(write(b"\xef\xbb\xbf" + lines(source=7), name), text="text", target="label")
    assert data.preprocessing["columns"] == {"text": "text", "target": "label"}
    assert data.preprocessing["class_names"] == ["a", "b"]
    assert data.preprocessing["counts"] == {"train": 32, "val": 4, "test": 4}
    assert "data.text" not in caplog.text
    data = prepared(write(lines()))
    assert data.preprocessing["columns"] == {"text": "text", "target": "label"}
    assert "the texts are in key 'text', the longest ones" in caplog.text
    assert "the target is the last other key, 'label'" in caplog.text


@pytest.mark.parametrize(
    ("labels", "names"),
    [([True, False], ["false", "true"]), ([10, 9], ["9", "10"]), (["x ", "y"], ["x", "y"])],
)
def test_labels_may_be_numbers_or_true_and_false(write, labels, names):
    records = [{"text": "some text", "label": labels[n % 2]} for n in range(20)]
    content = "\n\n".join(map(json.dumps, records)).encode()
    assert prepared(write(content)).preprocessing["class_names"] == names


def test_empty_texts_and_missing_labels_are_left_out(write, caplog):
    more = b'{"text": " ", "label": "a"}\n{"text": "x", "label": null}\n{"text": "y", "label": ""}\n'
    data = prepared(write(lines() + more))
    assert sum(data.preprocessing["counts"].values()) == 40
    assert "1 of 43 rows have an empty text" in caplog.text
    assert "2 of 43 rows have no label" in caplog.text


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"text": "caf\xe9", "label": "a"}', "line 41: byte 14 (0xe9) is not UTF-8"),
        (b'{"text": "x", "label"}', "line 41: no JSON: Expecting ':' delimiter at character 22"),
        (b'["x", "a"]', "line 41: not a JSON object ({...}) but a list"),
        (b'{"text": "x"}', "line 41: no key 'label'"),
        (b'{"texts": "x"}', "line 41: no key 'text' and no key 'label'"),
        (b'{"text": 5, "label": "a"}', "line 41: 'text' must be a string, not a number"),
        (b'{"text": null, "label": "a"}', "line 41: 'text' must be a string, not null"),
        (b'{"text": "x", "label": ["a"]}', "line 41: 'label' must be a string or a number, not a list"),
        (b"[" * 100_000, "line 41: no JSON that can be read: a number is too long or brackets are too deep"),
    ],
)
def test_wrong_lines_are_named(write, line, problem):
    with pytest.raises(UserError) as caught:
        prepared(write(lines() + line + b"\n"))
    assert problem in str(caught.value)
    assert "texts.jsonl: 1 line cannot be read" in str(caught.value)


def test_many_wrong_lines_are_counted(write):
    with pytest.raises(UserError) as caught:
        prepared(write(lines() + b"no\n" * 1234))
    said = str(caught.value).splitlines()
    assert said[0].endswith("1,234 lines cannot be read")
    assert len(said) == 7
    assert said[-1] == "    and 1,229 more"


def test_files_without_texts(write):
    with pytest.raises(UserError, match="nothing but blank lines"):
        prepared(write(b"\n \n"))
    with pytest.raises(ConfigError, match="has only one key, 'text'"):
        prepared(write(b'{"text": "x"}\n'))
    with pytest.raises(ConfigError, match=r"no key 'txt'\n    did you mean data\.text=text\?"):
        prepared(write(lines()), text="txt")
    with pytest.raises(ValueError, match="path must name a file of JSON lines"):
        JSONLines()
