"""A search: Optuna draws settings, learns from how their trials ended, and ends early what is not worth it."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import optuna
from optuna.trial import FrozenTrial, TrialState

from nnkit.errors import ConfigError, UserError
from nnkit.sweep.directory import Definition, Sweep
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
    FAILED,
    OVER,
    PRUNED,
    Entry,
    Outcome,
    Trial,
    TrialReport,
    numbered_name,
)


@dataclass
class _Drawn:
    """A setting that was drawn.

    Attributes:
        number: Its number in the study.
        trials: Its trials, one for each seed.
        told_as: Its number in reports to the study; another one where a failed setting is tried again, as
            Optuna never opens again what has failed.
        outcomes: How its trials have ended, by name.
    """

    number: int
    trials: tuple[Trial, ...]
    told_as: int
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Return whether none of its trials is left to run."""
        return len(self.outcomes) == len(self.trials) or any(
            outcome.state != DONE for outcome in self.outcomes.values()
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
    trial at a time that is killed and resumed ends with the trials of one that was not.

    Args:
        sweep: Its directory, which this process holds.
        definition: What was asked for.
        axes: The space; `seed=1,2,3` among them is no part of it: each setting is run with all of them.
        entries: The trials of before, by name.
        retry_failed: Whether failed ones are begun again.
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
        retry_failed: bool = False,
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
        self._clock, self._begun = clock, clock()
        self._settings: list[_Drawn] = []
        self._of_trial: dict[str, _Drawn] = {}
        self._waiting: deque[Trial] = deque()
        self._recall(entries, retry_failed)

    def next(self) -> Trial | None:
        """Return a trial to start now: an interrupted one, the next seed of a setting, or a new setting.

        Raises:
            EnvironmentFault: If the storage stays down.
        """
        sweeper = self.definition.sweeper
        if sweeper.timeout is not None and self._clock() - self._begun >= sweeper.timeout:
            return None
        if self._waiting:
            return self._waiting.popleft()
        if sweeper.n_trials is not None and len(self._settings) >= sweeper.n_trials:
            return None
        history = self._store.trials()
        new = self._running(draw(history, self._distributions, self._store.direction, sweeper))
        return self._take_up(self._store.add(new, len(history))).trials[0]

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
        setting = self._of_trial[trial.name]
        if outcome.state not in OVER:
            return
        self._settle(setting, trial, outcome)
        if setting.following is not None:
            self._waiting.appendleft(setting.following)

    def _recall(self, entries: Mapping[str, Entry], retry_failed: bool) -> None:
        """Take up the settings of before, make status file and study agree, and line up what is to be run."""
        frozen_trials = self._store.trials()
        for frozen in frozen_trials:
            if frozen.distributions != self._distributions:
                raise UserError(self._other_space(frozen))
            if REPEATS in frozen.user_attrs:
                repeated = next(one for one in self._settings if one.number == frozen.user_attrs[REPEATS])
                repeated.told_as = frozen.number
            else:
                self._take_up(frozen)
        lost = sorted(set(entries) - set(self._of_trial))
        if lost:
            raise UserError(
                f"trial {lost[0]} is not in the study that {self._store.where} holds: was it replaced?"
            )
        for setting in self._settings:
            frozen = frozen_trials[setting.told_as]
            if frozen.state.is_finished() and not any(trial.name in entries for trial in setting.trials):
                raise UserError(
                    f"study {self._store.name} in {self._store.where} holds trials of another sweep"
                    "\n    choose another name="
                )
            self._resume(setting, frozen, entries, retry_failed)

    def _resume(
        self, setting: _Drawn, frozen: FrozenTrial, entries: Mapping[str, Entry], retry_failed: bool
    ) -> None:
        ended = OVER - FAILED if retry_failed else OVER
        for trial in setting.trials:
            entry = entries.get(trial.name)
            if entry is None or entry.outcome.state not in ended:
                break
            # With more seeds than before, a setting that ended well stays as it was reported.
            self._settle(setting, trial, entry.outcome)
        following = setting.following
        if following is None or (following.name not in entries and frozen.state.is_finished()):
            return
        if frozen.state == TrialState.FAIL:
            trials = self._store.trials()
            again = self._running(trials[setting.number].params, {REPEATS: setting.number})
            setting.told_as = self._store.add(again, len(trials)).number
        self._waiting.append(following)

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
