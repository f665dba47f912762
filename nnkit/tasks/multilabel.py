"""Multi-label classification: any number of labels for each sample."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from nnkit.batches import Batch
from nnkit.losses.scoring import at_least_32_bits, evaluation_share, training_share
from nnkit.tasks.base import Task, Totals
from nnkit.tasks.drawing import draw_images, kept_inputs
from nnkit.tasks.examples import example_for
from nnkit.tasks.outcome import NamedScores, of_classes
from nnkit.tasks.pieces import counted, nothing, on_cpu
from nnkit.tasks.predictions import LabelSets
from nnkit.ui import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Multilabel(Task):
    """One logit for each label, each a decision of its own; a label is predicted from a probability of a half on.

    docs/metrics.md defines the metrics.

    Args:
        num_classes: Number of labels.
        class_names: A name for each.
        arguments: As for `Task`.
    """

    metrics: ClassVar[dict[str, str]] = {"loss": "min", "f1": "max", "micro_f1": "max", "exact_match": "max"}
    measures = "labels"
    totals: ClassVar[tuple[str, ...]] = ("loss",)

    def __init__(self, num_classes: int, class_names: list[str] | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.num_classes = num_classes
        self.class_names = class_names or [str(number) for number in range(num_classes)]
        # No buffers: a callback that swaps averaged weights in for validation swaps the buffers as well.
        self._eval_loss, self._matches, self._counts = nothing(2), nothing(2), nothing(3, num_classes)
        # Logits of the last batch evaluated, (batch, classes), for callbacks.
        self.last_outputs: Tensor | None = None

    @classmethod
    def learnt(cls, preprocessing: dict[str, Any]) -> dict[str, Any]:
        """Return the labels."""
        names = preprocessing["class_names"]
        return {"num_classes": len(names), "class_names": list(names)}

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the logits (batch, classes) of inputs (batch, ...), and their mask if they have one."""
        outputs: Tensor = self.network(*inputs)
        return outputs

    def score(self, batch: Batch) -> tuple[Tensor, Totals]:
        """Return the loss, and what it adds up."""
        outputs = self.network(*batch.network_inputs())
        target = batch.target.to(outputs.dtype)
        loss: Tensor = self.loss(outputs, target)
        with torch.no_grad():
            return loss, {"loss": training_share(self.loss, loss, target)}

    def evaluate(self, batch: Batch) -> None:
        """Add a batch to the metrics."""
        outputs = at_least_32_bits(self.network(*batch.network_inputs())).detach()
        share = evaluation_share(self.loss, outputs, batch.target.to(outputs.dtype))
        self._eval_loss = self._eval_loss + on_cpu(share)
        self.last_outputs = outputs
        said, true = outputs >= 0, batch.target > 0
        self._matches = self._matches + on_cpu(counted((said == true).all(1)))
        counts = torch.stack([said & true, said & ~true, ~said & true]).sum(1)
        self._counts = self._counts + counts.cpu().double()

    def results(self) -> dict[str, Tensor]:
        """Return loss, macro and micro F1 and the share of samples whose labels are all right."""
        loss, weight = self.over_processes(self._eval_loss)
        matches, count = self.over_processes(self._matches)
        right, too_many, missing = self.over_processes(self._counts)
        sizes = 2 * right + too_many + missing
        there = sizes > 0
        results = {
            "loss": loss / weight,
            "f1": (2 * right[there] / sizes[there]).mean(),
            "micro_f1": 2 * right.sum() / sizes.sum(),
            "exact_match": matches / count,
        }
        self._eval_loss, self._matches = nothing(2), nothing(2)
        self._counts = nothing(3, self.num_classes)
        return {name: value.float() for name, value in results.items()}

    @classmethod
    def example_batch(cls, facts: Mapping[str, Any], size: int, device: str = "cpu") -> Batch:
        """Return samples of any kind with one or two labels each; see `Task.example_batch`."""
        count = facts["num_classes"]
        rows, columns = torch.arange(size, device=device)[:, None], torch.arange(count, device=device)
        return example_for(((columns - rows) % count < 2).float(), facts)

    def predict(self, batch: Batch, data: Any, top_k: int) -> LabelSets:
        """Return the labels of each item, and the most probable ones whether they are among them or not."""
        return LabelSets.of(self(*batch.network_inputs()).float().sigmoid(), self.class_names, top_k)

    def predict_evaluated(self, batch: Batch, data: Any, top_k: int) -> LabelSets:
        """Return the labels of each item and add the batch to the metrics."""
        self.evaluate(batch)
        assert self.last_outputs is not None
        return LabelSets.of(self.last_outputs.float().sigmoid(), self.class_names, top_k)

    def outcome(self, outputs: Any, sample: Batch, data: Any) -> NamedScores:
        """Return the scores of the labels; see `Visible.outcome`."""
        return of_classes("label", outputs, outputs.sigmoid(), self.class_names, sample.target)

    def measured(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the probabilities of the labels, and 1 for each that is true; see `Task.measured`."""
        assert self.last_outputs is not None
        return self.last_outputs.sigmoid(), batch.target.long()

    def most_pictured(self, num_wrong: int) -> int:
        """Return how many samples with a wrong label are wanted."""
        return num_wrong

    def pictured(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the samples with a wrong label: inputs if they are images, true and predicted labels."""
        assert self.last_outputs is not None
        said, true = self.last_outputs >= 0, batch.target > 0
        rows = (said != true).any(1).nonzero().squeeze(-1)
        return kept_inputs(batch.inputs[rows]), true[rows], said[rows]

    def pictures(self, kept: Sequence[Tensor], preprocessing: Mapping[str, Any]) -> dict[str, "Figure"]:
        """Return the kernels of the first layer that sees images, and images with a wrong label."""
        if not kept:
            return {}
        images, *labels = kept
        return draw_images(self.network, images, lambda: self._captions(*labels), preprocessing)

    def _captions(self, truth: Tensor, predicted: Tensor) -> list[tuple[str, str]]:
        names = figures.legible(self.class_names)

        def listed(row: list[bool]) -> str:
            return ", ".join(name for name, there in zip(names, row, strict=True) if there) or "none"

        pairs = zip(truth.tolist(), predicted.tolist(), strict=True)
        return [(f"true {listed(true)}", f"said {listed(said)}") for true, said in pairs]
