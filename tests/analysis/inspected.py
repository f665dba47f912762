"""Small trained runs to be seen from inside, each trained once."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import samples

import nnkit

# Model -> kind of its data, and what is typed beside.
RUNS = {
    "lenet5": ("pictures", ()),
    "lenet5_1998": ("pictures", ()),
    "cnn": ("pictures", ()),
    "resnet20": ("pictures", ("model.depths=[1,1]", "model.channels=[4,8]")),
    "mlp_3b1b": ("pictures", ()),
    "vit_tiny": ("pictures", ()),
    "mlp": ("table", ()),
    "rnn": ("texts", ()),
    "lstm": ("texts", ("model.num_layers=2", "model.dim=8")),
    "gru": ("texts", ("model.dim=8",)),
    "bilstm": ("texts", ("model.dim=8",)),
    "transformer_encoder": ("texts", ()),
    "bert_tiny": ("sentences", ()),
    "gpt": ("text", ()),
    "llama": ("text", ()),
    "transformer": ("pairs", ()),
    "seq2seq_lstm": ("pairs", ("model.dim=8",)),
    "forecast": ("series", ("model=lstm", "model.dim=8")),
}
_FOLDER = Path(mkdtemp())


@cache
def trained(name):
    """Return a run of a model of `RUNS`, loaded; with the working directory where its data are."""
    kind, words = RUNS[name]
    model = [] if any(word.startswith("model=") for word in words) else [f"model={name}"]
    typed = [*samples.words(kind), *model, *samples.small(name if model else "lstm"), *words]
    result = nnkit.train([*typed, "trainer.max_epochs=1", "logger=[]", "callbacks=[checkpoint]"])
    return nnkit.load(result.run)


def in_folder(name, monkeypatch):
    """Go to a folder that all tests of a run share, and return the run."""
    folder = _FOLDER / name
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    return trained(name)


@cache
def seen(name):
    """Return the inspection of a run, in its folder."""
    return trained(name).inspect()
