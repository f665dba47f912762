"""Classification: one class for each sample."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.classification import MulticlassConfusionMatrix

from nnkit.batches import Batch, network_inputs
from nnkit.tasks.base import Task


class Classification(Task):
    """Class scores against class indices; logs loss, accuracy and macro F1, and keeps the confusion matrix.

    Args:
        num_classes: Number of classes.
        class_names: A name for each class, for tables and pictures.
        arguments: As for `Task`.
    """

    metrics: ClassVar[dict[str, str]] = {"loss": "min", "accuracy": "max", "f1": "max"}
    totals: ClassVar[tuple[str, ...]] = ("loss", "accuracy")

    def __init__(self, num_classes: int, class_names: list[str] | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.num_classes = num_classes
        self.class_names = class_names or [str(number) for number in range(num_classes)]
        self.counts = MulticlassConfusionMatrix(num_classes, validate_args=False)
        # No buffer: a callback that swaps averaged weights in for validation swaps the buffers as well.
        self._eval_loss = torch.zeros(())
        # Rows are true classes, columns predictions, (classes, classes) int64; of the last evaluation.
        self.confusion: Tensor | None = None
        # Class scores of the last batch evaluated, (batch, classes), for callbacks.
        self.last_outputs: Tensor | None = None

    @classmethod
    def learnt(cls, preprocessing: dict[str, Any]) -> dict[str, Any]:
        """Return the classes."""
        names = preprocessing["class_names"]
        return {"num_classes": len(names), "class_names": list(names)}

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the class scores (batch, classes) of inputs (batch, ...), and their mask if they have one."""
        outputs: Tensor = self.network(*inputs)
        return outputs

    def _loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        if self.target == "one_hot":
            target = functional.one_hot(target, self.num_classes).to(outputs.dtype)
        loss: Tensor = self.loss(outputs, target)
        return loss

    def score(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Return the mean loss and the number of right answers."""
        outputs = self.network(*network_inputs(batch))
        with torch.no_grad():
            right = (outputs.argmax(-1) == batch.target).sum()
        return self._loss(outputs, batch.target), [right]

    def evaluate(self, batch: Batch) -> None:
        """Add a batch to the confusion matrix and the loss."""
        outputs = self.network(*network_inputs(batch))
        self._eval_loss = self._eval_loss.to(outputs.device) + self._loss(outputs, batch.target) * len(
            batch.indices
        )
        self.counts.update(outputs.argmax(-1), batch.target)
        self.last_outputs = outputs.detach()

    def results(self) -> dict[str, Tensor]:
        """Return loss, accuracy and macro F1, all from one pass."""
        confusion = self.counts.compute()
        self.confusion = confusion.cpu()
        count = confusion.sum().clamp(min=1)
        results = {
            "loss": self.over_processes(self._eval_loss) / count,
            "accuracy": confusion.diagonal().sum() / count,
            "f1": per_class_f1(confusion).mean(),
        }
        self.counts.reset()
        self._eval_loss = torch.zeros(())
        return results


def per_class_f1(confusion: Tensor) -> Tensor:
    """Return F1 = 2 TP / (2 TP + FP + FN) of each class, 0 where a class neither occurs nor is predicted.

    Args:
        confusion: Counts (classes, classes); rows are true classes.

    Returns:
        (classes,) float32.
    """
    hits = confusion.diagonal()
    return 2 * hits / (confusion.sum(0) + confusion.sum(1)).clamp(min=1)
