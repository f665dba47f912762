"""What is declared of config keys beside the signatures of classes: those that nnkit reads itself, and its limits."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

MAX_SEED = 2**32 - 1
# More than any machine has cores; a config from elsewhere may not ask for a million.
MAX_WORKERS = 1024
PRECISIONS_OF_PRODUCTS = ("highest", "high", "medium")
STRATEGIES = ("auto", "ddp", "fsdp", "single")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")


class Own(NamedTuple):
    """A key that nnkit reads itself.

    Attributes:
        hint: Type hint of its value.
        meaning: What it is, one sentence.
        is_typed: Whether a user sets it; the others say what an option is.
    """

    hint: Any
    meaning: str
    is_typed: bool = True


_TASKS = Own(list[str], "Tasks that it serves.", False)
_TARGETS = list[Literal["index", "one_hot", "real", "multi"]]

# Keys of a node, by group, that are no arguments of its class.
RESERVED: dict[str, dict[str, Own]] = {
    "model": {"embeds": Own(dict, "What turns each kind of input into what the model reads.", False)},
    "data": {
        "kind": Own(str, "Kind of input the data are, such as pictures, table or tokens."),
        "tasks": _TASKS,
        "max_epochs": Own(int, "Epochs where neither trainer.max_epochs nor trainer.max_steps is typed."),
    },
    "head": {"fits": _TASKS},
    "loss": {"takes": Own(_TARGETS, "Targets that the loss can be given, in order of preference.", False)},
    "metrics": {
        "fits": Own(list[Literal["classes", "labels", "values"]], "What the metric compares.", False),
        "better": Own(Literal["max", "min"], "Whether more or less of it is better.", False),
        "over": Own(
            Literal["seen", "occurring", "told_apart"] | None, "Classes that its mean is taken over."
        ),
    },
    "task": {
        "targets": Own(_TARGETS, "Targets that the task gives a loss.", False),
        "monitor": Own(str, "Metric that chooses the best checkpoint unless monitor= names one."),
    },
    "optimizer": {
        "layer_decay": Own(float | None, "Each layer's rate over that of the one above it; null: all alike.")
    },
    "scheduler": {
        "interval": Own(Literal["step", "epoch"], "Whether the schedule moves each step or each epoch.")
    },
    "trainer": {
        "num_threads": Own(int | None, "Threads of one process; null: as many as the process may use."),
        "matmul_precision": Own(
            Literal["highest", "high", "medium"] | None, "Precision of float32 matrix products."
        ),
        "compile": Own(
            bool | Literal["auto"], "Whether network and loss are compiled by torch.compile; auto: measured."
        ),
        "activation_checkpointing": Own(bool, "Whether layers are computed a second time to save memory."),
    },
}

# Keys outside the groups.
PLAIN: dict[str, Own] = {
    "seed": Own(int, "Seed of weights, sample order, augmentation and dropout."),
    "name": Own(str | None, "Name of the run directory below output_dir."),
    "output_dir": Own(str, "Directory of all runs."),
    "auto_resume": Own(bool, "Whether a run of this name that was interrupted is continued."),
    "report": Own(bool, "Whether a training that has ended writes the page report.html into its directory."),
    "monitor": Own(str, "Metric that chooses the best checkpoint."),
    "init_from": Own(str | None, "Run, or directory of Hugging Face, whose weights are started from."),
    "freeze": Own(list[str] | None, "Parts of the network that keep their weights."),
    "fit": Own(dict, "Lengths that are known when the data are prepared.", False),
    "fit.total_steps": Own(int | None, "Optimizer steps of the whole run.", False),
    "fit.steps_per_epoch": Own(float | None, "Optimizer steps of an epoch.", False),
}

# Arguments that nnkit gives when it builds; None: the task's own affair.
INJECTED: dict[str, tuple[str, ...] | None] = {
    "model": ("dim_in",),
    "head": ("dim_in", "tied_dim"),
    "optimizer": ("params",),
    "adapter": (),
    "scheduler": ("optimizer", "mode", "last_epoch"),
    "task": None,
    "logger": ("save_dir",),
    "metrics": (
        "task",
        "num_classes",
        "num_labels",
        "num_outputs",
        "validate_args",
        "compute_on_cpu",
        "compute_with_cache",
        "dist_sync_fn",
        "dist_sync_on_step",
        "distributed_available_fn",
        "process_group",
        "sync_on_compute",
    ),
    "trainer": (
        "callbacks",
        "logger",
        "default_root_dir",
        "plugins",
        "enable_checkpointing",
        "enable_progress_bar",
        "enable_model_summary",
        "num_sanity_val_steps",
        "use_distributed_sampler",
    ),
}
# Values that nnkit replaces before it builds.
OWN_VALUES: dict[str, tuple[str, ...]] = {
    "trainer.precision": ("auto", "fastest"),
    "trainer.strategy": STRATEGIES,
    "trainer.num_nodes": ("auto",),
}

# Hints of keys that nnkit makes into what the class takes.
TAKES_TOO: dict[str, Any] = {"loss.class_weights": list[float] | dict | Literal["balanced"] | None}

# Key -> (least, most) of a number.
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, MAX_SEED),
    "trainer.accumulate_grad_batches": (1, float("inf")),
    "trainer.gradient_clip_val": (0, float("inf")),
    "trainer.check_val_every_n_epoch": (1, float("inf")),
    "trainer.log_every_n_steps": (1, float("inf")),
    "trainer.num_threads": (1, MAX_WORKERS),
}
# Texts that a key may be, where the hint of its class says no more than text.
CHOICES: dict[str, tuple[str, ...]] = {
    "trainer.accelerator": ACCELERATORS,
    "trainer.strategy": STRATEGIES,
    "trainer.gradient_clip_algorithm": ("norm", "value"),
    "trainer.profiler": ("simple", "advanced"),
}

_LENGTH = "at least 1, or -1 for no limit"
_SHARE = "a share from 0.0 to 1.0 or a count"
_FROM_ONE = "at least 1"
# What a value must be beyond its type, in the words of the messages that refuse it.
LIMITS: dict[str, str] = {
    "seed": f"a whole number from 0 to {MAX_SEED}",
    "name": "the plain name of a directory",
    "monitor": "the name of a metric",
    "init_from": "a run or a directory",
    "freeze": "a list of parts of the network",
    "trainer.max_epochs": _LENGTH,
    "trainer.max_steps": _LENGTH,
    "trainer.min_epochs": "at least 0",
    "trainer.min_steps": "at least 0",
    "trainer.max_time": "days:hours:minutes:seconds",
    "trainer.accelerator": f"one of {', '.join(ACCELERATORS)}",
    "trainer.devices": "auto, a count, -1 for all, or a list of different numbers",
    "trainer.strategy": f"{', '.join(STRATEGIES[:-1])} or {STRATEGIES[-1]}",
    "trainer.num_nodes": "a count of machines or auto",
    "trainer.accumulate_grad_batches": _FROM_ONE,
    "trainer.gradient_clip_val": "at least 0; null clips nothing",
    "trainer.check_val_every_n_epoch": _FROM_ONE,
    "trainer.log_every_n_steps": _FROM_ONE,
    "trainer.num_threads": f"from 1 to {MAX_WORKERS}; null takes what there is",
    **{
        f"trainer.{name}": _SHARE
        for name in (
            *("limit_train_batches", "limit_val_batches", "limit_test_batches"),
            *("overfit_batches", "val_check_interval"),
        )
    },
    "data.kind": "the kind of input the data are, pictures or table",
    "data.max_epochs": "a whole number, or -1 for no limit",
    "data.num_workers": f"at most {MAX_WORKERS}",
    "optimizer.layer_decay": "above 0 and at most 1, or null for one rate",
}


@dataclass(frozen=True)
class Listed:
    """A class of Lightning that a config may name.

    Attributes:
        arguments: What a config may give it; no path, address or identity is among them.
        package: A package that it imports and nnkit does not require; empty if none.
        needs_logger: Whether it logs, and cannot run without a logger.
    """

    arguments: frozenset[str]
    package: str = ""
    needs_logger: bool = False


def _listed(arguments: str, package: str = "", needs_logger: bool = False) -> Listed:
    return Listed(frozenset(arguments.split()), package, needs_logger)


# What Lightning would refuse only in the midst of a training, or accept silently: the least of each.
LEAST = {"max_depth": -1, "patience": 0}
# By group and name: Lightning exports the same class from several modules.
ALLOWED = {
    "callbacks": {
        "DeviceStatsMonitor": _listed("cpu_stats", package="psutil", needs_logger=True),
        "EarlyStopping": _listed(
            "monitor min_delta patience verbose mode strict check_finite stopping_threshold"
            " divergence_threshold check_on_train_epoch_end log_rank_zero_only"
        ),
        "EMAWeightAveraging": _listed(
            "device use_buffers decay update_every_n_steps update_starting_at_step update_starting_at_epoch"
        ),
        "LearningRateMonitor": _listed("logging_interval log_momentum log_weight_decay", needs_logger=True),
        "RichModelSummary": _listed("max_depth"),
        "Timer": _listed("duration interval verbose"),
        "WeightAveraging": _listed("device use_buffers"),
    },
    "logger": {
        "CSVLogger": _listed("prefix flush_logs_every_n_steps"),
        "MLFlowLogger": _listed("experiment_name run_name tags prefix", package="mlflow"),
        "TensorBoardLogger": _listed("log_graph default_hp_metric prefix max_queue flush_secs"),
        "WandbLogger": _listed("name project group job_type tags notes prefix", package="wandb"),
    },
}
