"""What tests of runs share."""

from functools import partial

import pytest


@pytest.fixture
def without_code(monkeypatch):
    """Trace graphs, and run them as they are: in a hundredth of the time."""
    import torch

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
