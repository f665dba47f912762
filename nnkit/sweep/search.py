"""A search: Optuna draws settings, learns from how their trials ended, and ends early what is not worth it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

import optuna
from optuna.trial import FrozenTrial, TrialState

from nnkit.config.overrides import COMMAND_LINE
from nnkit.errors import ConfigError, Problem, UserError
from nnkit.sweep.definition import Definition
from nnkit.sweep.directory import Sweep
from nnkit.sweep.parameters import distribution, parameter, text
from nnkit.sweep.pruners import PARTS, is_hopeless, place, pruner
from nnkit.sweep.space import Axis, numbered_name, seeds_apart
from nnkit.sweep.storage import Store
from nnkit.sweep.study import REPEATS, STOPPED_AT, Setting, add, draw, tell, verdict
from nnkit.sweep.trials import DONE, FAILED, OVER, PRUNED, SEED, Entry, Outcome, Progress, Trial


class Search:
    """Draws the settings of a sweep; a `Source`.

    What is drawn depends on the seed of the search and on the trials before, and on nothing else: a search with one
    trial at a time that is killed and resumed ends with the trials of one that was not.

    Args:
        sweep: Its directory, which this process holds.
        definition: What was asked for.
        axes: The space; `seed=1,2,3` among them is no part of it: each setting is run with all of them.
        entries: The trials of before, by name.
        retry_failed: Whether failed ones are begun again.

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
    ) -> None:
        self.sweep = sweep
        self.definition = definition
        self._axes, seeds = seeds_apart(axes)
        self._seeds = (seeds.choices or ()) if seeds is not None else ()
        self._check()
        self._distributions = {parameter(axis): distribution(axis) for axis in self._axes}
        self._store = Store(
            sweep.path, definition.sweeper.storage, "minimize" if definition.mode == "min" else "maximize"
        )
        self._before = [entry.trial for entry in entries.values()]
        self._begun = time.monotonic()
        self._settings: list[Setting] = []
        self._of_run: dict[str, Setting] = {}
        self._waiting: deque[Trial] = deque()
        self._recall(entries, retry_failed)

    def next(self) -> Trial | None:
        """Return a trial to start now: an interrupted one, the next seed of a setting, or a new setting.

        Raises:
            EnvironmentFault: If the storage stays down.
        """
        if self._is_late():
            return None
        if not self._waiting and not self._is_full():
            self._waiting.append(self._ask())
        if not self._waiting:
            return None
        return self._waiting.popleft()

    def total(self) -> int | None:
        """Return how many runs there will be; of settings that have ended early, those that there were."""
        asked = self.definition.sweeper.n_trials
        if asked is None:
            return None
        runs = sum(len(one.outcomes) if one.has_ended else len(one.runs) for one in self._settings)
        return runs + max(0, asked - len(self._settings)) * max(1, len(self._seeds))

    def report(self, trial: Trial, progress: Progress) -> bool:
        """Take in a validation of a running trial; True ends the trial early.

        Only the first seed of a setting is judged.

        Raises:
            EnvironmentFault: If the storage stays down.
        """
        setting, value = self._of_run[trial.name], progress.metrics.get(self.definition.monitor)
        if value is None or trial != setting.runs[0]:
            return False
        return self._store.do(lambda study: self._judge(study, setting, place(progress), value))

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Take in the end of a trial, and tell the study once its setting is through.

        Raises:
            EnvironmentFault: If the storage stays down.
        """
        setting = self._of_run[trial.name]
        if outcome.state not in OVER:
            return
        self._settle(setting, trial, outcome)
        if setting.following is not None:
            self._waiting.appendleft(setting.following)

    def _check(self) -> None:
        sweeper = self.definition.sweeper
        problems = []
        if sweeper.n_trials is None and sweeper.timeout is None:
            text, hint = "a search needs an end", "hydra.sweeper.n_trials=30 or hydra.sweeper.timeout=SECONDS"
            problems.append(Problem("hydra.sweeper.n_trials", text, hint, COMMAND_LINE))
        if not self._axes:
            hint = "such as 'optimizer.lr=tag(log,interval(1e-4,1e-1))'"
            problems.append(Problem("", "there is nothing to search: no word but the seed has values", hint))
        if problems:
            raise ConfigError(problems)

    def _is_late(self) -> bool:
        limit = self.definition.sweeper.timeout
        return limit is not None and time.monotonic() - self._begun >= limit

    def _is_full(self) -> bool:
        limit = self.definition.sweeper.n_trials
        return limit is not None and len(self._settings) >= limit

    def _recall(self, entries: Mapping[str, Entry], retry_failed: bool) -> None:
        """Take up the settings of before, make status file and study agree, and line up what is to be run."""
        trials = self._store.do(lambda study: study.get_trials(deepcopy=False))
        for frozen in trials:
            if frozen.distributions != self._distributions:
                raise UserError(self._other_space(frozen))
            if REPEATS in frozen.user_attrs:
                repeated = next(one for one in self._settings if one.number == frozen.user_attrs[REPEATS])
                repeated.told_as = frozen.number
            else:
                self._take_up(frozen)
        lost = sorted(set(entries) - set(self._of_run))
        if lost:
            raise UserError(
                f"trial {lost[0]} is not in the study that {self._store.where} holds: was it replaced?"
            )
        for setting in self._settings:
            frozen = trials[setting.told_as]
            if frozen.state.is_finished() and not any(run.name in entries for run in setting.runs):
                raise UserError(
                    f"study {self._store.name} in {self._store.where} holds trials of another sweep"
                    "\n    choose another name="
                )
            self._resume(setting, frozen, entries, retry_failed)

    def _resume(
        self, setting: Setting, frozen: FrozenTrial, entries: Mapping[str, Entry], retry_failed: bool
    ) -> None:
        for run in setting.runs:
            entry = entries.get(run.name)
            again = entry is not None and entry.outcome.state in FAILED and retry_failed
            if entry is None or entry.outcome.state not in OVER or again:
                break
            # With more seeds than before, a setting that ended well stays as it was told.
            self._settle(setting, run, entry.outcome)
        following = setting.following
        if following is None or (following.name not in entries and frozen.state.is_finished()):
            return
        if frozen.state == TrialState.FAIL:
            setting.told_as = self._repeat(setting)
        self._waiting.append(following)

    def _settle(self, setting: Setting, run: Trial, outcome: Outcome) -> None:
        """Note the end of a run; if its setting is through, tell the study, unless it knows."""
        if outcome.state == DONE and run == setting.runs[0] and self._was_stopped(setting):
            # The word to stop was heard, but whoever was to call the trial pruned was killed.
            outcome = replace(outcome, state=PRUNED)
            self.sweep.note((run, outcome))
        setting.outcomes[run.name] = outcome
        if setting.has_ended:
            state, value, why = verdict(setting, self.definition.monitor)
            self._store.do(lambda study: tell(study, setting.told_as, state, value, why))

    def _was_stopped(self, setting: Setting) -> bool:
        trials = self._store.do(lambda study: study.get_trials(deepcopy=False))
        return STOPPED_AT in trials[setting.told_as].user_attrs

    def _take_up(self, frozen: FrozenTrial) -> Setting:
        words = [f"{axis.key}={text(axis, frozen.params[parameter(axis)])}" for axis in self._axes]
        settings = [(*words, f"{SEED}={seed}") for seed in self._seeds] or [tuple(words)]
        runs = tuple(Trial(numbered_name(one, frozen.number, self._before), one) for one in settings)
        setting = Setting(frozen.number, runs, frozen.number, {})
        self._settings.append(setting)
        self._of_run.update({run.name: setting for run in runs})
        return setting

    def _ask(self) -> Trial:
        history = self._store.do(lambda study: study.get_trials(deepcopy=False))
        drawn = draw(history, self._distributions, self._store.direction, self.definition.sweeper)
        new = optuna.trial.create_trial(
            state=TrialState.RUNNING, params=drawn, distributions=self._distributions
        )
        return self._take_up(self._store.do(lambda study: add(study, new, len(history)))).runs[0]

    def _repeat(self, setting: Setting) -> int:
        trials = self._store.do(lambda study: study.get_trials(deepcopy=False))
        new = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=trials[setting.number].params,
            distributions=self._distributions,
            user_attrs={REPEATS: setting.number},
        )
        return self._store.do(lambda study: add(study, new, len(trials))).number

    def _judge(self, study: optuna.Study, setting: Setting, step: int, value: float) -> bool:
        frozen = study.get_trials(deepcopy=False)[setting.told_as]
        if STOPPED_AT in frozen.user_attrs:
            return bool(step >= frozen.user_attrs[STOPPED_AT])
        if frozen.state.is_finished():
            return False
        trial = optuna.trial.Trial(study, frozen._trial_id)
        # A resumed trial says again what it has said.
        if step not in frozen.intermediate_values:
            trial.report(value, step)
        if not self._is_to_stop(study, setting, step, value):
            return False
        trial.set_user_attr(STOPPED_AT, step)
        return True

    def _is_to_stop(self, study: optuna.Study, setting: Setting, step: int, value: float) -> bool:
        trials = study.get_trials(deepcopy=False)
        judge = pruner(self.definition.sweeper, trials)
        # At its end a trial costs nothing more, unless other seeds follow.
        if judge is None or (step == PARTS and len(setting.runs) == 1):
            return False
        return is_hopeless(value) or judge.prune(study, trials[setting.told_as])

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
