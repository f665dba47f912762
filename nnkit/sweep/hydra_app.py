"""hydra.main behind a fence: it serves Hydra's own flags, and launchers and sweepers of its ecosystem."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra import main as hydra_main
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from nnkit import config as configs
from nnkit.config import catalog
from nnkit.config.overrides import parse
from nnkit.config.search_path import install
from nnkit.errors import NnkitError


def show(flags: Sequence[str], overrides: Sequence[str], config_dir: Path | None) -> int:
    """Let Hydra print what its own flags ask for, and return the exit code.

    Args:
        flags: Such as ``["--cfg", "hydra"]``; with each of them Hydra prints and runs no job.
        overrides: The words that compose the config.
        config_dir: The directory given with ``--config-dir``.

    Raises:
        ConfigError: If the overrides are wrong.
    """
    configs.compose(overrides, config_dir)
    directory = [] if config_dir is None else ["--config-dir", str(config_dir.absolute())]
    return hand_over(lambda config: None, [*flags, *directory, *readable(overrides)])


def hand_over(task: Callable[[DictConfig], Any], words: Sequence[str]) -> int:
    """Call hydra.main as if it had been started with the words, and return the exit code.

    Args:
        task: What Hydra calls for each job; a launcher may take it to another process by pickle.
        words: Flags and overrides.

    Raises:
        NnkitError: If Hydra refuses the words.
    """
    install()
    before, sys.argv = sys.argv, ["nnkit", *words]
    loggers = [(logger, logger.handlers[:], logger.level) for logger in map(logging.getLogger, ("", "hydra"))]
    # Otherwise Hydra answers an exception with its own text and exit code 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    main = hydra_main(config_path=str(catalog.conf_dir()), config_name=catalog.PRIMARY, version_base="1.3")
    try:
        main(task)()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    except (HydraException, OmegaConfBaseException) as error:
        raise NnkitError(str(error).splitlines()[0]) from error
    finally:
        sys.argv = before
        for logger, handlers, level in loggers:
            logger.handlers[:] = handlers
            logger.setLevel(level)
    return 0


def readable(overrides: Sequence[str]) -> list[str]:
    """Return the overrides as Hydra can read them: paths with spaces or accents quoted."""
    lines = []
    for text in overrides:
        read = parse([text]).overrides
        lines.append(read[0].input_line or text if read else text)
    return lines
