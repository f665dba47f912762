"""From config nodes to objects: fenced, checked, then constructed.

Importing the package imports no torch; the first use of a name does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnkit.factory.construct import build, build_network, refuse_untrusted, target_class
    from nnkit.factory.soundness import loss_target

__all__ = ["build", "build_network", "loss_target", "refuse_untrusted", "target_class"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    part = "soundness" if name == "loss_target" else "construct"
    return getattr(import_module(f"{__name__}.{part}"), name)
