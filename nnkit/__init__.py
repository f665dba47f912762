"""nnkit: config-driven training of neural networks.

From Python: `compose` a config, `train` it, `resume` or `load` a run. Importing the package imports none of the
libraries behind them; the first use of a name does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "compose", "load", "resume", "train"]

if TYPE_CHECKING:
    from nnkit.api import compose, load, resume, train


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("nnkit.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
