"""Directories of Hugging Face that are exported are run by `transformers`, whatever the network reads."""

from types import SimpleNamespace

import pytest

import nnkit
from nnkit.errors import UserError
from nnkit.export import hugging_face
from nnkit.export.comparison import Unequal
from nnkit.factory import build_network

pytest.importorskip("transformers", reason="transformers is not installed")

BERT = ["model=bert_tiny", "data=langid", "data.num_classes=3", "model.dim=8", "model.num_layers=1"]


class Gone:
    """Data that cannot be had any more."""

    preprocessing = {}  # noqa: RUF012

    def split(self, name):
        raise UserError("the file is gone")


@pytest.mark.parametrize(
    "words",
    [
        ["model=gpt", "data=shakespeare"],
        ["model=bert_tiny", "data=pydocs_pairs"],
        ["model=bert_tiny", "data=langid", "data.num_classes=3", "model.pooling=mean"],
    ],
    ids=["gpt", "masked_bert", "bert_without_a_head"],
)
def test_models_of_texts_are_compared_with_transformers(words, tmp_path):
    config = nnkit.compose([*words, "model.dim=8", "model.num_heads=2", "model.num_layers=1"]).config
    config.data.vocab_size = 30
    session = SimpleNamespace(
        config=config, data=Gone(), task=SimpleNamespace(network=build_network(config).eval())
    )
    facts, _ = hugging_face.write(tmp_path / "made", session)
    apart, _, how = facts["largest difference"].partition(", ")
    assert float(apart) < 1e-5
    what = "the vectors of transformers" if "model.pooling=mean" in words else "transformers"
    assert how.startswith(f"{what} and the run, 4 random samples")
    assert {"config.json", "model.safetensors"} <= {path.name for path in (tmp_path / "made").iterdir()}


def test_vectors_that_differ_are_refused_and_nothing_is_written(tmp_path, monkeypatch):
    config = nnkit.compose([*BERT, "model.pooling=mean"]).config
    config.data.vocab_size = 30
    network = build_network(config).eval()
    exact = network.vectors
    monkeypatch.setattr(network, "vectors", lambda *given: exact(*given) + 2e-4)
    session = SimpleNamespace(config=config, data=Gone(), task=SimpleNamespace(network=network))
    with pytest.raises(Unequal, match=r"by 0\.0002"):
        hugging_face.write(tmp_path / "made", session)
    assert not [*tmp_path.iterdir()]
