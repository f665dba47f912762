"""Other libraries that train the textbook's network of a workload: each with its usual loader and loop.

They come with `pip install 'nnkit[peers]'`; `peers_of` has None for those that are not installed.
"""

import os
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from contenders import WARM, StepClock, Stopwatch
from devices import on_gpu
from measuring import Cost, timed
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from workloads import Workload

# Keras chooses when it is imported.
os.environ.setdefault("KERAS_BACKEND", "torch")


def samples(work: Workload, steps: int) -> tuple[Tensor, Tensor]:
    """Return inputs and targets of so many batches."""
    torch.manual_seed(0)
    batches = [work.draw() for _ in range(steps)]
    inputs, target = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return inputs, target


def bare_lightning(work: Workload, steps: int) -> Cost:
    """Train with Lightning, nothing logged, nothing saved."""
    from lightning.pytorch import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = work.network()

        def training_step(self, batch: list[Tensor], number: int) -> Tensor:
            return work.loss(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return work.optimizer(self.parameters())

    off = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    loader = DataLoader(TensorDataset(*samples(work, steps)), batch_size=work.batch, shuffle=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            max_steps=steps, devices=1, enable_progress_bar=False, callbacks=[StepClock(steps)], **off
        )
        trainer.fit(Module(), loader)
    return StepClock.watch.cost()


def hugging_face_trainer(work: Workload, steps: int) -> Cost:
    """Train with the Trainer of `transformers`, nothing reported, nothing saved."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = work.network()

        def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
            return {"loss": work.loss(self.network(inputs), labels)}

    class Clock(TrainerCallback):
        def on_step_begin(self, *arguments: Any, **keywords: Any) -> None:
            watch.step()

        def on_step_end(self, *arguments: Any, **keywords: Any) -> None:
            watch.stop()

    watch, model = Stopwatch(steps), Module()
    rows = [{"inputs": one, "labels": other} for one, other in zip(*samples(work, steps), strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            folder, per_device_train_batch_size=work.batch, max_steps=steps, report_to=[], save_strategy="no",
            disable_tqdm=True, use_cpu=not on_gpu(),
        )  # fmt: skip
        optimizers = (work.optimizer(model.parameters()), None)
        Trainer(model, options, train_dataset=rows, optimizers=optimizers, callbacks=[Clock()]).train()
    return watch.cost()


def keras_on_torch(work: Workload, steps: int) -> Cost:
    """Train with Keras: its own layers where `_KERAS` has them, else the textbook's network in its wrapper."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_train_batch_begin(self, *arguments: Any, **keywords: Any) -> None:
            watch.step()

        def on_train_batch_end(self, *arguments: Any, **keywords: Any) -> None:
            watch.stop()

    class Wrapped(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            own = _KERAS.get(work.name)
            self.inner = own(keras) if own else keras.layers.TorchModuleWrapper(work.network())

        def call(self, inputs: Tensor) -> Any:
            return self.inner(inputs)

        def compute_loss(self, x: Any, y: Tensor, y_pred: Any, *arguments: Any, **keywords: Any) -> Tensor:
            return work.loss(y_pred, y.long())

    watch = Stopwatch(steps)
    inputs, target = samples(work, steps)
    model = Wrapped()
    model.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=False)
    model.fit(inputs, target, batch_size=work.batch, epochs=1, verbose=0, callbacks=[Clock()])
    return watch.cost()


def _keras_lenet5(keras: Any) -> Any:
    conv, pool = partial(keras.layers.Conv2D, activation="tanh"), keras.layers.MaxPooling2D
    # Channels last, as its users have them.
    last = keras.layers.Permute((2, 3, 1))
    layers = [
        last,
        conv(6, 5, padding="same"),
        pool(),
        conv(16, 5),
        pool(),
        conv(120, 5),
        keras.layers.Flatten(),
    ]
    dense = [keras.layers.Dense(84, activation="tanh"), keras.layers.Dense(10)]
    return keras.Sequential([keras.Input((1, 28, 28)), *layers, *dense])


def _keras_mlp(keras: Any) -> Any:
    dense = [keras.layers.Dense(width, activation="relu") for width in (300, 100)]
    return keras.Sequential(
        [keras.Input((1, 28, 28)), keras.layers.Flatten(), *dense, keras.layers.Dense(10)]
    )


_KERAS: dict[str, Callable[[Any], Any]] = {"LeNet-5": _keras_lenet5, "MLP": _keras_mlp}


def skorch(work: Workload, steps: int) -> Cost:
    """Train with skorch, nothing validated, nothing printed."""
    from skorch import NeuralNet
    from skorch.callbacks import Callback

    class Clock(Callback):
        def on_batch_begin(self, *arguments: Any, **keywords: Any) -> None:
            watch.step()

        def on_batch_end(self, *arguments: Any, **keywords: Any) -> None:
            watch.stop()

    class Net(NeuralNet):
        def get_loss(self, y_pred: Any, y_true: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
            return work.loss(y_pred, y_true)

        def infer(self, x: Tensor, **keywords: Any) -> Any:
            return self.module_(x.to(self.device))

    def optimizer(groups: Any, lr: float) -> torch.optim.Optimizer:
        return work.optimizer(groups)

    watch = Stopwatch(steps)
    net = Net(
        work.network(), nn.Identity(), optimizer=optimizer, max_epochs=1, batch_size=work.batch, train_split=None,
        iterator_train__shuffle=True, verbose=0, callbacks=[("clock", Clock())], device="cuda" if on_gpu() else "cpu",
    )  # fmt: skip
    net.fit(*samples(work, steps))
    return watch.cost()


def scikit_learn(work: Workload, steps: int) -> Cost:
    """Fit scikit-learn's MLPClassifier, which has no network of torch: one pass, its start included."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    inputs, target = samples(work, steps)
    model = MLPClassifier((300, 100), batch_size=work.batch, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        cost = timed(lambda: model.fit(inputs.flatten(1).numpy(), target.numpy()))
    return Cost(cost.wall / steps, cost.cpu / steps)


PEERS: dict[str, tuple[str, Callable[[Workload, int], Cost]]] = {
    "bare Lightning": ("lightning", bare_lightning),
    "Hugging Face Trainer": ("transformers accelerate", hugging_face_trainer),
    "Keras 3 on torch": ("keras", keras_on_torch),
    "skorch": ("skorch", skorch),
    "scikit-learn": ("sklearn", scikit_learn),
}


def peers_of(work: Workload, steps: int) -> dict[str, Callable[[], Cost] | None]:
    """Return what trains a workload, by the library's name; None for what is not installed."""
    found: dict[str, Callable[[], Cost] | None] = {}
    for name, (packages, train) in PEERS.items():
        if name == "scikit-learn" and work.name != "MLP":
            continue
        here = all(find_spec(package) for package in packages.split())
        found[name] = partial(train, work, max(steps, WARM + 1)) if here else None
    return found
