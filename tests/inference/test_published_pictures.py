"""Vectors of pictures by a directory of Hugging Face: what `transformers` computes for the same files."""

import json

import numpy as np
import pytest
import torch
from hugging_face.peers import RESNET, VIT, edit, peer
from PIL import Image

from nnkit.errors import ConfigError
from nnkit.hugging_face import Directory

FILE = "preprocessor_config.json"
COLOUR = {"num_channels": 3}
WIDE = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25]}
# The class of the model and its sizes; the class of the processor and its options.
CASES = {
    "vit": ("ViTModel", VIT | COLOUR, "ViTImageProcessorPil", {"size": {"height": 28, "width": 28}}),
    "vit-bicubic": (
        "ViTModel",
        VIT | COLOUR,
        "ViTImageProcessorPil",
        {"size": {"height": 28, "width": 28}, "resample": 3, **WIDE},
    ),
    "vit-cut": (
        "ViTModel",
        VIT | COLOUR,
        "ViTImageProcessorPil",
        {"size": {"shortest_edge": 31}, "do_center_crop": True, "crop_size": {"height": 28, "width": 28}},
    ),
    "vit-framed": (
        "ViTModel",
        VIT | COLOUR,
        "ViTImageProcessorPil",
        {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 28, "width": 28}},
    ),
    "vit-grey": (
        "ViTModel",
        VIT,
        "ViTImageProcessorPil",
        {
            "size": {"height": 28, "width": 28},
            "image_mean": [0.1],
            "image_std": [0.3],
            "rescale_factor": 0.01,
        },
    ),
    "vit-bytes": (
        "ViTModel",
        VIT | COLOUR,
        "ViTImageProcessorPil",
        {"size": {"height": 28, "width": 28}, "do_rescale": False, "do_normalize": False},
    ),
    "resnet": (
        "ResNetModel",
        RESNET | COLOUR,
        "ConvNextImageProcessorPil",
        {"size": {"shortest_edge": 40}, "crop_pct": 0.8, **WIDE},
    ),
    "resnet-whole": ("ResNetModel", RESNET | COLOUR, "ConvNextImageProcessorPil", {}),
    "resnet-any-size": (
        "ResNetModel",
        RESNET | COLOUR,
        "ViTImageProcessorPil",
        {"size": {"shortest_edge": 33}},
    ),
}


@pytest.fixture
def pictures(tmp_path):
    """Pictures of several sizes and a folder, with the names that embed gives them."""
    return draw(tmp_path / "pictures")


