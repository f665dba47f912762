"""Classification: one class for each sample."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.classification import MulticlassConfusionMatrix

from nnkit.batches import Batch, MixedBatch
from nnkit.errors import UserError
from nnkit.losses.scoring import at_least_32_bits, evaluation_share, training_share
from nnkit.tasks.base import Task, Totals
from nnkit.tasks.drawing import draw_images, kept_inputs
from nnkit.tasks.examples import example_for
from nnkit.tasks.outcome import NamedScores, of_classes
from nnkit.tasks.pieces import counted, nothing, on_cpu
from nnkit.tasks.predictions import Rankings
from nnkit.ui import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Classification(Task):
    """Class scores against class indices; logs loss, accuracy and macro F1, and keeps the confusion matrix.

    docs/metrics.md defines the metrics.

    Args:
        num_classes: Number of classes.
        class_names: A name for each class, for tables and pictures.
        arguments: As for `Task`.
    """

    metrics: ClassVar[dict[str, str]] = {"loss": "min", "accuracy": "max", "f1": "max"}
    measures = "classes"
    totals: ClassVar[tuple[str, ...]] = ("loss", "accuracy")

    def __init__(self, num_classes: int, class_names: list[str] | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.num_classes = num_classes
        self.class_names = class_names or [str(number) for number in range(num_classes)]
        self.counts = MulticlassConfusionMatrix(num_classes, validate_args=False)
        # No buffer: a callback that swaps averaged weights in for validation swaps the buffers as well.
        self._eval_loss = nothing(2)
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

    def _target(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the target as the loss takes it."""
        if self.target == "one_hot":
            return functional.one_hot(target, self.num_classes).to(outputs.dtype)
        return target

    def score(self, batch: Batch) -> tuple[Tensor, Totals]:
        """Return the loss, and what loss and accuracy add up; the larger share of a mixed image is its class."""
        outputs = self.network(*batch.network_inputs())
        target = self._target(outputs, batch.target)
        loss: Tensor = self.loss(outputs, target)
        if isinstance(batch, MixedBatch):
            # Of a loss that is linear in its target, such as cross-entropy, this is the loss of the mixed target, and
            # the squared error has the same gradient. Both means divide by the same: the targets change places.
            larger = batch.share[0]
            loss = larger * loss + (1 - larger) * self.loss(outputs, self._target(outputs, batch.second))
        with torch.no_grad():
            right = outputs.argmax(-1) == batch.target
            share = training_share(self.loss, loss, target)
        return loss, {"loss": share, "accuracy": counted(right)}

    def evaluate(self, batch: Batch) -> None:
        """Add a batch to the confusion matrix and the loss."""
        outputs = at_least_32_bits(self.network(*batch.network_inputs()))
        share = evaluation_share(self.loss, outputs, self._target(outputs, batch.target))
        self._eval_loss = self._eval_loss + on_cpu(share)
        self.counts.update(outputs.argmax(-1), batch.target)
        self.last_outputs = outputs.detach()

    def results(self) -> dict[str, Tensor]:
        """Return loss, accuracy and macro F1, all from one pass."""
        confusion = self.counts.compute()
        self.confusion = confusion.cpu()
        count = confusion.sum().clamp(min=1)
        loss, weight = self.over_processes(self._eval_loss)
        results = {
            "loss": (loss / weight).float(),
            "accuracy": confusion.diagonal().sum() / count,
            "f1": macro_f1(confusion),
        }
        self.counts.reset()
        self._eval_loss = nothing(2)
        return results

    @classmethod
    def example_batch(cls, facts: Mapping[str, Any], size: int, device: str = "cpu") -> Batch:
        """Return samples of any kind with a class each; see `Task.example_batch`."""
        return example_for(torch.arange(size, device=device) % facts["num_classes"], facts)

    def predict(self, batch: Batch, data: Any, top_k: int) -> Rankings:
        """Return the most probable classes of each item.

        Raises:
            UserError: If the head does not turn its outputs into probabilities.
        """
        outputs = self(*batch.network_inputs())
        return Rankings.of(self._probabilities(outputs), self.class_names, top_k)

    def predict_evaluated(self, batch: Batch, data: Any, top_k: int) -> Rankings:
        """Return the most probable classes of each item and add the batch to the metrics."""
        self.evaluate(batch)
        assert self.last_outputs is not None
        return Rankings.of(self._probabilities(self.last_outputs), self.class_names, top_k)

    def _probabilities(self, outputs: Tensor) -> Tensor:
        probabilities = getattr(self.network.head, "probabilities", None)
        if probabilities is None:
            head = type(self.network.head).__name__
            text = f"the head {head} has no method probabilities(outputs), which predict needs, and metrics= as well"
            raise UserError(text)
        found: Tensor = probabilities(outputs)
        return found

    def outcome(self, outputs: Any, sample: Batch, data: Any) -> NamedScores:
        """Return the scores of the classes; see `Visible.outcome`."""
        return of_classes("class", outputs, self._probabilities(outputs), self.class_names, sample.target)

    def measured(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the probabilities of the classes, and the true ones; see `Task.measured`."""
        assert self.last_outputs is not None
        return self._probabilities(self.last_outputs), batch.target

    def most_pictured(self, num_wrong: int) -> int:
        """Return how many wrong answers are wanted."""
        return num_wrong

    def pictured(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the samples whose class is wrong: inputs if they are images, true class, predicted class."""
        assert self.last_outputs is not None
        predicted = self.last_outputs.argmax(-1)
        rows = (predicted != batch.target).nonzero().squeeze(-1)
        return kept_inputs(batch.inputs[rows]), batch.target[rows], predicted[rows]

    def pictures(self, kept: Sequence[Tensor], preprocessing: Mapping[str, Any]) -> dict[str, "Figure"]:
        """Return the confusion matrix, the kernels of the first layer that sees images, and wrong answers."""
        found = {}
        if self.confusion is not None:
            found["val/confusion"] = figures.confusion_matrix(self.confusion.numpy(), self.class_names)
        if not kept:
            return found
        images, *classes = kept
        return found | draw_images(self.network, images, lambda: self._captions(*classes), preprocessing)

    def _captions(self, truth: Tensor, predicted: Tensor) -> list[tuple[str, str]]:
        names = figures.legible(self.class_names)
        pairs = zip(truth.tolist(), predicted.tolist(), strict=True)
        return [(f"true {names[true]}", f"said {names[said]}") for true, said in pairs]


def macro_f1(confusion: Tensor) -> Tensor:
    """Return the mean over classes of F1 = 2 TP / (2 TP + FP + FN).

    A class that neither occurs nor is predicted has none and is left out, as in scikit-learn and torchmetrics.

    Args:
        confusion: Counts (classes, classes); rows are true classes.

    Returns:
        A scalar, not a number if nothing was counted.
    """
    sizes = confusion.sum(0) + confusion.sum(1)
    there = sizes > 0
    return (2 * confusion.diagonal()[there] / sizes[there]).mean()
