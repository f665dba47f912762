"""From config nodes to objects: fenced, checked, then constructed."""

from nnkit.factory.construct import build, build_network, refuse_untrusted, target_class
from nnkit.factory.soundness import loss_target

__all__ = ["build", "build_network", "loss_target", "refuse_untrusted", "target_class"]
