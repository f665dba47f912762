"""ONNX files: what onnxruntime computes, what predict answers with them, and files from elsewhere."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import nnkit
from nnkit.runs.run import Run

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")

WORDS = ["data=digits", "model=lenet5", "logger=[]", "trainer.num_threads=1", "callbacks=[checkpoint]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on pictures, and the file that was exported from it."""
    from nnkit.export.writing import export_run

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("run"))
        run = Run(nnkit.train([*WORDS, "trainer.max_epochs=1", "name=digits"]).run.path.absolute())
        export_run(run, "onnx", run.path.parent / "digits.onnx")
        return run


@pytest.fixture
def file(run, tmp_path):
    for name in ("digits.onnx", "digits.onnx.json"):
        shutil.copy(run.path.parent / name, tmp_path / name)
    return tmp_path / "digits.onnx"


def test_onnxruntime_computes_what_the_network_computes_for_any_batch(run, file):
    session = onnxruntime.InferenceSession(file)
    assert [(one.name, one.shape) for one in session.get_inputs()] == [("inputs", ["batch", 1, 8, 8])]
    assert [(one.name, one.shape) for one in session.get_outputs()] == [("outputs", ["batch", 10])]
    network = nnkit.load(run).network
    for count in (1, 7):
        pixels = torch.randn(count, 1, 8, 8)
        (found,) = session.run(None, {"inputs": pixels.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), network(pixels), rtol=1e-4, atol=1e-5)


def test_predict_answers_with_the_file_as_with_the_run(cli, run, file, tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number in range(20):
        pixels = generator.integers(0, 256, (8 + number, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number:02}.png")
    words = ("pictures", "--proba", "--top-k", "10")
    answers = [cli("predict", place, *words)[:2] for place in (file, run.path)]
    assert [code for code, _ in answers] == [0, 0]
    theirs, ours = ([json.loads(line) for line in out.splitlines()] for _, out in answers)
    assert len(ours) == 20
    for one, other in zip(theirs, ours, strict=True):
        assert (one["item"], one["label"]) == (other["item"], other["label"])
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=2e-6)


def refused(cli, file, text):
    code, out, err = cli("predict", file, "picture.png")
    assert (code, out) == (2, "")
    assert text in err
    assert "Traceback" not in err


def rewritten(file, content=None, **changes):
    """Change an exported file, its description still being of it."""
    from nnkit.export.description import beside
    from nnkit.files.atomic import sha256

    file.write_bytes(file.read_bytes() if content is None else content)
    known = json.loads(beside(file).read_text()) | {"sha256": sha256(file.read_bytes())} | changes
    beside(file).write_text(json.dumps(known))


def test_a_file_without_its_description_or_with_that_of_another_is_refused(cli, file, tmp_path):
    refused(cli, tmp_path / "none.onnx", "none.onnx cannot be read")
    file.write_bytes(file.read_bytes() + b"\0")
    refused(cli, file, "was written for another file than digits.onnx")
    (tmp_path / "digits.onnx.json").write_text("{}")
    refused(cli, file, "it does not say that its format is 'nnkit export'")
    (tmp_path / "digits.onnx.json").unlink()
    refused(cli, file, "digits.onnx.json, which nnkit export writes beside digits.onnx, cannot be read")


def test_what_a_description_claims_is_checked(cli, file, tmp_path):
    known = json.loads((tmp_path / "digits.onnx.json").read_text())
    for changes, text in (
        ({"version": 2}, "its version is 2"),
        ({"preprocessing": []}, "its preprocessing is missing or of another kind"),
        ({"config": known["config"].replace("nnkit.models.lenet5.LeNet5", "os.system")}, "os.system"),
        (
            {"config": known["config"].replace("num_classes: 10", "num_classes: 3")},
            "3 was given, the data have 10",
        ),
    ):
        rewritten(file, **changes)
        refused(cli, file, text)
        (tmp_path / "digits.onnx.json").write_text(json.dumps(known))


def test_weights_in_other_files_are_not_read(cli, file, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(1 << 20))
    model = onnx.load(file)
    tensor = next(one for one in model.graph.initializer if len(one.raw_data) > 1000)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    tensor.ClearField("raw_data")
    rewritten(file, model.SerializeToString())
    refused(cli, file, "its weights lie in other files, which are not read")


def test_another_network_than_the_described_one_is_refused(cli, file):
    rewritten(file, b"no network")
    refused(cli, file, "the ONNX file cannot be run")
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Flatten", ["inputs"], ["outputs"])
    takes, gives = value("inputs", 1, ["batch", 1, 8, 8]), value("outputs", 1, ["batch", 64])
    graph = onnx.helper.make_graph([node], "flat", [takes], [gives])
    opset = [onnx.helper.make_opsetid("", 18)]
    rewritten(file, onnx.helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())
    refused(cli, file, "has outputs of other sizes than the network that digits.onnx.json describes")


def test_without_the_packages_the_command_that_installs_them_is_told(cli, run, file, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    refused(cli, file, "pip install 'nnkit[export]'")
    code, _, err = cli("export", run.path, "--format", "onnx", "--out", "other.onnx")
    assert code == 2
    assert "pip install 'nnkit[export]'" in err


@pytest.mark.parametrize("words", [["embed", "picture.png"], ["test"], ["export", "--format", "torch"]])
def test_where_the_run_is_needed_a_file_of_it_is_answered_with_what_to_type(cli, file, words):
    before = sorted(file.parent.iterdir())
    code, out, err = cli(words[0], file.name, *words[1:])
    assert (code, out) == (2, "")
    assert "digits.onnx is a file, and the run that it was exported from is needed" in err
    assert "nnkit runs lists the runs; nnkit predict digits.onnx ITEM... takes the file" in err
    assert sorted(file.parent.iterdir()) == before
