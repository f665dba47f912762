import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from nnkit.data.pictures import image_files
from nnkit.data.pictures.image_files import (
    PictureError,
    centre_ink,
    fit,
    load,
    to_array,
    warn_of_unlike,
)

DARK = {"picture": [33.0, 11.0], "border": [0.0, 0.5]}


def gradient(height=12, width=16):
    return np.linspace(0, 255, height * width).reshape(height, width).astype(np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.webp", "a.gif", "a.pgm"])
def test_grey_survives_every_lossless_format(tmp_path, name):
    Image.fromarray(gradient()).save(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
    assert np.array_equal(to_array(load(tmp_path / name, 1))[0], gradient())
    assert np.array_equal(to_array(load(tmp_path / name, 3)), np.stack([gradient()] * 3))


def test_16_bits_become_8_without_clipping(tmp_path):
    wide = gradient().astype(np.uint16) * 257
    for name in ("a.png", "a.tiff"):
        Image.fromarray(wide).save(tmp_path / name)
        assert np.array_equal(to_array(load(tmp_path / name, 1))[0], gradient())


def test_32_bits_and_floats_become_8(tmp_path):
    Image.fromarray(gradient().astype(np.int32)).save(tmp_path / "int.tiff")
    Image.fromarray(gradient().astype(np.float32) / 255).save(tmp_path / "unit.tiff")
    Image.fromarray(gradient().astype(np.float32)).save(tmp_path / "float.tiff")
    for name in ("int", "unit", "float"):
        assert np.array_equal(to_array(load(tmp_path / f"{name}.tiff", 1))[0], gradient())


@pytest.mark.parametrize("type", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_of_more_than_8_bits_keeps_its_levels(tmp_path, type, channels):
    values = (gradient() * 16.0).astype(type)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    levels = to_array(load(tmp_path / "a.tiff", channels, keep_levels=True))
    assert levels.dtype == (np.float32 if type is np.float32 else np.int32)
    assert np.array_equal(levels, values[None])


def test_12_bits_of_colour_in_16_are_refused_rather_than_nearly_black(tmp_path):
    for name, top in (("12 bits", 4095), ("16 bits", 65535)):
        (tmp_path / name).write_bytes(png_of_16_bits(top))
    assert load(tmp_path / "16 bits", 3, keep_levels=True).getpixel((1, 0)) == (255, 255, 255)
    with pytest.raises(PictureError, match="its colours have 16 bits, only their upper 8 can be read"):
        load(tmp_path / "12 bits", 3, keep_levels=True)


def test_nan_and_infinite_pixels_are_counted(tmp_path):
    values = gradient().astype(np.float32)
    values[0, :2], values[3, 3] = np.nan, np.inf
    Image.fromarray(values).save(tmp_path / "a.tiff")
    with pytest.raises(PictureError, match="3 of 192 pixels are NaN or infinite"):
        load(tmp_path / "a.tiff", 1)


def test_palette_and_transparency_are_laid_over_white(tmp_path):
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2] = (200, 100, 50, 255)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([9, 9, 9, 200, 100, 50])
    palette.paste(1, (0, 0, 4, 2))
    palette.save(tmp_path / "palette.png", transparency=0)
    for name in ("rgba.png", "palette.png"):
        pixels = to_array(load(tmp_path / name, 3))
        assert pixels[:, 0, 0].tolist() == [200, 100, 50]
        assert pixels[:, 3, 3].tolist() == [255, 255, 255]


def test_cmyk_and_one_bit_are_read(tmp_path):
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "a.tiff")
    red = to_array(load(tmp_path / "a.tiff", 3))[:, 0, 0]
    assert red[0] > 200 and red[1:].max() < 60
    Image.fromarray(gradient() > 127).save(tmp_path / "b.png")
    assert np.array_equal(to_array(load(tmp_path / "b.png", 1))[0], (gradient() > 127) * np.uint8(255))


def test_a_turned_photograph_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter clockwise to be seen
    Image.fromarray(gradient()).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(to_array(load(tmp_path / "a.png", 1))[0], np.rot90(gradient(), -1))


def test_a_large_jpeg_decoded_small_looks_the_same(tmp_path):
    grain = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    large = Image.fromarray(grain).resize((900, 600), Image.Resampling.BICUBIC)
    large.save(tmp_path / "a.jpg", quality=95)
    small = fit(load(tmp_path / "a.jpg", 1, (20, 30)), 20, 30, "crop")
    whole = fit(load(tmp_path / "a.jpg", 1), 20, 30, "crop")
    assert load(tmp_path / "a.jpg", 1, (20, 30)).width < 900
    assert np.abs(to_array(small).astype(int) - to_array(whole)).mean() < 3


def test_pictures_are_cut_padded_or_stretched_to_size():
    image = Image.fromarray(np.repeat(np.array([[0, 100, 200, 255]], np.uint8), 2, axis=0))
    assert to_array(fit(image, 2, 2, "crop"))[0].tolist() == [[100, 200], [100, 200]]
    padded = to_array(fit(image, 4, 4, "pad"))[0]
    assert padded.tolist() == [[0] * 4, [0, 100, 200, 255], [0, 100, 200, 255], [0] * 4]
    assert to_array(fit(image, 2, 4, "stretch")).shape == (1, 2, 4)


def test_bars_beside_a_picture_of_unknown_range_have_its_darkest_level():
    for type in (np.int32, np.float32):
        image = Image.fromarray(np.array([[2000, 2400, 2100, 2300]] * 2, type))
        assert to_array(fit(image, 4, 4, "pad"))[0][[0, 3]].tolist() == [[2000] * 4] * 2


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_start(width, height, bits=8, colour=0):
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)


