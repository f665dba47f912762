"""Metrics of two processes that train together, each of which sees its share: those of all batches."""

import multiprocessing
from pathlib import Path
from types import SimpleNamespace

import pytest
import samples
import torch
from torch import distributed

from nnkit import config as configs
from nnkit.runs.session import make_session, prepare_data

MODELS = {
    "pictures": "mlp",
    "table": "mlp",
    "text": "gpt",
    "texts": "rnn",
    "pairs": "transformer",
    "sentences": "bert_tiny",
    "series": "lstm",
}
TASKS = [*MODELS.items(), ("real", "mlp"), ("translation", "transformer")]


def typed(kind):
    if kind == "real":
        return ["data=diabetes", "data.val_fraction=0.2", "metrics=[mape,pearson,spearman]"]
    if kind == "translation":
        return [*samples.words("pairs"), "task=translation"]
    chosen = {
        "pictures": ["metrics=[auroc,precision,calibration_error]"],
        "texts": ["metrics=[auroc]", "metrics.auroc.thresholds=50"],
        "series": ["metrics=[smape]"],
    }
    return [*samples.words(kind), *chosen.get(kind, [])]


def evaluated(composed, rank=0, world_size=1):
    """Metrics of the validation part, of whose batches this process sees every `world_size`-th."""
    config = composed.config.copy()
    data = prepare_data(config)
    task = make_session(config, composed.choices, data).task.eval()
    task.trainer = SimpleNamespace(testing=False, datamodule=data)
    batches = list(data.val_dataloader())
    assert len(batches) >= 2
    if world_size > 1:
        # Only now, as each process would load its share of each batch otherwise.
        store = Path("store").absolute().as_uri()
        distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world_size)
    with torch.no_grad():
        for number, batch in enumerate(batches[rank::world_size]):
            task.validation_step(batch, number)
    results = {name: float(value) for name, value in task.all_results("val").items()}
    if world_size > 1:
        distributed.destroy_process_group()
    return results


def tell(composed, rank, sender):
    sender.send(evaluated(composed, rank, 2))


@pytest.mark.parametrize(("kind", "model"), TASKS, ids=[kind for kind, _ in TASKS])
def test_metrics_of_two_processes_are_those_of_all_batches(kind, model):
    words = [f"model={model}", *typed(kind), *samples.small(model), "data.eval_batch_size=3"]
    composed, problems = configs.examine(words)
    assert not problems
    context, ends, processes = multiprocessing.get_context("fork"), [], []
    for rank in range(2):
        receiver, sender = context.Pipe(duplex=False)
        processes.append(context.Process(target=tell, args=(composed, rank, sender)))
        processes[-1].start()
        sender.close()
        ends.append(receiver)
    told = [end.recv() for end in ends]
    for process in processes:
        process.join()
    expected = evaluated(composed)
    assert len(expected) >= 3
    for results in told:
        assert results == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)
