"""What a run will take: compared with what a real step takes."""

import pytest
import torch

from nnkit.analysis.dry_run import Memory, dry_run, make_task
from nnkit.analysis.shapes import counting_saved, example_batch
from nnkit.config import compose
from nnkit.errors import UserError
from nnkit.machine.memory import available_memory
from nnkit.runs.optimization import pick_device
from nnkit.runs.preflight import settle_facts


def size_of(tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize(
    "words",
    [
        ["model=lenet5", "data=mnist"],
        ["model=lenet5_1998", "data=mnist", "optimizer=sgd"],
        ["model=cnn", "data=digits", "model.dropout=0.2"],
        ["data=diabetes", "optimizer=rmsprop"],
        ["data=iris", "loss=mse", "head=classifier_sigmoid", "optimizer=adagrad"],
    ],
    ids=" ".join,
)
def test_memory_is_that_of_a_real_step(words):
    composition = compose([*words, "data.batch_size=8"])
    config = composition.config
    found = dry_run(config, composition.choices).memory
    task = make_task(config, composition.choices, "cpu")
    batch = example_batch(config, 8, "cpu")
    with counting_saved(task) as saved:
        loss, _ = task.score(batch)
    loss.backward()
    optimizer = task.make_optimizer(task.network)
    optimizer.step()
    states = [
        value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)
    ]
    network = task.network
    assert found == Memory(
        parameters=size_of([*network.parameters(), *network.buffers()]),
        gradients=size_of(p.grad for p in network.parameters() if p.grad is not None),
        optimizer=size_of(states),
        activations=found.activations,
    )
    # Kernels of the CPU keep a little more or less than the meta device says.
    assert found.activations == pytest.approx(saved(), rel=0.35)
    assert found.total > found.activations > batch.inputs.nbytes / 2


def test_the_config_is_left_as_it_is():
    composition = compose(["data=digits"])
    before = composition.to_yaml()
    dry_run(composition.config, composition.choices)
    assert composition.to_yaml() == before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["loss=mse", "loss.reduction=none"], r"MSELoss gives \(16, 3\) numbers a batch, not one"),
        (["loss=cross_entropy", "loss.class_weights=[1,2,3,4,5]"], "one number for each of the 3 classes"),
    ],
)
def test_a_loss_that_does_not_fit_is_named(words, reason):
    composition = compose(["data=iris", "data.batch_size=16", *words])
    with pytest.raises(UserError, match=reason):
        dry_run(composition.config, composition.choices)


def test_facts_are_prepared_only_where_the_network_needs_them(tmp_path):
    assert settle_facts(compose(["data=mnist"]).config) is None
    # The number of classes of a regression is null, and nobody asks for it.
    assert settle_facts(compose(["data=diabetes"]).config) is None
    (tmp_path / "rows.csv").write_text(
        "a,b,c\n" + "".join(f"{n},{n % 7},{'xyz'[n % 3]}\n" for n in range(60))
    )
    config = compose(["data=csv", "data.path=rows.csv", "data.target=c"]).config
    assert settle_facts(config) is not None
    assert (config.data.num_features, config.data.num_classes) == (2, 3)


def test_device_and_memory():
    config = compose(["trainer.accelerator=cpu"]).config
    assert pick_device(config) == "cpu"
    assert (available_memory("cpu") or 2**30) > 2**20