def png_header(width, height):
    return png_start(width, height) + struct.pack(">I", 10) + b"IDAT"


def png_of_16_bits(top):
    """Two pixels of 16 bits a colour, which Pillow does not write: black and `top`."""
    pixels = zlib.compress(b"\0" + bytes(6) + struct.pack(">3H", top, top, top))
    return png_start(2, 1, 16, 2) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"", "the file is empty"),
        (b"hello", "it is no picture"),
        (png_header(4, 4), "it cannot be decoded"),
        (png_header(11_000, 11_000), "it claims 11000 x 11000 pixels"),
        (png_header(60_000, 60_000), "it claims more than 100,000,000 pixels"),
    ],
    ids=["missing", "empty", "text", "cut", "large", "bomb"],
)
def test_what_is_no_picture_is_answered_with_a_sentence(tmp_path, content, message):
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with image_files.quiet(), pytest.raises(PictureError, match=message):
        load(path, 1)


def test_a_truncated_picture_is_no_picture(tmp_path):
    Image.fromarray(gradient(100, 100)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(PictureError, match=r"cannot be decoded: .*truncated"):
        load(tmp_path / "a.jpg", 1)


def test_a_folder_on_the_way_is_a_sentence_too(tmp_path):
    with pytest.raises(PictureError, match="cannot be decoded"):
        load(tmp_path, 1)


def drawing(background, ink, top=30, left=70):
    values = np.full((100, 120), background, np.uint8)
    values[top : top + 40, left : left + 10] = ink
    return Image.fromarray(values)


@pytest.mark.parametrize(("background", "ink"), [(0, 255), (255, 0), (20, 200)])
@pytest.mark.parametrize("by_mass", [True, False])
def test_a_stroke_anywhere_ends_up_in_the_box_in_the_middle(background, ink, by_mass):
    centred = np.asarray(centre_ink(drawing(background, ink), 28, 20, by_mass)).astype(int)
    assert centred.shape == (28, 28)
    rows, columns = np.nonzero(np.abs(centred - background) > 20)
    assert (rows.min(), rows.max()) == (4, 23)
    assert (columns.min(), columns.max()) in ((11, 15), (12, 16))
    assert centred[0, 0] == background


def test_mnist_is_centred_by_mass():
    values = np.zeros((60, 60), np.uint8)
    values[10:50, 10:50] = 70
    values[10:50, 10:15] = 255
    centred = np.asarray(centre_ink(Image.fromarray(values), 28, 20, by_mass=True)).astype(float)
    centre = (centred.sum(axis=0) * (np.arange(28) + 0.5)).sum() / centred.sum()
    assert abs(centre - 14) <= 0.5
    framed = np.asarray(centre_ink(Image.fromarray(values), 28, 20, by_mass=False)).astype(float)
    assert abs((framed.sum(axis=0) * (np.arange(28) + 0.5)).sum() / framed.sum() - 14) > 1.5


def test_a_blank_sheet_has_nothing_to_centre():
    with pytest.raises(PictureError, match="it is blank"):
        centre_ink(Image.new("L", (50, 50), 255), 28, 20, True)


def test_an_inverted_picture_is_warned_about(caplog):
    digit = np.zeros((1, 28, 28), np.uint8)
    digit[:, 5:23, 12:16] = 255
    warn_of_unlike(["a.png"], digit[None], DARK)
    assert caplog.text == ""
    warn_of_unlike(["a.png"], 255 - digit[None], DARK)
    assert "a.png looks unlike the training pictures" in caplog.text
    assert "it looks inverted, try its negative" in caplog.text


def test_a_blank_picture_is_warned_about(caplog):
    warn_of_unlike(["a.png"], np.zeros((1, 1, 28, 28), np.uint8), DARK)
    assert "a.png is blank once" in caplog.text


def test_photographs_of_any_brightness_pass(caplog):
    spread = {"picture": [120.0, 60.0], "border": [120.0, 60.0]}
    for level in (5, 120, 250):
        noise = np.random.default_rng(0).integers(0, 5, (3, 8, 8), dtype=np.uint8)
        warn_of_unlike(["a.png"], noise[None] + np.uint8(level), spread)
    assert caplog.text == ""


def test_of_many_pictures_those_that_are_unlike_are_named(caplog):
    digit = np.zeros((1, 28, 28), np.uint8)
    digit[:, 5:23, 12:16] = 255
    names = ["good.png", "inverted.png", "blank.png", "fine.png"]
    warn_of_unlike(names, np.stack([digit, 255 - digit, digit * 0, digit // 2]), DARK)
    assert [record.getMessage().split()[0] for record in caplog.records] == ["inverted.png", "blank.png"]
    caplog.clear()
    # Levels of more than 8 bits come as floats.
    warn_of_unlike(names[:2], np.stack([digit, 255 - digit]).astype(np.float32), DARK)
    assert [record.getMessage().split()[0] for record in caplog.records] == ["inverted.png"]
