"""FAULTS class 17: a picture starts no program, waits for nobody, and costs no more than its pixels."""

import ast
import os
import struct
import zlib
from pathlib import Path

import pytest
from hostile_run import cheaply
from PIL import Image

import nnkit
from nnkit.data.pictures.image_files import FORMATS, PictureError, load

POSTSCRIPT = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
NAMES = ["x.png", "x.jpg", "x.eps", "x.tif", "x"]


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_starts_no_program(tmp_path, monkeypatch, name):
    """Pillow hands PostScript to the first `gs` in PATH, whatever the file is called."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gs").write_text(f"#!/bin/sh\ntouch '{tmp_path}/sprung'\nexit 1\n")
    (tmp_path / "bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / name).write_text(POSTSCRIPT)
    with pytest.raises(PictureError, match="it is EPS, which is not read; a picture is one of PNG, JPEG"):
        load(tmp_path / name, 3)
    assert not (tmp_path / "sprung").exists()


def test_every_picture_is_opened_with_a_list_of_formats():
    places = []
    for path in Path(nnkit.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Image.open":
                places.append(path.name)
                assert "formats" in [word.arg for word in node.keywords], path
    assert places == ["image_files.py"]


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_promised_is_read_whatever_the_file_is_called(tmp_path, format):
    if format not in Image.SAVE and (Image.init() or format not in Image.SAVE):
        pytest.skip("this Pillow does not write it")
    Image.new("RGB", (8, 6), (255, 0, 0)).save(tmp_path / "x.dat", format=format)
    assert load(tmp_path / "x.dat", 3).size == (8, 6)


def test_no_pipe_and_no_device_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    for path in (tmp_path / "x.png", Path("/dev/zero"), tmp_path):
        with cheaply(5), pytest.raises(PictureError, match="plain file"):
            load(path, 3)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *chunks):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


BOMBS = {
    "a claim of 10 ** 10 pixels": (lambda: png(10**5, 10**5), "pixels"),
    "a text that unpacks to 400 MB": (
        lambda: png(8, 8, chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(400 << 20), 1))),
        "cannot be decoded",
    ),
    "pixels that are missing": (
        lambda: png(9_000, 9_000, chunk(b"IDAT", zlib.compress(b""))),
        "cannot be decoded",
    ),
}


@pytest.mark.parametrize(("content", "said"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_a_sentence(tmp_path, content, said):
    (tmp_path / "x.png").write_bytes(content())
    # The last one may claim what a photograph may.
    with cheaply(num_bytes=400 << 20), pytest.raises(PictureError, match=said):
        load(tmp_path / "x.png", 3)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_a_file_cut_anywhere_is_a_picture_or_a_sentence(tmp_path, format):
    path = tmp_path / "x.png"
    Image.effect_noise((16, 16), 50).convert("RGB").save(path, format=format)
    whole = path.read_bytes()
    for length in {*range(0, len(whole), max(1, len(whole) // 60)), *range(min(80, len(whole)))}:
        path.write_bytes(whole[:length])
        try:
            assert load(path, 3).size == (16, 16)
        except PictureError as error:
            assert "\n" not in str(error)
