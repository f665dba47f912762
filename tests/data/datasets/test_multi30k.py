import gzip
import json

import pytest
import torch

from nnkit.data.datasets.multi30k import Multi30k
from nnkit.data.sampler import Draw
from nnkit.errors import UserError

SIZES = {"train": 40, "val": 6, "test_2016_flickr": 5}


@pytest.fixture
def root(tmp_path):
    """Tiny files of the published format, half of them packed."""
    for name, size in SIZES.items():
        for language, word in (("en", "dog"), ("de", "Hund")):
            text = "".join(f"A {word} of {name}, number {number}.\n" for number in range(size)).encode()
            packed = language == "de"
            path = tmp_path / f"{name}.{language}{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(text) if packed else text)
    return tmp_path


def prepared(root, **options):
    data = Multi30k(root=str(root), **{"max_vocab": 300, **options})
    data.setup_data()
    return data


@pytest.mark.parametrize(("source", "target", "word"), [("en", "de", "Hund"), ("de", "en", "dog")])
def test_the_published_splits_are_kept(root, source, target, word):
    data = prepared(root, source=source, target=target)
    assert data.preprocessing["counts"] == {"train": 40, "val": 6, "test": 5}
    assert data.facts()["vocab_size"] == data.facts()["source_vocab_size"] <= 302
    samples = data.split("test")
    batch = samples[Draw(None, torch.arange(5))]
    assert [data.decode_target(row) for row in batch.target.tolist()] == [
        f"A {word} of test_2016_flickr, number {number}." for number in range(5)
    ]


def test_names_of_other_archives_are_known(root):
    expected = prepared(root).preprocessing["counts"]
    for language in ("en", "de.gz"):
        (root / f"test_2016_flickr.{language}").rename(root / f"test.{language}")
    assert prepared(root).preprocessing["counts"] == expected


def test_files_that_are_missing_or_changed(root):
    data = prepared(root)
    restored = Multi30k(root=str(root))
    restored.setup_data(json.loads(json.dumps(data.preprocessing)))
    assert len(restored.split("val")) == 6
    (root / "val.en").write_text("A dog.\n" * 6)
    restored.setup_data(data.preprocessing)
    with pytest.raises(UserError, match="has changed since this run was prepared"):
        restored.split("val")
    (root / "val.en").write_text("A dog.\n")
    with pytest.raises(UserError, match=r"val\.en has 1 lines, .*val\.de\.gz has 6"):
        prepared(root)
    (root / "val.en").unlink()
    (root / "train.de.gz").unlink()
    with pytest.raises(UserError, match=r"lacks train\.de, val\.en \(each may also end in \.gz\)"):
        prepared(root)
    with pytest.raises(UserError, match="there is no folder"):
        prepared(root / "gone")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"root": None}, "root must name the folder with train.en"),
        ({"source": "fr"}, "source must be en or de, not 'fr'"),
        ({"source": "de"}, "must be different languages, not both de"),
    ],
)
def test_options_out_of_range(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Multi30k(**{"root": "folder", **options})