def draw(folder, channels=3):
    folder.mkdir()
    drawn = np.random.default_rng(0)
    for number, (height, width) in enumerate([(50, 31), (20, 64), (28, 28), (33, 90), (50, 31)]):
        shape = (height, width, 3)[: 2 if channels == 1 else 3]
        Image.fromarray(drawn.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("name", CASES)
def test_vectors_of_pictures_are_those_of_transformers(name, cli, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    kind, options, processor, steps = CASES[name]
    model = peer(kind, **options)
    if name == "vit-bytes":
        # Features of bytes, 0 to 255, differ in the fifth digit.
        model.embeddings.patch_embeddings.projection.weight.data.mul_(0.01)
    model.save_pretrained(tmp_path / "model")
    reads = getattr(transformers, processor)(**steps)
    reads.save_pretrained(tmp_path / "model")
    folder = draw(tmp_path / "pictures", options["num_channels"])
    poolings = ["summary", "mean", "first"] if kind == "ViTModel" else ["summary"]
    for pooling in poolings:
        code, out, err = cli("embed", tmp_path / "model", folder, "--pooling", pooling)
        assert (code, err) == (0, "")
        lines = [json.loads(line) for line in out.splitlines()]
        files = sorted(folder.iterdir())
        assert [line["item"] for line in lines] == [str(file) for file in files]
        for line, file in zip(lines, files, strict=True):
            with torch.inference_mode():
                outputs = model(**reads(Image.open(file), return_tensors="pt"))
            if kind == "ResNetModel":
                expected = outputs.pooler_output.flatten(1)
            else:
                steps_of = outputs.last_hidden_state
                expected = steps_of.mean(1) if pooling == "mean" else steps_of[:, 0]
            np.testing.assert_allclose(line["vector"], expected[0].numpy(), rtol=1e-5, atol=1e-5)


@pytest.fixture
def model(tmp_path):
    peer("ViTModel", **(VIT | COLOUR)).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_without_the_file_it_is_what_their_processor_does_by_default(cli, model, pictures):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    code, out, err = cli("embed", model, pictures / "0.png")
    assert code == 0
    assert "model has no preprocessor_config.json: pictures are resized to 28 x 28" in err
    reads = transformers.ViTImageProcessorPil(size={"height": 28, "width": 28})
    theirs = transformers.ViTModel.from_pretrained(model).eval()
    with torch.inference_mode():
        expected = theirs(**reads(Image.open(pictures / "0.png"), return_tensors="pt")).last_hidden_state[
            0, 0
        ]
    np.testing.assert_allclose(json.loads(out)["vector"], expected.numpy(), rtol=1e-5, atol=1e-5)


def test_a_size_of_before_2022_is_read(model, pictures):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    old = {"feature_extractor_type": "ViTFeatureExtractor", "size": 28, "image_mean": [0.5] * 3}
    (model / FILE).write_text(json.dumps(old))
    reads = transformers.AutoImageProcessor.from_pretrained(model)
    expected = reads(Image.open(pictures / "1.png"), return_tensors="pt").pixel_values[0]
    torch.testing.assert_close(Directory(model).pictures().read_picture(pictures / "1.png"), expected)


def test_what_is_no_picture_is_named_and_the_rest_goes_on(cli, model, pictures):
    (model / FILE).write_text(json.dumps({"size": {"height": 28, "width": 28}}))
    (pictures / "text.png").write_text("no picture")
    (pictures.parent / "empty").mkdir()
    words = [pictures / "0.png", pictures / "text.png", pictures / "none.png", pictures.parent / "empty", "-"]
    code, out, err = cli("embed", model, *words)
    assert (code, len(out.splitlines())) == (2, 1)
    said = [
        "no picture of a format that is read",
        "there is no such file",
        "holds no pictures",
        "not from standard",
    ]
    assert all(text in err for text in said), err
    edit(model / FILE, size={"shortest_edge": 28})
    code, out, err = cli("embed", model, pictures / "0.png")
    assert (code, out) == (2, "")
    assert "it has 45 x 28 pixels once preprocessor_config.json has been followed" in err


REFUSED = {
    "of another kind": ({"image_processor_type": "CLIPImageProcessor"}, "can be read is ViTImageProcessor"),
    "of no text": ({"image_processor_type": ["x"]}, "image_processor_type is"),
    "asking for code": ({"auto_map": {"AutoImageProcessor": "x.Y"}}, "asks for code"),
    "with frames": ({"do_pad": True}, "do_pad is true"),
    "huge": (
        {"size": {"height": 10**9, "width": 10**9}},
        "size.height must be a whole number from 1 to 4,096",
    ),
    "negative": ({"size": -3}, "size must be a whole number"),
    "of words": ({"size": {"height": "28", "width": 28}}, "size.height must be a whole number"),
    "of no size": ({"size": {}}, "size must have height and width, or shortest_edge, not nothing"),
    "of three sides": ({"size": {"height": 1, "width": 1, "depth": 1}}, "size must have height and width"),
    "resampled oddly": ({"resample": 99}, "resample must be a whole number from 0 to \\d"),
    "a truth of words": ({"do_resize": "yes"}, "do_resize must be true or false"),
    "by two means": ({"image_mean": [0.5, 0.5]}, "image_mean has 2 numbers, and num_channels is 3"),
    "by no number": ({"image_mean": [0.5, "x", 0.5]}, "image_mean must be a number"),
    "by nothing": ({"image_std": [0.5, 0.0, 0.5]}, "image_std must be above 0"),
    "without end": ({"rescale_factor": float("inf")}, "rescale_factor must be a number"),
    "cut to a line": (
        {"do_center_crop": True, "crop_size": {"shortest_edge": 3}},
        "crop_size must have a height",
    ),
    "cut to more than all": (
        {"image_processor_type": "ConvNextImageProcessor", "size": 224, "crop_pct": 2},
        "crop_pct must lie in",
    ),
    "by its edge": (
        {"image_processor_type": "ConvNextImageProcessor", "size": {"height": 3, "width": 3}},
        "size must have a shortest_edge",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_steps_that_are_unknown_or_absurd_are_refused(name, model):
    options, text = REFUSED[name]
    (model / FILE).write_text(json.dumps(options))
    with pytest.raises(ConfigError, match=text) as caught:
        Directory(model).pictures()
    assert FILE in str(caught.value)


def test_channels_that_no_picture_has_are_refused(tmp_path):
    peer("ViTModel", **(VIT | {"num_channels": 4})).save_pretrained(tmp_path / "model")
    with pytest.raises(ConfigError, match="num_channels is 4, and picture files have 1"):
        Directory(tmp_path / "model").pictures()


def test_a_picture_that_would_become_gigantic_is_refused(model, tmp_path):
    (model / FILE).write_text(json.dumps({"size": {"shortest_edge": 4096}}))
    Image.new("RGB", (1, 30_000)).save(tmp_path / "line.png")
    reads = Directory(model).pictures()
    assert reads.at_once == 1
    with pytest.raises(Exception, match="would be resized to 122,880,000 x 4,096 pixels"):
        reads.read_picture(tmp_path / "line.png")
