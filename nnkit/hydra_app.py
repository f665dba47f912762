"""hydra.main behind a fence: it serves Hydra's own flags and sweeps, after our validation."""

from __future__ import annotations

import logging
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra import main as hydra_main
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from nnkit import catalog
from nnkit import config as configs
from nnkit.config.overrides import parse
from nnkit.config.search_path import install
from nnkit.errors import ConfigError, NnkitError, Problem
from nnkit.flags import Flags

# Hydra's own output directories and log files have no place beside our run directories.
_QUIET = [
    "hydra.output_subdir=null",
    "hydra.run.dir=.",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
]


def trials(overrides: list[str]) -> list[list[str]]:
    """Return the overrides of each trial of a grid, in Hydra's order.

    Raises:
        ConfigError: If the words are not in Hydra's grammar.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
        batches = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    except HydraException as error:
        raise ConfigError([Problem("", str(error).splitlines()[0])]) from error
    return [trial for batch in batches for trial in batch]


def check_trials(flags: Flags) -> None:
    """Validate every trial before the first one starts.

    Raises:
        ConfigError: With each mistake once, however many trials share it.
    """
    from nnkit import build

    found: dict[str, Problem] = {}
    if any(word.startswith("name=") for word in flags.overrides):
        text = "one name cannot stand for all runs of a sweep: each has a directory of its own"
        found["name"] = Problem("name", text, "leave name= out, or choose another output_dir=")
    for trial in trials(flags.overrides):
        composition, problems = configs.examine(trial, flags.config_dir)
        if composition is not None:
            problems = [*problems, *build.problems(composition)]
        found.update({str(problem): problem for problem in problems})
    if found:
        raise ConfigError(list(found.values()))


def run_hydra(flags: Flags) -> int:
    """Hand a command to hydra.main and return the exit code.

    Raises:
        ConfigError: If the overrides are wrong.
    """
    if flags.multirun:
        check_trials(flags)
    else:
        configs.compose(flags.overrides, flags.config_dir)
    install()
    directory = [] if flags.config_dir is None else ["--config-dir", str(Path(flags.config_dir).absolute())]
    quiet = [*_QUIET, f"hydra.sweep.dir=outputs/sweeps/{datetime.now():%Y-%m-%d_%H-%M-%S}"]
    words, sys.argv = sys.argv, ["nnkit", *flags.hydra, *directory, *_lines(flags.overrides), *quiet]
    # Otherwise Hydra answers an exception with its own text and exit code 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    code = 0
    loggers = [(logger, logger.handlers[:], logger.level) for logger in map(logging.getLogger, ("", "hydra"))]

    @hydra_main(config_path=str(catalog.conf_dir()), config_name=catalog.PRIMARY, version_base="1.3")
    def trial(config: DictConfig) -> Any:
        from nnkit.training import train

        own = list(HydraConfig.get().overrides.task)
        # Composing starts Hydra anew, so the state of the sweep is put aside meanwhile.
        state = GlobalHydra.get_state()
        GlobalHydra.instance().clear()
        try:
            composition = configs.compose(own, flags.config_dir)
        finally:
            GlobalHydra.set_state(state)
        return train(composition).metrics

    try:
        trial()
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except (HydraException, OmegaConfBaseException) as error:
        raise NnkitError(str(error).splitlines()[0]) from error
    finally:
        sys.argv = words
        for logger, handlers, level in loggers:
            logger.handlers[:] = handlers
            logger.setLevel(level)
    return code


def _lines(overrides: list[str]) -> list[str]:
    """Return the overrides as Hydra can read them: paths with spaces or accents quoted."""
    lines = []
    for text in overrides:
        read = parse([text]).overrides
        # A sweep over values (seed=1,2) is no value of one run, and Hydra's own to read.
        lines.append(read[0].input_line or text if read else text)
    return lines
