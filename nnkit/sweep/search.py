"""A search: Optuna draws settings, learns from how their trials ended, and ends early what is not worth it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import optuna
from optuna.trial import FrozenTrial, TrialState

from nnkit.errors import ConfigError, UserError
from nnkit.sweep.directory import Definition, Sweep
from nnkit.sweep.leases import CLOSED, TAKEN, Leases
from nnkit.sweep.plan import endless
from nnkit.sweep.space import Axis, grid, repeated_apart
from nnkit.sweep.storage import REPEATS, STOPPED_AT, StudyStore
from nnkit.sweep.study import (
    PARTS,
    Direction,
    distribution,
    draw,
    drawn_text,
    part_reached,
    pruner,
)
from nnkit.sweep.trials import (
    DONE,
    OVER,
    PRUNED,
    Entry,
    Outcome,
    Trial,
    TrialReport,
    numbered_name,
)

# Between two attempts to add a trial to the study.
_SECONDS = 0.2


@dataclass
class _Drawn:
    """A setting that was drawn.

    Attributes:
        number: Its number in the study.
        trials: Its trials, one for each seed.
        told_as: Its number in reports to the study; another one where a failed setting is tried again, as
            Optuna never opens again what has failed.
        outcomes: How its trials have ended, by name.
        kept: Whether it stays as it was reported, with fewer seeds than there are now.
    """

    number: int
    trials: tuple[Trial, ...]
    told_as: int
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    kept: bool = False

    @property
    def has_ended(self) -> bool:
        """Return whether none of its trials is left to run."""
        return (
            self.kept
            or len(self.outcomes) == len(self.trials)
            or any(outcome.state != DONE for outcome in self.outcomes.values())
        )

    @property
    def following(self) -> Trial | None:
        """Return the trial that comes next; None if there is none."""
        return None if self.has_ended else self.trials[len(self.outcomes)]

    def verdict(self, monitor: str) -> tuple[TrialState, float | None, str]:
        """Return how it ended once its trials are through, its value, and why it has none."""
        for name, outcome in self.outcomes.items():
            if outcome.state == PRUNED:
                return TrialState.PRUNED, None, ""
            if outcome.state != DONE:
                return TrialState.FAIL, None, f"{name}: {outcome.state}: {outcome.reason}"
            if monitor not in outcome.metrics:
                return TrialState.FAIL, None, f"{name} ended without {monitor}"
            if not math.isfinite(outcome.metrics[monitor]):
                return TrialState.FAIL, None, f"{name} ended with {monitor} = {outcome.metrics[monitor]}"
        values = [outcome.metrics[monitor] for outcome in self.outcomes.values()]
        return TrialState.COMPLETE, math.fsum(values) / len(values), ""


class Search:
    """Draws the settings of a sweep; a `Searcher`.

    What is drawn depends on the seed of the search and on the trials before, and on nothing else: a search with one
    trial at a time that is killed and resumed ends with the trials of one that was not. Several processes may draw from
    one study, on several machines: whoever has the lease of a setting's number draws it.

    Args:
        sweep: Its directory.
        definition: What was asked for.
        axes: The space; `seed=1,2,3` among them is no part of it: each setting is run with all of them.
        entries: The trials of before, by name.
        leases: Those of this process.
        clock: Returns seconds.
        sleep: Waits some seconds for a storage that is down.

    Raises:
        ConfigError: If nothing says where the search ends, there is nothing to search, or the storage cannot work.
        UserError: If the storage holds something else.
        EnvironmentFault: If the storage stays down.
    """

    def __init__(
        self,
        sweep: Sweep,
        definition: Definition,
        axes: tuple[Axis, ...],
        entries: Mapping[str, Entry],
        leases: Leases,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.sweep = sweep
        self.definition = definition
        self._axes, repeated = repeated_apart(axes)
        # The words of each repetition of a setting; without axes of seed and fold there is one without words.
        self._repetitions = [trial.words for trial in grid(repeated)]
        if problems := endless(definition.sweeper, self._axes):
            raise ConfigError(problems)
        self._distributions = {axis.name: distribution(axis) for axis in self._axes}
        direction: Direction = "minimize" if definition.mode == "min" else "maximize"
        self._store = StudyStore(sweep.path, definition.sweeper.storage, direction, sleep)
        self._before = [entry.trial for entry in entries.values()]
        self._leases = leases
        self._clock, self._begun = clock, clock()
        self._settings: list[_Drawn] = []
        self._of_trial: dict[str, _Drawn] = {}
        # How many of the study's trials and bytes of the status files have been taken in.
        self._known, self._size = 0, -1
        # Trials that were interrupted in this process, which goes on without them.
        self._left: set[str] = set()
        self._recall(entries)

    def offers(self) -> Iterator[Trial]:
        """Yield the trials that may be started now: interrupted ones, further seeds of settings, then a new setting.

        Raises:
            EnvironmentFault: If the storage stays down.
        """
        if self._is_late():
            return
        self._look()
        for setting in list(self._settings):
            following = setting.following
            if following is not None and following.name not in self._left:
                yield following
        if (drawn := self._draw()) is not None:
            yield drawn.trials[0]

    def waits(self) -> bool:
        """Return whether trials may come that others run now, or that are not drawn yet."""
        left = [one.following for one in self._settings if one.following is not None]
        return not self._is_late() and (
            self._may_draw() or any(trial.name not in self._left for trial in left)
        )

    def closed(self, trial: Trial) -> None:
        """Take in that a trial has ended elsewhere: how, the status files say at the next look."""

    def total(self) -> int | None:
        """Return how many trials there will be; of settings that have ended early, those that there were."""
        asked = self.definition.sweeper.n_trials
        if asked is None:
            return None
        trials = sum(len(one.outcomes) if one.has_ended else len(one.trials) for one in self._settings)
        return trials + max(0, asked - len(self._settings)) * len(self._repetitions)

    def report(self, trial: Trial, report: TrialReport) -> bool:
        """Take in a validation of a running trial; True ends the trial early.

        Only the first seed of a setting is judged.

        Raises:
            EnvironmentFault: If the storage stays down.
        """
        setting, value = self._of_trial[trial.name], report.metrics.get(self.definition.monitor)
        if value is None or trial != setting.trials[0]:
            return False
        return self._store.do(lambda study: self._judge(study, setting, part_reached(report), value))

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Take in the end of a trial, and tell the study once its setting is through.

        Raises:
            EnvironmentFault: If the storage stays down.
        """
        if outcome.state in OVER:
            self._settle(self._of_trial[trial.name], trial, outcome)
        else:
            self._left.add(trial.name)

    def _is_late(self) -> bool:
        timeout = self.definition.sweeper.timeout
        return timeout is not None and self._clock() - self._begun >= timeout

    def _may_draw(self) -> bool:
        asked = self.definition.sweeper.n_trials
        return asked is None or len(self._settings) < asked

    def _draw(self) -> _Drawn | None:
        """Draw a setting; None if there are enough, or another process is drawing."""
        history = self._store.trials()
        # Others may have drawn the last one since.
        self._meet(history)
        if not self._may_draw():
            return None
        params = draw(history, self._distributions, self._store.direction, self.definition.sweeper)
        new = self._add(self._running(params), len(history))
        return next((one for one in self._settings if new is not None and one.number == new.number), None)

    def _add(self, new: FrozenTrial, number: int) -> FrozenTrial | None:
        """Add a trial of a number to the study; None if another process is about to add one of this number."""
        claim = f"number-{number}"
        answer = self._leases.take(claim)
        if answer == CLOSED and len(self._store.trials()) == number:
            raise UserError(
                f"number {number} is not in the study that {self._store.where} holds: was it replaced?"
            )
        if answer != TAKEN:
            return None
        added = self._store.add(new, number)
        self._leases.leave(claim, over=True)
        self._meet(self._store.trials())
        return added

    def _look(self) -> None:
        """Take in what other processes have added to the study, and how their trials have ended."""
        self._meet(self._store.trials())
        size = self.sweep.size()
        if size == self._size:
            return
        self._size, entries = size, self.sweep.entries()
        for setting in self._settings:
            setting.outcomes = self._ended(setting, entries)

    def _meet(self, frozen_trials: Sequence[FrozenTrial]) -> None:
        """Take up the trials of the study that are not known yet.

        Raises:
            UserError: If one belongs to another search.
        """
        for frozen in frozen_trials[self._known :]:
            if frozen.distributions != self._distributions:
                raise UserError(self._other_space(frozen))
            if REPEATS in frozen.user_attrs:
                repeated = next(one for one in self._settings if one.number == frozen.user_attrs[REPEATS])
                repeated.told_as = frozen.number
            else:
                self._take_up(frozen)
        self._known = len(frozen_trials)

    @staticmethod
    def _ended(setting: _Drawn, entries: Mapping[str, Entry]) -> dict[str, Outcome]:
        """Return how trials of a setting have ended, up to the first that has not."""
        ended = {}
        for trial in setting.trials:
            entry = entries.get(trial.name)
            if entry is None or entry.outcome.state not in OVER:
                break
            ended[trial.name] = entry.outcome
        return ended

    def _recall(self, entries: Mapping[str, Entry]) -> None:
        """Take up the settings of before, make status file and study agree, and line up what is to be run."""
        frozen_trials = self._store.trials()
        self._meet(frozen_trials)
        lost = sorted(set(entries) - set(self._of_trial))
        if lost:
            raise UserError(
                f"trial {lost[0]} is not in the study that {self._store.where} holds: was it replaced?"
            )
        # Those that other processes have ended since are noted before the study learns of this one.
        now = self.sweep.entries()
        for setting in self._settings:
            frozen = frozen_trials[setting.told_as]
            if frozen.state.is_finished() and not any(trial.name in now for trial in setting.trials):
                raise UserError(
                    f"study {self._store.name} in {self._store.where} holds trials of another sweep"
                    "\n    choose another name="
                )
            self._resume(setting, frozen, entries)

    def _resume(self, setting: _Drawn, frozen: FrozenTrial, entries: Mapping[str, Entry]) -> None:
        for name, outcome in self._ended(setting, entries).items():
            self._settle(setting, entries[name].trial, outcome)
        following = setting.following
        if following is None:
            return
        # With more seeds than before, a setting that ended well stays as it was reported.
        setting.kept = following.name not in entries and frozen.state.is_finished()
        # It has failed and is to be begun again.
        while frozen.state == TrialState.FAIL and not self._repeat(setting):
            # Another process draws a setting just now.
            time.sleep(_SECONDS)

    def _repeat(self, setting: _Drawn) -> bool:
        trials = self._store.trials()
        again = self._running(trials[setting.number].params, {REPEATS: setting.number})
        return self._add(again, len(trials)) is not None

    def _settle(self, setting: _Drawn, trial: Trial, outcome: Outcome) -> None:
        """Note the end of a trial; if its setting is through, tell the study, unless it knows."""
        judged = outcome.state == DONE and trial == setting.trials[0]
        if judged and STOPPED_AT in self._store.trials()[setting.told_as].user_attrs:
            # The trial was asked to stop, but the process that would record it as pruned was killed.
            outcome = replace(outcome, state=PRUNED)
            self.sweep.note((trial, outcome))
        setting.outcomes[trial.name] = outcome
        if setting.has_ended:
            self._store.tell(setting.told_as, *setting.verdict(self.definition.monitor))

    def _take_up(self, frozen: FrozenTrial) -> _Drawn:
        words = [f"{axis.key}={drawn_text(axis, frozen.params[axis.name])}" for axis in self._axes]
        wordings = [(*words, *repetition) for repetition in self._repetitions]
        trials = tuple(Trial(numbered_name(one, frozen.number, self._before), one) for one in wordings)
        setting = _Drawn(frozen.number, trials, frozen.number)
        self._settings.append(setting)
        self._of_trial.update({trial.name: setting for trial in trials})
        return setting

    def _running(self, params: dict[str, object], notes: dict[str, object] | None = None) -> FrozenTrial:
        """Return a trial of Optuna's that runs."""
        return optuna.trial.create_trial(
            state=TrialState.RUNNING, params=params, distributions=self._distributions, user_attrs=notes
        )

    def _judge(self, study: optuna.Study, setting: _Drawn, part: int, value: float) -> bool:
        """Report a validation to the study and return whether the trial is to end."""
        frozen = study.get_trials(deepcopy=False)[setting.told_as]
        if STOPPED_AT in frozen.user_attrs:
            return bool(part >= frozen.user_attrs[STOPPED_AT])
        if frozen.state.is_finished():
            return False
        trial = optuna.trial.Trial(study, frozen._trial_id)
        # A resumed trial reports again what it has reported.
        if part not in frozen.intermediate_values:
            trial.report(value, part)
        trials = study.get_trials(deepcopy=False)
        judge = pruner(self.definition.sweeper, trials)
        # At its end a trial costs nothing more, unless other seeds follow.
        if judge is None or (part == PARTS and len(setting.trials) == 1):
            return False
        # No trial comes back whose metric is not finite.
        if math.isfinite(value) and not judge.prune(study, trials[setting.told_as]):
            return False
        trial.set_user_attr(STOPPED_AT, part)
        return True

    def _other_space(self, frozen: FrozenTrial) -> str:
        changed = [
            name
            for name in sorted({*frozen.distributions, *self._distributions})
            if frozen.distributions.get(name) != self._distributions.get(name)
        ]
        return (
            f"study {self._store.name} in {self._store.where} searches another space: {', '.join(changed)} differs"
            "\n    type the same values, or choose another name="
        )
