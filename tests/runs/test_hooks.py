"""Hooks of a training step that do nothing cost nothing, and those that do something are called."""

from lightning.pytorch import Callback

import nnkit
from nnkit.runs.hooks import without_empty_hooks
from nnkit.runs.profiling import make_profiler
from nnkit.runs.training import train


class Counting(Callback):
    def __init__(self):
        self.batches = self.own = self.epochs = 0
        self.on_after_backward = self.count

    def count(self, trainer, pl_module):
        self.own += 1

    def on_train_batch_end(self, *arguments):
        self.batches += 1

    def on_train_epoch_end(self, *arguments):
        self.epochs += 1


def test_what_a_callback_defines_is_called_and_the_rest_passed_over():
    counting = Counting()
    words = ["data=digits", "model=mlp", "trainer.max_steps=3", "trainer.num_threads=1", "logger=[]"]
    train(nnkit.compose(words), show=False, extra=[counting])
    assert (counting.batches, counting.own, counting.epochs) == (3, 3, 1)
    assert counting.on_before_backward is None


def test_a_hook_of_a_base_class_of_the_user_stays():
    class Derived(Counting):
        pass

    derived = Derived()
    without_empty_hooks(derived)
    assert callable(derived.on_train_batch_end)
    assert derived.on_train_batch_start is None


def test_without_a_profiler_no_context_is_made():
    silent = make_profiler(None)
    assert silent.profile("one") is silent.profile("another")
