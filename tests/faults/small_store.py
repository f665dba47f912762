"""A store of states so small that it can be saved at every step of every fault."""

import torch

from nnkit.checkpoint.formats import DOCUMENT, FORMAT, TENSORS, dump, encode
from nnkit.checkpoint.store import INDEX, CheckpointStore


class SmallStore(CheckpointStore):
    """A store that can commit a state of any step, whose best checkpoint is told by its step."""

    def state_of(self, step):
        """Return the files of the state of a step."""
        weights = torch.full((300,), float(step))
        num_lines = len((self.directory.parent / "metrics.jsonl").read_text().splitlines())
        return dump(*encode({"w": weights, "nnkit": {"format": FORMAT, "num_lines": num_lines}}))

    def save(self, step, best=None, keep=2):
        """Commit a step and prune, as the writer of a run does."""
        name = None if best is None else f"step-{best:06d}"
        facts = {"step": step, "epoch": 0, "monitor": "val/loss", "score": None, "best": name}
        self.commit(f"step-{step:06d}", self.state_of(step), **facts)
        self.settle(keep)

    def loaded(self, which="last"):
        """Return the step that is loaded, its content compared with what was saved."""
        manifest, state = self.load(which)
        assert torch.equal(state["w"], torch.full((300,), float(manifest.step)))
        return manifest.step

    def steps(self):
        """Return the steps of all checkpoints, valid or not."""
        return sorted(manifest.step for manifest in self.manifests())

    def litter(self):
        """Return what is neither the index nor a checkpoint with all its files."""
        names = {path.name for path in self.directory.iterdir()} - {INDEX}
        endings = (".json", TENSORS, DOCUMENT)
        return {name for name in names if not {name.partition(".")[0] + end for end in endings} <= names}
