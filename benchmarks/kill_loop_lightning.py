"""The same network and data on plain Lightning, saved and resumed as its documentation does it."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from kill_loop_core import Subject
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import nnkit
from nnkit import factory
from nnkit.checkpoint.compare import differences
from nnkit.data.base import DataModule, Split
from nnkit.data.sampler import Draw
from nnkit.runs.session import prepare_data

# Written by the process itself when `fit` has returned: Lightning saves nothing after the last step.
FINAL = "final.pt"


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """One split as tensors, moved at random as torchvision's transforms do: from the global generator.

    Args:
        data: Where the split comes from.
        split: Its name.
        shift: Pixels to move by, at most.
    """

    def __init__(self, data: DataModule, split: Split, shift: int = 0) -> None:
        batch = data.split(split)[Draw(None, torch.arange(len(data.split(split))))]
        self.inputs, self.targets, self.shift = batch.inputs, batch.target, shift

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return a picture (channels, height, width) and its class."""
        picture, shift = self.inputs[index], self.shift
        if shift:
            down, right = torch.randint(0, 2 * shift + 1, (2,)).tolist()
            height, width = picture.shape[-2:]
            padded = functional.pad(picture, [shift] * 4)
            picture = padded[..., down : down + height, right : right + width]
        return picture, self.targets[index]


class Classifier(lightning.LightningModule):
    """A classifier as in Lightning's documentation.

    Args:
        network: Maps pictures to scores.
        loss: Scores (prediction, target).
        config: Whose rate and schedule are used.
    """

    def __init__(self, network: nn.Module, loss: nn.Module, config: DictConfig) -> None:
        super().__init__()
        self.network, self.loss, self.config = network, loss, config

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return and log the loss."""
        inputs, target = batch
        loss: Tensor = self.loss(self.network(inputs), target)
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the loss."""
        inputs, target = batch
        self.log("val/loss", self.loss(self.network(inputs), target))

    def configure_optimizers(self) -> Any:
        """Return AdamW and the schedule of the config."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.config.optimizer.lr)
        self.config.fit.total_steps = int(self.trainer.estimated_stepping_batches)
        schedule = {
            "scheduler": factory.build(self.config.scheduler, "scheduler", optimizer=optimizer),
            "interval": self.config.scheduler.interval,
            "monitor": "val/loss",
        }
        return {"optimizer": optimizer, "lr_scheduler": schedule}


class LightningRun(Subject):
    """One config of nnkit, trained by plain Lightning.

    Args:
        name: What the table calls it.
        words: The words after ``nnkit train`` that choose network, data and length.
    """

    def __init__(self, name: str, words: Sequence[str]) -> None:
        self.name = name
        self.words = list(words)

    def go_on(self, path: Path) -> None:
        """Fit with ``ckpt_path="last"``, which starts afresh where there is no checkpoint."""
        warnings.simplefilter("ignore")
        config = nnkit.compose(self.words).config
        torch.set_num_threads(config.trainer.num_threads or 1)
        data = prepare_data(config)
        lightning.seed_everything(config.seed, workers=True)
        network = factory.build_network(config)
        loss: nn.Module = factory.build(config.loss, "loss")
        module = Classifier(network, loss, config)
        train = Pictures(data, "train", config.data.augment.shift)
        trainer = _trainer(config, path)
        trainer.fit(
            module,
            DataLoader(train, data.batch_size, shuffle=True),
            DataLoader(Pictures(data, "val"), data.eval_batch_size),
            ckpt_path="last",
        )
        torch.save(module.state_dict(), path / "final.tmp")
        (path / "final.tmp").replace(path / FINAL)

    def is_over(self, path: Path) -> bool:
        """Return whether the final weights are there."""
        return (path / FINAL).exists()

    def step(self, path: Path) -> int:
        """Return the step of last.ckpt; 0 where there is none or it cannot be read."""
        try:
            state = torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)
            return int(state["global_step"])
        except Exception:
            return 0

    def place(self, path: Path, pid: int, steps: int) -> str:
        """Return whether there was a checkpoint."""
        return "after the first checkpoint" if self.step(path) else "before the first checkpoint"

    def result(self, path: Path) -> Any:
        """Return the final weights."""
        return torch.load(path / FINAL, weights_only=True)

    def differences(self, expected: Any, found: Any) -> list[str]:
        """Compare with tolerance 0."""
        return list(differences(expected, found))


def _trainer(config: DictConfig, path: Path) -> lightning.Trainer:
    saving = ModelCheckpoint(
        path / "checkpoints",
        monitor="val/loss",
        save_top_k=1,
        save_last=True,
        every_n_train_steps=config.callbacks.checkpoint.every_n_steps,
    )
    ema = [EMAWeightAveraging(decay=config.callbacks.ema.decay)] if "ema" in config.callbacks else []
    return lightning.Trainer(
        default_root_dir=path,
        accelerator="cpu",
        logger=CSVLogger(path, name="logs"),
        callbacks=[saving, *ema],
        max_epochs=config.trainer.max_epochs,
        accumulate_grad_batches=config.trainer.accumulate_grad_batches,
        val_check_interval=config.trainer.val_check_interval,
        gradient_clip_val=config.trainer.gradient_clip_val,
        log_every_n_steps=config.trainer.log_every_n_steps,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
