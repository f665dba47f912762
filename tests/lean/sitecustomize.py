"""Hides, from the processes that tests start, what only tests install: a user's command does not import it either.

Lightning's metrics import transformers and SciPy where they are, which takes as long as all the rest. Trainings write
no report unless the environment says REPORTS=1: a page takes longer than most of them.
"""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path

HIDDEN = {"transformers", "scipy", "sklearn", "pandas", "polars"}


class WithoutPeers(PathFinder):
    """Finds modules and distributions on the path, but these."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "nnkit.analysis.report.ending" and os.environ.get("REPORTS") != "1":
            return spec_from_file_location(name, Path(__file__).with_name("no_report.py"))
        return None if name in HIDDEN else super().find_spec(name, path, target)

    @staticmethod
    def find_distributions(*context):
        return iter(()) if context and context[0].name in HIDDEN else PathFinder.find_distributions(*context)


sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutPeers
