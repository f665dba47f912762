"""`nnkit train`: compose and train; Hydra's own flags work as well."""

from __future__ import annotations

import sys
from pathlib import Path

from nnkit import config as configs
from nnkit.config.flags import split_flags
from nnkit.errors import ConfigError
from nnkit.sweep.foreign import is_foreign


def main(arguments: list[str]) -> int:
    """Train what the arguments compose, or do what a flag of Hydra asks."""
    flags = split_flags(arguments)
    if flags.help:
        from nnkit.cli.guide import print_train_help

        print_train_help()
        return 0
    if flags.multirun and flags.hydra == ["--multirun"] and not is_foreign(flags.overrides):
        from nnkit.sweep.pool import warm_up

        # The server imports what trials need while this process imports what it needs itself.
        warm_up()
        from nnkit.sweep.driver import sweep

        return sweep(flags.overrides, None if flags.config_dir is None else Path(flags.config_dir))
    if flags.hydra:
        from nnkit.sweep.hydra_app import run_hydra

        return run_hydra(flags)
    composition, problems = configs.examine(flags.overrides, flags.config_dir)
    if flags.show_config:
        if problems or composition is None:
            raise ConfigError(problems)
        sys.stdout.write(configs.to_yaml(composition.config, resolve=flags.resolve))
        return 0
    from nnkit.runs.training import train

    train(composition, problems)
    return 0
