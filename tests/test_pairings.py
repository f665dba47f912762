"""Every model file with every data file: it composes and is sound, or it is refused with what fits."""

import pytest
from samples import NEEDED

from nnkit import build, catalog
from nnkit import config as configs

MODELS = catalog.options("model")
# What these see of a text lies on both sides of the token that would have to be guessed.
LOOK_AHEAD = {"bilstm", "bert", "bert_tiny", "bert_base", "transformer_encoder"}
# It brings a head of its own, which tells classes apart.
CLASSIFIERS = {"mlp_3b1b"}


def kinds(model):
    """Return what a model's file, or the one it is a preset of, says it takes."""
    content = catalog.read("model", model)
    return set(content["embeds"])


@pytest.mark.parametrize("data", catalog.options("data"))
def test_a_model_takes_a_dataset_or_is_refused_with_what_fits(data):
    content = catalog.read("data", data)
    predicts_next = content["tasks"] == ["language_modeling"]
    taken = set()
    for model in MODELS:
        composition, problems = configs.examine([f"model={model}", f"data={data}", *NEEDED.get(data, [])])
        if not problems:
            problems = build.problems(composition)
        text = "\n".join(map(str, problems))
        if content["kind"] not in kinds(model):
            assert f"models that take {content['kind']}" in text, f"{model}: {text}"
            assert f"data that {model} takes" in text
        elif predicts_next and model in LOOK_AHEAD:
            assert problems, model
        elif content["tasks"] == ["regression"] and model in CLASSIFIERS:
            assert "serves classification" in text
        else:
            assert not problems, f"{model}: {text}"
            taken.add(model)
    assert taken
