"""Paragraphs of a library written for the test: which are kept, under which topic, and in which part."""

import re
from collections import defaultdict

import pytest

from nnkit.data.datasets.pydocs_topics import PyDocsTopics, chapter_of
from nnkit.data.splits import SPLITS
from nnkit.errors import UserError

SHARED = "This very paragraph stands in two topics of the documentation, so that nobody can say which one it is of."
TWICE = "This very paragraph stands in two modules of one topic, which is one answer, and so it is kept, but once."
LONGER = "What every module has is a paragraph about {}, number {}, of more than one hundred characters: {}."


def prose(module, number):
    return LONGER.format(module, number, ["tea", "milk", "sugar", "bread", "butter"][number % 5] * 4)


@pytest.fixture(autouse=True)
def library(tmp_path, monkeypatch):
    folder = tmp_path / "lib"
    (folder / "pydoc_data").mkdir(parents=True)
    topics = {f"topic{n}": f"Short.\n\n{prose('topics', n)}\n\n{'x' * 700}" for n in range(12)}
    (folder / "pydoc_data" / "topics.py").write_text(f"topics = {topics!r}\n")
    modules = ["json/a", "email/b", "http/c", "heapq"] + [f"tkinter/w{n}" for n in range(12)]
    for module in modules:
        path = folder / f"{module}.py"
        path.parent.mkdir(exist_ok=True)
        # Wrapped and indented as docstrings are.
        text = "\n\n".join(prose(module, n).replace(" a ", "\n        a ") for n in range(3))
        more = {"json/a": SHARED, "http/c": SHARED, "tkinter/w0": TWICE, "tkinter/w1": TWICE}.get(module, "")
        example = ">>> 1 + 1\n" + "2\n" * 60
        body = f"def f():\n    '''{module.split('/')[-1]} does.\n\n    {text}\n\n    {more}\n\n    {example}'''\n"
        path.write_text(body)
    (folder / "_nobody_knows.py").write_text(f"'''{prose('hidden', 1)}'''\n")
    monkeypatch.setattr("nnkit.data.datasets.documentation.library_folder", lambda: folder)
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))
    return folder


def rows(data):
    labelled = data.load()
    splits = [SPLITS[place] for place in labelled.split_keys["settled"].tolist()]
    return list(zip(labelled.texts, labelled.labels, splits, strict=True))


def test_paragraphs_are_prose_of_middle_length_and_each_stands_once():
    found = rows(PyDocsTopics())
    texts = [text for text, _, _ in found]
    assert len(set(texts)) == len(texts)
    assert all(100 <= len(text) <= 600 and "\n" not in text and ">>>" not in text for text in texts)
    assert texts.count(TWICE) == 1
    assert SHARED not in texts
    assert not any("hidden" in text or "does." in text for text in texts)
    # 12 help topics of one paragraph, 16 modules of three, and the one that stood in two modules.
    assert len(texts) == 12 + 16 * 3 + 1


def test_a_topic_is_a_chapter_and_its_name_is_not_put_into_the_text():
    topics = defaultdict(set)
    for text, topic, _ in rows(PyDocsTopics()):
        topics[re.search(r"about (\w+)", text).group(1) if "about" in text else "tkinter"].add(topic)
    assert topics == {
        "topics": {"language"},
        "json": {"mail and data of the internet"},
        "email": {"mail and data of the internet"},
        "http": {"protocols of the internet"},
        "heapq": {"data types"},
        "tkinter": {"graphics"},
    }
    assert chapter_of("email.mime.text") == chapter_of("json")
    assert chapter_of("no_such_module") is None


def test_a_module_is_in_one_split_only_and_about_an_eighth_is_held_out():
    parts, sizes = defaultdict(set), defaultdict(int)
    for text, topic, part in rows(PyDocsTopics()):
        if topic == "graphics" and text != TWICE:
            parts[re.search(r"about (\S+),", text).group(1)].add(part)
            sizes[part] += 1
    assert len(parts) == 12
    assert all(len(found) == 1 for found in parts.values())
    # 37 paragraphs, of which at most 12 % are four: one module of three in each part.
    assert (sizes["val"], sizes["test"]) == (3, 3)


def test_the_data_are_ready_for_bert(library):
    data = PyDocsTopics()
    data.setup_data()
    assert data.facts()["num_classes"] == 5
    batch = data.split("train")[next(iter(data.train_dataloader().sampler))]
    tokenizer_marks = batch.inputs[:, 0].unique()
    assert tokenizer_marks.tolist() == [1]
    (other,) = (PyDocsTopics(),)
    (library / "heapq.py").write_text("")
    other.setup_data(data.preprocessing)
    # What is in the cache is still what the run was prepared with.
    assert len(other.split("train")) == len(data.split("train"))


def test_other_documentation_than_that_of_the_run_is_refused(library, monkeypatch):
    data = PyDocsTopics()
    data.setup_data()
    monkeypatch.setattr("platform.python_version", lambda: "4.0.1")
    (library / "heapq.py").write_text("")
    other = PyDocsTopics()
    other.setup_data(data.preprocessing)
    with pytest.raises(UserError, match=r"Python 4\.0\.1 has changed since this run was prepared"):
        other.split("train")
