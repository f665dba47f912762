import pytest
import torch

import nnkit
from nnkit.errors import UserError
from nnkit.runs.reopen import open_run

QUICK = ["data=digits", "model=mlp", "model.hidden=[8]", "logger=[]", "callbacks=[checkpoint]"]


def weights(run):
    return open_run(run).session.task.network.state_dict()


def test_a_run_starts_from_the_weights_of_another():
    source = nnkit.train([*QUICK, "name=source", "trainer.max_epochs=1"])
    still = ["optimizer=sgd", "optimizer.lr=0", "scheduler=constant", "seed=5", "trainer.max_steps=1"]
    target = nnkit.train([*QUICK, *still, "init_from=source"])
    fresh = nnkit.train([*QUICK, *still])
    for name, tensor in weights(source.run).items():
        assert torch.equal(tensor, weights(target.run)[name])
    assert any(
        not torch.equal(tensor, weights(fresh.run)[name]) for name, tensor in weights(source.run).items()
    )


def test_another_width_is_refused_with_its_shapes_and_nothing_is_written(tmp_path):
    nnkit.train([*QUICK, "name=source", "trainer.max_steps=1"])
    with pytest.raises(UserError, match=r"body\..*\(8, 64\) there, \(9, 64\) here"):
        nnkit.train([*QUICK[:2], "model.hidden=[9]", "init_from=source", "name=target"])
    assert not (tmp_path / "outputs" / "target").exists()


def test_a_run_that_does_not_exist_is_the_users_mistake():
    with pytest.raises(UserError, match="no run 'nothing'"):
        nnkit.train([*QUICK, "init_from=nothing"])
