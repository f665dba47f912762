"""The study of a search, kept in a journal beside its trials or in a database; either may be down."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from nnkit.errors import UserError
from nnkit.files import atomic
from nnkit.sweep.database import ENGINE, Patience, check_storage, patient, shown
from nnkit.sweep.directory import JOURNAL
from nnkit.sweep.study import Direction

# What the study says of a trial beyond Optuna's own: where it was ended early, why it failed, what it repeats.
STOPPED_AT, WHY, REPEATS = "stopped_at", "why", "repeats"

_DOWN = (OSError, SQLAlchemyError, optuna.exceptions.StorageInternalError)
_GARBLED = (ValueError, KeyError, TypeError, AttributeError, AssertionError, IndexError, RecursionError)
# Seconds after which a lock of the journal that stands still was left by a process that was killed.
_GRACE = 10

_T = TypeVar("_T")


class StudyStore:
    """The study of one search; what is done with it is tried again while its storage is down.

    Args:
        path: The sweep's directory.
        url: The storage; None: a journal in the directory.
        direction: "minimize" or "maximize".
        sleep: Waits some seconds.

    Raises:
        ConfigError: If the storage cannot work.
        UserError: If there is something else in it.
        EnvironmentFault: If it stays down.
    """

    def __init__(
        self, path: Path, url: str | None, direction: Direction, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        check_storage(url)
        self.path = path
        self.name = path.absolute().name
        self.journal = None if url is not None else path / JOURNAL
        self.where = str(self.journal) if url is None else shown(url)
        self.direction = direction
        self._url = url
        self._patience = Patience(path, url, self.where, _DOWN, sleep=sleep)
        # Python prints what loggers without a handler warn of; nnkit has messages of its own.
        optuna.logging.disable_default_handler()
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        self.study = self._patience.do(self._open)
        if [one.name.lower() for one in self.study.directions] != [direction]:
            found = ", ".join(one.name.lower() for one in self.study.directions)
            raise UserError(f"study {self.name} in {self.where} is there to {found}, and not to {direction}")

    def do(self, action: Callable[[optuna.Study], _T]) -> _T:
        """Do something with the study.

        Args:
            action: May be done more than once.

        Raises:
            EnvironmentFault: If the storage stays down, as the methods below.
        """
        return self._patience.do(lambda: action(self.study))

    def trials(self) -> list[FrozenTrial]:
        """Return all trials of the study, in the order of their numbers."""
        return self.do(lambda study: study.get_trials(deepcopy=False))

    def add(self, new: FrozenTrial, number: int) -> FrozenTrial:
        """Add a trial that is to have a number, unless an attempt that failed has added it all the same."""

        def action(study: optuna.Study) -> FrozenTrial:
            if len(study.get_trials(deepcopy=False)) == number:
                study.add_trial(new)
            return study.get_trials(deepcopy=False)[number]

        return self.do(action)

    def tell(self, number: int, state: TrialState, value: float | None, why: str) -> None:
        """Tell how a trial ended, unless the study knows.

        Args:
            number: The trial's.
            state: How it ended.
            value: What it reached; None unless it is complete.
            why: Why it has no value; empty where that is plain.
        """

        def action(study: optuna.Study) -> None:
            frozen = study.get_trials(deepcopy=False)[number]
            if frozen.state.is_finished():
                return
            # Another process that takes up what was left of a killed one may be first.
            with suppress(optuna.exceptions.UpdateFinishedTrialError):
                if why:
                    optuna.trial.Trial(study, frozen._trial_id).set_user_attr(WHY, why)
                study.tell(number, value, state=state, skip_if_finished=True)

        self.do(action)

    def _open(self) -> optuna.Study:
        try:
            return optuna.create_study(
                storage=self._storage(),
                # Never asked: settings are drawn by `study.draw`.
                sampler=optuna.samplers.RandomSampler(seed=0),
                pruner=optuna.pruners.NopPruner(),
                study_name=self.name,
                direction=self.direction,
                load_if_exists=True,
            )
        except _DOWN:
            raise
        except _GARBLED as error:
            raise UserError(
                f"{self.where} holds no study that can be read: {self._patience.sentence(error)}"
            ) from error

    def _storage(self) -> BaseStorage:
        if self.journal is None:
            # Optuna fills in fields in braces.
            url = patient(str(self._url)).render_as_string(hide_password=False)
            url = url.replace("{", "{{").replace("}", "}}")
            return RDBStorage(url, engine_kwargs=ENGINE)
        atomic.make_directory(self.path)
        if self.journal.is_symlink():
            raise UserError(
                f"{self.journal} is a link, which could lead anywhere; a study is a file of its own"
            )
        return JournalStorage(JournalFileBackend(str(self.journal), _Lock(self.journal)))


class _Lock(JournalFileOpenLock):
    """Optuna's lock of a journal that several machines write: a file that one of them makes.

    Whoever has it takes away a line that a kill or a full disk has torn, so that the next one does not run into it.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal), _GRACE)
        self._journal = journal

    def acquire(self) -> bool:
        super().acquire()
        with self._journal.open("rb") as file:
            torn = file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read() != b"\n"
        if torn:
            os.truncate(self._journal, atomic.read(self._journal).rfind(b"\n") + 1)
        return True
