"""Hides, from the processes that tests start, what only tests install: a user's command does not import it either.

Lightning's metrics import transformers and SciPy where they are, which takes as long as all the rest.
"""

import sys
from importlib.machinery import PathFinder

HIDDEN = {"transformers", "scipy", "sklearn", "pandas", "polars"}


class WithoutPeers(PathFinder):
    """Finds modules and distributions on the path, but these."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in HIDDEN else super().find_spec(name, path, target)

    @staticmethod
    def find_distributions(*context):
        return iter(()) if context and context[0].name in HIDDEN else PathFinder.find_distributions(*context)


sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutPeers
