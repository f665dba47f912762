"""Every model file with every data file: it takes a step and is evaluated, or it is refused with what fits.

One model for each data file, which is another for each of its kind, is trained for two steps, saved, resumed for a
third and tested; test_configs.py trains and test_exactness.py resumes every model with every kind of data. Refused is
what the kind and the tasks of a data file say, so one file of each stands there for the others.
"""

import gzip
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import samples
import torch
from PIL import Image

import nnkit
from nnkit import config as configs
from nnkit.checkpoint.store import CheckpointStore
from nnkit.config import catalog
from nnkit.data.datasets import documentation
from nnkit.data.datasets.mnist import MNIST
from nnkit.data.pictures import idx
from nnkit.runs import preflight
from nnkit.runs.optimization import make_optimizer
from nnkit.runs.resuming import resume
from nnkit.runs.session import make_session

pytestmark = pytest.mark.slow

FEW = [
    "trainer.max_steps=2",
    "trainer.num_threads=1",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
    "callbacks=[checkpoint]",
    "callbacks.checkpoint.every_n_steps=1",
    "scheduler=constant",
    "logger=[]",
    "name=mine",
]
WORDS = ("the", "cat", "saw", "a", "dog", "and", "went", "home")


def lines(count):
    return [" ".join(WORDS[(number + place) % 8] for place in range(5)) for number in range(count)]


def idx_files(data):
    Path("idx").mkdir()
    generator = np.random.default_rng(0)
    for file in MNIST.published.files:
        shape = (60, 28, 28) if "images" in file.name else (60,)
        array = generator.integers(0, 256 if len(shape) == 3 else 10, shape, dtype=np.uint8)
        Path("idx", f"{file.name}.gz").write_bytes(gzip.compress(idx.serialise(array)))
    return [f"data={data}", "data.root=idx", "data.verify=false"]


def cifar(data, record):
    folder = Path(data)
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in (
        *(f"data_batch_{number}.bin" for number in range(1, 6)),
        "test_batch.bin",
        "train.bin",
        "test.bin",
    ):
        records = generator.integers(0, 256, (60, record), dtype=np.uint8)
        records[:, record - 3073] = np.arange(60) % 10
        (folder / name).write_bytes(records.tobytes())
    return [f"data={data}", f"data.root={data}", "data.verify=false"]


def image_folder():
    # Ten classes, as a model that has codes for digits takes no other number.
    for label in range(10):
        Path("pictures", f"class{label}").mkdir(parents=True)
        for number in range(8):
            Image.new("L", (8, 8), label * 24 + number).save(f"pictures/class{label}/{number}.png")
    return ["data=image_folder", "data.root=pictures"]


def table():
    rows = [
        "width,colour,kind",
        *(f"{number / 7:.3f},{'rb'[number % 2]},{number % 3}" for number in range(60)),
    ]
    Path("rows.csv").write_text("\n".join(rows), encoding="utf-8")
    return ["data=table", "data.path=rows.csv", "data.target=kind"]


