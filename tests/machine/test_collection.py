"""Garbage is not collected while a block runs, and afterwards as before."""

import gc

import pytest

from nnkit.machine.collection import uncollected


@pytest.mark.parametrize("enabled", [True, False])
def test_collection_is_off_inside_and_afterwards_as_it_was(enabled):
    try:
        if not enabled:
            gc.disable()
        with pytest.raises(KeyError), uncollected():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() == enabled
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.enable()
