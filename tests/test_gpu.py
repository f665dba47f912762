"""On a GPU mixed precision learns as much as the processor does, and resuming is exact."""

import pytest
import torch

import nnkit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
WORDS = ["model=cnn", "data=digits", "data.max_epochs=4", "logger=[]"]


@pytest.fixture(scope="module")
def accuracy(tmp_path_factory):
    """Return the test accuracy that the processor reaches."""
    folder = tmp_path_factory.mktemp("processor")
    return nnkit.train([*WORDS, "trainer.accelerator=cpu", f"output_dir={folder}"]).metrics["test/accuracy"]


@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed"])
def test_every_precision_learns_as_much(accuracy, precision):
    result = nnkit.train([*WORDS, "trainer.accelerator=gpu", f"trainer.precision={precision}"])
    assert result.metrics["test/accuracy"] == pytest.approx(accuracy, abs=0.03)


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_a_run_resumes_exactly(cli, precision):
    nnkit.train([*WORDS, "trainer.accelerator=gpu", f"trainer.precision={precision}", "name=gpu"])
    code, out, err = cli("resume", "outputs/gpu", "--verify")
    assert code == 0, out + err
