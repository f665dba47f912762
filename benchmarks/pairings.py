"""Random pairings of a model with data it takes, tiny, with all that may move a bit: what the loops train."""

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from nnkit import config as configs
from nnkit.config import catalog
from nnkit.runs import preflight

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import samples

# Sizes of published networks, which are not made small by the words of `samples.small`.
LARGE = ("gpt2", "tinyllama", "bert_base", "transformer_base", "mlp_3b1b")
OPTIMIZERS = ("adamw", "muon", "sgd", "rmsprop")
SCHEDULERS = ("constant", "cosine", "onecycle", "plateau")
# Epochs that give about 60 optimizer steps with the batches of `samples`.
EPOCHS = {"pictures": 9, "table": 24, "text": 8, "texts": 15, "pairs": 15, "sentences": 15, "series": 24}


def pairings(seed: str) -> Iterator[tuple[str, list[str]]]:
    """Yield a name and the words of `nnkit train` for one pairing after the other, without end.

    All models come before one comes again. The files of the data are written into the working directory.

    Args:
        seed: Draws everything.
    """
    random = Random(seed)
    data = {kind: [_absolute(word) for word in samples.words(kind)] for kind in samples.KINDS}
    while True:
        models = [model for model in catalog.options("model") if model not in LARGE]
        random.shuffle(models)
        for model in models:
            kinds = random.sample(list(data), len(data))
            kind = next(kind for kind in kinds if _fits(model, data[kind]))
            settings = _settings(model, random)
            words = [f"model={model}", *data[kind], *samples.small(model), *settings]
            words.append(f"trainer.max_epochs={EPOCHS[kind] * _accumulated(settings)}")
            if kind == "pictures":
                words.append("data.augment.shift=1")
            yield f"{model}, {kind}: {_shown(settings)}", words


def _absolute(word: str) -> str:
    """Let a path be found from any working directory."""
    key, _, value = word.partition("=")
    return f"{key}={Path(value).absolute()}" if key in ("data.path", "data.root") else word


def _fits(model: str, words: list[str]) -> bool:
    composition, problems = configs.examine([f"model={model}", *words])
    return composition is not None and not problems and not preflight.problems(composition)


def _settings(model: str, random: Random) -> list[str]:
    scheduler = random.choice(SCHEDULERS)
    return [
        f"optimizer={random.choice(OPTIMIZERS)}",
        f"scheduler={scheduler}",
        *(["scheduler.patience=0"] if scheduler == "plateau" else []),
        f"trainer.accumulate_grad_batches={random.choice((1, 1, 2, 3))}",
        f"trainer.precision={random.choice(('32-true', '32-true', 'bf16-mixed'))}",
        f"data.num_workers={random.choice((0, 2))}",
        *(["+callbacks=ema"] if random.random() < 0.5 else []),
        *(["trainer.gradient_clip_val=1.0"] if random.random() < 0.5 else []),
        *(["model.dropout=0.2"] if "dropout" in catalog.read("model", model) else []),
        f"trainer.val_check_interval={random.choice(('0.5', '1.0'))}",
        f"callbacks.checkpoint.every_n_steps={random.choice((1, 3, 7))}",
        f"seed={random.randrange(1000)}",
        "trainer.num_threads=1",
        "trainer.accelerator=cpu",
        "trainer.log_every_n_steps=4",
    ]


def _accumulated(settings: list[str]) -> int:
    key = "trainer.accumulate_grad_batches="
    return next(int(word.removeprefix(key)) for word in settings if word.startswith(key))


def _shown(settings: list[str]) -> str:
    """Return what makes a pairing hard to resume, in short."""
    found = dict(word.split("=", 1) for word in settings)
    parts = [found["optimizer"], found["scheduler"]]
    if (count := _accumulated(settings)) > 1:
        parts.append(f"accumulation {count}")
    if "+callbacks" in found:
        parts.append("EMA")
    if found["trainer.precision"] != "32-true":
        parts.append(found["trainer.precision"])
    if found["data.num_workers"] != "0":
        parts.append(f"{found['data.num_workers']} workers")
    return ", ".join(parts)
