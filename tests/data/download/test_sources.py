import gzip
import hashlib

import pytest

from nnkit.data.download import sources
from nnkit.data.download.fetch import FetchError
from nnkit.data.download.sources import DataFile, Package, Published, collect, locate, read_content
from nnkit.errors import EnvironmentFault, UserError

CONTENTS = {"a-idx1": b"first file" * 10, "b-idx1": b"second file" * 10}
FILES = tuple(
    DataFile(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in CONTENTS.items()
)
MIRROR, OTHER = "https://mirror.invalid/", "https://other.invalid/"


@pytest.fixture
def home(monkeypatch, tmp_path):
    """An empty cache and system; no mirror has anything."""
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "SYSTEM_FOLDERS", (tmp_path / "system",))
    monkeypatch.setattr(sources, "download", serve({}))
    home = tmp_path / "cache" / "things"
    home.mkdir(parents=True)
    return home


def serve(answers, asked=None):
    def download(url, path, limit):
        if asked is not None:
            asked.append(url)
        if url not in answers:
            raise FetchError("the server answered 404 Not Found")
        path.write_bytes(answers[url])

    return download


def published(**options):
    return Published("Things", "things", FILES, **{"mirrors": (MIRROR,), **options})


def package(contents):
    return Package("pip download things==1", lambda folder: contents)


def test_files_in_the_cache_are_taken_plain_or_packed(home):
    (home / "a-idx1").write_bytes(CONTENTS["a-idx1"])
    (home / "b-idx1.gz").write_bytes(gzip.compress(CONTENTS["b-idx1"]))
    assert collect(published()) == CONTENTS


def test_the_spelling_of_other_archives_is_known(home):
    for name, content in CONTENTS.items():
        (home / name.replace("-idx", ".idx")).write_bytes(content)
    assert collect(published()) == CONTENTS


def test_each_source_is_asked_for_what_the_ones_before_lack(home, tmp_path, monkeypatch):
    system = tmp_path / "system" / "things"
    system.mkdir(parents=True)
    (system / "a-idx1.gz").write_bytes(gzip.compress(CONTENTS["a-idx1"]))
    asked = []
    answers = {f"{MIRROR}b-idx1.gz": gzip.compress(CONTENTS["b-idx1"])}
    monkeypatch.setattr(sources, "download", serve(answers, asked))
    assert collect(published(mirrors=(MIRROR, OTHER))) == CONTENTS
    assert asked == [f"{MIRROR}b-idx1.gz"]
    assert sorted(path.name for path in home.iterdir() if path.name != ".lock") == ["b-idx1.gz"]


def test_what_was_fetched_is_found_in_the_cache_the_next_time(home, monkeypatch):
    answers = {f"{MIRROR}{name}.gz": gzip.compress(content) for name, content in CONTENTS.items()}
    monkeypatch.setattr(sources, "download", serve(answers))
    collect(published())
    asked = []
    monkeypatch.setattr(sources, "download", serve({}, asked))
    assert collect(published()) == CONTENTS
    assert asked == []


def test_a_corrupt_cached_file_is_fetched_again_and_said(home, monkeypatch, caplog):
    (home / "a-idx1").write_bytes(b"x" + CONTENTS["a-idx1"][1:])
    (home / "b-idx1.gz").write_bytes(gzip.compress(CONTENTS["b-idx1"])[:-10])
    answers = {f"{OTHER}{name}.gz": gzip.compress(content) for name, content in CONTENTS.items()}
    monkeypatch.setattr(sources, "download", serve(answers))
    assert collect(published(mirrors=(MIRROR, OTHER))) == CONTENTS
    assert caplog.text.count("is damaged and will be fetched again") == 2
    assert "SHA-256 " + FILES[0].sha256 + " was expected" in caplog.text
    assert not (home / "a-idx1").exists()


def test_a_good_file_beside_a_corrupt_one_is_taken(home):
    (home / "a-idx1").write_bytes(b"corrupt")
    for name, content in CONTENTS.items():
        (home / f"{name}.gz").write_bytes(gzip.compress(content))
    assert collect(published()) == CONTENTS
    assert not (home / "a-idx1").exists()


def test_a_mirror_that_serves_something_else_is_not_believed(home, monkeypatch):
    answers = {f"{MIRROR}{name}.gz": gzip.compress(b"<html>") for name in CONTENTS}
    monkeypatch.setattr(sources, "download", serve(answers))
    assert collect(published(package=package(CONTENTS))) == CONTENTS
    assert sorted(path.name for path in home.iterdir() if path.name != ".lock") == ["a-idx1.gz", "b-idx1.gz"]
    assert read_content(home / "a-idx1.gz", 100) == CONTENTS["a-idx1"]


def test_a_package_that_holds_something_else_is_not_believed(home):
    wrong = {**CONTENTS, "b-idx1": b"else"}
    with pytest.raises(
        EnvironmentFault, match=r"pip download things==1: SHA-256 .* was expected, .* was found"
    ):
        collect(published(package=package(wrong)))
    assert not (home / "b-idx1.gz").exists()


def test_when_all_fail_one_message_says_what_was_tried_and_what_to_do(home, tmp_path):
    (home / "a-idx1").write_bytes(CONTENTS["a-idx1"])

    def refuse(folder):
        raise FetchError("no matching distribution found")

    with pytest.raises(EnvironmentFault) as caught:
        collect(published(mirrors=(MIRROR, OTHER), package=Package("pip download things==1", refuse)))
    assert str(caught.value).splitlines() == [
        "Things could not be found or fetched. Tried, in this order:",
        f"  {home}: no b-idx1",
        f"  {tmp_path / 'system' / 'things'}: no such folder",
        f"  {MIRROR}b-idx1.gz: the server answered 404 Not Found",
        f"  {OTHER}b-idx1.gz: the server answered 404 Not Found",
        "  pip download things==1: no matching distribution found",
        f"To provide it by hand, put these files into {home}, or anywhere with data.root=FOLDER:",
        f"  b-idx1.gz (or without .gz; SHA-256 uncompressed {FILES[1].sha256})",
        "A dataset that needs no network: nnkit train data=digits",
    ]
    assert caught.value.exit_code == 1


def test_a_root_is_searched_alone(tmp_path):
    for name in CONTENTS:
        (tmp_path / f"{name}.gz").write_bytes(b"")
    assert locate(published(), tmp_path) == {name: tmp_path / f"{name}.gz" for name in CONTENTS}
    (tmp_path / "b-idx1.gz").unlink()
    with pytest.raises(UserError, match="lacks b-idx1 "):
        locate(published(), tmp_path)
    with pytest.raises(UserError, match="there is no folder"):
        locate(published(), tmp_path / "none")


def test_a_gzip_bomb_is_refused_at_its_bound(tmp_path):
    bomb = tmp_path / "bomb.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    with pytest.raises(ValueError, match="more than the 1,000 bytes expected"):
        read_content(bomb, 1000)
    with pytest.raises(ValueError, match="more than the 16 bytes expected"):
        read_content(bomb, len)


@pytest.mark.parametrize("cut", [3, 12, -4])
def test_a_truncated_gzip_is_called_damaged(tmp_path, cut):
    (tmp_path / "file.gz").write_bytes(gzip.compress(bytes(range(256)) * 10)[:cut])
    with pytest.raises(ValueError, match="damaged as gzip"):
        read_content(tmp_path / "file.gz", 10_000)
