"""`nnkit train`: compose and train; Hydra's own flags work as well."""

import re
import sys

from nnkit import config as configs
from nnkit.cli.parser import Given
from nnkit.cli.processes import in_processes
from nnkit.cli.verbs import CONFIG_DIR, FORMS, OVERRIDES, Option, Verb
from nnkit.errors import ConfigError, UserError

_SWEEP_FORMS = (
    ("hydra.launcher.KEY=VALUE", "with -m: n_jobs runs at a time, memory_limit=4GB for each"),
    (
        "hydra.sweeper.KEY=VALUE",
        "with -m: n_trials settings of a space such as optimizer.lr=interval(0.001,0.1)",
    ),
)
_TOPICS = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
VERB = Verb(
    "train",
    (OVERRIDES._replace(forms=FORMS + _SWEEP_FORMS),),
    (
        Option(
            "-m --multirun",
            "a sweep, one run for each combination: nnkit train -m model=lenet5,mlp seed=1,2,3",
        ),
        Option(
            "-c --cfg",
            "print the composed config and train nothing",
            "job|hydra|all",
            choices=("job", "hydra", "all"),
        ),
        Option("--resolve", "with --cfg: fill in references"),
        Option("-p --package", "with --cfg: print what stands below KEY", "KEY"),
        CONFIG_DIR,
        Option(
            "-i --info",
            f"what Hydra says about {', '.join(_TOPICS[1:])}",
            "TOPIC",
            choices=_TOPICS,
            const="all",
        ),
        Option("--hydra-help", "what Hydra says about itself"),
    ),
    (
        "Exit codes: 0 done; 2 a mistake in what was typed, and nothing is written; 1 the environment (network, "
        "disk, GPU); 130 Ctrl-C and 143 SIGTERM, after which `nnkit resume last` goes on.",
    ),
    (
        ("nnkit train data=csv data.path=houses.csv data.target=price", ""),
        ("nnkit train model=mlp model.hidden=[300,100] trainer.max_epochs=20 name=wide", ""),
        ("nnkit train +callbacks=ema optimizer=sgd optimizer.lr=0.1 seed=1", ""),
    ),
)


def run(given: Given) -> int:
    """Train what the words compose, sweep, or print what a flag asks for."""
    if given.package and not given.cfg:
        raise UserError("--package goes with --cfg job")
    hydra = _for_hydra(given)
    if given.multirun:
        if hydra or given.cfg:
            raise UserError("-m runs a sweep: it goes with no other option than --config-dir")
        return _sweep(given)
    if hydra:
        from nnkit.sweep.hydra_app import show

        return show(hydra, given.overrides, given.config_dir)
    if given.cfg:
        composition, problems = configs.examine(given.overrides, given.config_dir)
        if problems or composition is None:
            raise ConfigError(problems)
        sys.stdout.write(configs.to_yaml(composition.config, resolve=given.resolve))
        return 0
    return in_processes(lambda: _train(given))


def _train(given: Given) -> None:
    composition, problems = configs.examine(given.overrides, given.config_dir)
    from nnkit.analysis.report.ending import Reporting
    from nnkit.runs.training import train

    reporting = Reporting()
    reporting.write(train(composition, problems, extra=[reporting]), show=True)


def _for_hydra(given: Given) -> list[str]:
    """Return the flags that Hydra itself answers; the config alone is printed without it."""
    words = ["--hydra-help"] if given.hydra_help else []
    words += ["--info", given.info] if given.info else []
    words += ["--package", given.package] if given.package else []
    if given.cfg and (words or given.cfg != "job"):
        words += ["--cfg", given.cfg, *(["--resolve"] if given.resolve else [])]
    return words


def _sweep(given: Given) -> int:
    if any(re.match(r"\+?hydra/(launcher|sweeper)=", word) for word in given.overrides):
        from nnkit.sweep.launchers import sweep_elsewhere

        return sweep_elsewhere(given.overrides, given.config_dir)
    from nnkit.sweep.pool import warm_up

    # The server imports what trials need while this process imports what it needs itself.
    warm_up()
    from nnkit.sweep.driver import sweep

    return sweep(given.overrides, given.config_dir)