def jsonl():
    rows = [
        json.dumps({"text": text, "label": ("long", "short")[number % 2]})
        for number, text in enumerate(lines(60))
    ]
    Path("texts.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return ["data=jsonl", "data.path=texts.jsonl"]


def series():
    rows = ["value", *(f"{np.sin(number / 5):.4f}" for number in range(300))]
    Path("series.csv").write_text("\n".join(rows), encoding="utf-8")
    return ["data=series", "data.path=series.csv", "data.window=8", "data.horizon=2"]


def shakespeare():
    _, *text = samples.words("text")
    return ["data=shakespeare", *text, "data.verify=false"]


def multi30k():
    Path("captions").mkdir()
    for part in ("train", "val", "test_2016_flickr"):
        for language in ("en", "de"):
            content = "\n".join(f"{language} {line}" for line in lines(60)) + "\n"
            Path("captions", f"{part}.{language}").write_text(content, encoding="utf-8")
    # One vocabulary, as the model that shares its vectors needs it.
    return ["data=multi30k", "data.root=captions", "data.max_vocab=300", "data.joint=true"]


def cmudict():
    sounds = ("AA1", "B", "S", "IY0", "T")
    rows = []
    for number in range(300):
        word = "".join(chr(97 + number // 26**place % 26) for place in range(3))
        rows.append(f"{word} {' '.join(sounds[(number + place) % 5] for place in range(3))}")
    Path("cmudict.dict").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return ["data=cmudict", "data.path=cmudict.dict", "data.verify=false"]


# What ships with nnkit or comes from packages is read as it is, and the rest from small files of its format.
TYPED = {
    "mnist": lambda: idx_files("mnist"),
    "fashion_mnist": lambda: idx_files("fashion_mnist"),
    "cifar10": lambda: cifar("cifar10", 3073),
    "cifar100": lambda: cifar("cifar100", 3074),
    "image_folder": image_folder,
    "table": table,
    "texts": lambda: samples.words("texts"),
    "jsonl": jsonl,
    "series": series,
    "shakespeare": shakespeare,
    "text_file": lambda: samples.words("text"),
    "multi30k": multi30k,
    "cmudict": cmudict,
    "text_pairs": lambda: samples.words("pairs"),
    "text_pairs_file": lambda: samples.words("sentences"),
    "dates": lambda: ["data=dates", "data.num_pairs=300"],
    "mackey_glass": lambda: samples.words("series"),
}


def own_vocabularies(model, data):
    """What is typed where sources and targets have a vocabulary each, which a model of shared vectors says."""
    shared = catalog.read("model", model)["embeds"].get("pairs", {}).get("shared")
    return ["model.embeds.pairs.shared=false"] if shared and data in ("cmudict", "dates") else []


# Trained with every model, tested and read back in test_configs.py, and resumed in test_exactness.py.
ELSEWHERE = {
    "arrays",
    "dataset",
    "digits",
    "iris",
    "diabetes",
    "text_file",
    "texts",
    "jsonl",
    "text_pairs",
    "text_pairs_file",
    "mackey_glass",
}
# What these see of a text lies on both sides of the token that would have to be guessed.
LOOK_AHEAD = {"bilstm", "bert", "bert_tiny", "bert_base", "transformer_encoder"}
# It brings a head of its own, which tells classes apart.
CLASSIFIERS = {"mlp_3b1b"}


def refused_with(model, data):
    """What a pairing is refused with; empty where it is taken."""
    content = catalog.read("data", data)
    kind, tasks = content["kind"], content["tasks"]
    if kind not in catalog.read("model", model)["embeds"]:
        return [f"models that take {kind}", f"data that {model} takes"]
    if data == "cifar100" and model == "lenet5_1998":
        return ["num_classes must be 10, the digits that there are codes for"]
    if tasks == ["language_modeling"] and model in LOOK_AHEAD:
        return ["looks ahead"]
    return ["serves classification"] if tasks == ["regression"] and model in CLASSIFIERS else []


def kind_and_tasks(data):
    content = catalog.read("data", data)
    return content["kind"], tuple(content["tasks"])


DATA = sorted({*catalog.options("data")} - samples.ALIASES)
# Those are tried with every model that they refuse, or one of those that take the same kinds; the others with one for
# each reason.
FIRST = {kind_and_tasks(data): data for data in reversed(DATA)}


def take_a_step(composition, data):
    """Train on one batch and evaluate another, without a run around it.

    Args:
        composition: A config that nothing is wrong with.
        data: Its data, prepared.
    """
    config = composition.config
    config.data.update(data.facts())
    task = make_session(config, composition.choices, data).task
    loss, _ = task.score(next(iter(data.train_dataloader())))
    loss.backward()
    make_optimizer(config, task.network).step()
    assert all(parameter.isfinite().all() for parameter in task.parameters())
    # What writes answers asks it for the data.
    task.trainer = SimpleNamespace(datamodule=data, testing=True)
    with torch.no_grad():
        task.eval().evaluate(next(iter(data.test_dataloader())))
    assert task.all_results("test")["test/loss"].isfinite()


def train_and_resume(words, model):
    """Train for two steps, then for a third; return the data as they were prepared."""
    result = nnkit.train(words)
    store = CheckpointStore(result.run.checkpoints)
    assert store.load("last")[0].step == 2
    resumed = resume("mine", model, ["trainer.max_steps=3"], show=False)
    assert store.load("last")[0].step == 3
    assert any(name.startswith("test/") for name in resumed.metrics), words
    return result.session.data


@pytest.mark.parametrize("data", DATA)
def test_every_model_takes_a_step_or_is_refused_with_what_fits(data, monkeypatch):
    library = samples.library(Path("library").absolute())
    monkeypatch.setattr(documentation, "library_folder", lambda: library)
    typed = TYPED.get(data, lambda: [f"data={data}"])()
    accepted, reasons = {}, set()
    for model in catalog.options("model"):
        expected = refused_with(model, data)
        if data in ELSEWHERE and not expected:
            continue
        reason = tuple(text.replace(model, "MODEL") for text in expected)
        if data in FIRST.values():
            # Models that take the same kinds are refused by the same list of kinds, and others for what they do.
            kinds = catalog.read("model", model)["embeds"]
            reason += tuple(kinds) if kind_and_tasks(data)[0] not in kinds else (model,)
        if expected and reason in reasons:
            continue
        reasons |= {reason} if expected else set()
        words = [f"model={model}", *typed, *samples.small(model), *FEW, f"output_dir={model}"]
        words += own_vocabularies(model, data)
        composed, problems = configs.examine(words)
        problems = problems or preflight.problems(composed)
        said = "\n".join(map(str, problems))
        assert bool(problems) == bool(expected), f"{model}: {said}"
        for text in expected:
            assert text in said, f"{model}: {said}"
        if not expected:
            accepted[model] = composed, words
    if data in ELSEWHERE:
        return
    same = [name for name in DATA if kind_and_tasks(name) == kind_and_tasks(data)]
    first = [*accepted][same.index(data) % len(accepted)]
    prepared = train_and_resume(accepted.pop(first)[1], first)
    for composed, _ in accepted.values():
        take_a_step(composed, prepared)
