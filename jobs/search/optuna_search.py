"""The samplers of Optuna as a searcher.

What is asked next depends on the seed, the number of the ask and what was told, and on nothing that lives in a process:
each ask has a sampler of its own, and a run that goes on rebuilds the history from the log of asks.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from joulegrid.errors import PreFlightError, UsageError
from joulegrid.jobs.plan.grid import Axis
from joulegrid.jobs.plan.identity import canonical, digest
from joulegrid.jobs.search.search import SearcherSource, Told, is_energy
from joulegrid.jobs.search.space import Dimension, Range, Space
from joulegrid.jobs.study.search_config import SearchConfig
from joulegrid.jsontypes import Json

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState

REMEDY = "pip install 'joulegrid[search]'"


def optuna_source(config: SearchConfig, space: Space) -> SearcherSource:
    """Return the source of the section `search`; the budget is no part of what it is known by."""
    identity = digest(config.model_dump(mode="json", exclude={"budget"}))
    return SearcherSource(f"optuna {config.sampler}", identity, lambda: OptunaSearcher(config, space))


class OptunaSearcher:
    """Ask an Optuna sampler.

    Raises:
        PreFlightError: where Optuna, or what the sampler needs, is not installed.
        UsageError: when told of a first result that knows no such metric as an objective names.
    """

    def __init__(self, config: SearchConfig, space: Space) -> None:
        self._config = config
        self._dimensions = {_name(one): one for one in space}
        self._n_points = space.n_points
        self._seen: set[str] = set()
        self._trials: list[FrozenTrial] = []
        self._has_values = False
        self._energy_kind: str | None = None
        _refuse_missing(config)

    def ask(self) -> Mapping[str, Json] | None:
        """Return the sampler's next point, or `None` when every point of a finite space was asked for."""
        if self._n_points is not None and len(self._seen) >= self._n_points:
            return None
        number = len(self._trials)
        study = self._study(number)
        with _quiet():
            trial = study.ask(self._distributions)
        attributes = study.get_trials(deepcopy=False)[number].system_attrs
        self._begin(dict(trial.params), dict(attributes))
        return self._values(trial.params)

    def state(self) -> Json:
        """Return the last trial as Optuna knows it."""
        return {"params": self._trials[-1].params, "attributes": self._trials[-1].system_attrs}

    def tell(self, told: Told) -> None:
        """Finish the trial of an ask; one of an earlier start is added first."""
        if told.number >= len(self._trials):
            self._begin(told.state["params"], told.state["attributes"])
        if told.status == "pending":
            return
        from optuna.trial import TrialState

        begun = self._trials[told.number]
        values = self._objectives(told) if told.status == "done" else None
        state = TrialState.FAIL if values is None else TrialState.COMPLETE
        self._trials[told.number] = self._trial(state, begun.params, begun.system_attrs, values)

    def _study(self, number: int) -> optuna.Study:
        """Return a study of the history so far.

        It is made anew for each ask (0.06 s after 1,000): `nsga2` keeps parents in its study, in an order that depends
        on whether they were looked up before.
        """
        import optuna

        with _quiet():
            directions = [one.direction for one in self._config.objectives]
            study = optuna.create_study(directions=directions, sampler=_sampler(self._config, number))
            study.add_trials(self._trials)
        return study

    def _begin(self, params: dict[str, Any], attributes: dict[str, Any]) -> None:
        from optuna.trial import TrialState

        self._trials.append(self._trial(TrialState.RUNNING, params, attributes))
        self._seen.add(canonical(params))

    def _trial(
        self,
        state: TrialState,
        params: dict[str, Any],
        attributes: dict[str, Any],
        values: list[float] | None = None,
    ) -> FrozenTrial:
        from optuna.trial import create_trial

        return create_trial(
            state=state, values=values, params=params, distributions=self._distributions, system_attrs=attributes
        )

    def _objectives(self, told: Told) -> list[float] | None:
        """Return the objectives' means; `None` where a later result lacks what an earlier one had."""
        values = [told.value(one.metric) for one in self._config.objectives]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            self._has_values = True
            return known if self._is_comparable(told) else None
        if self._has_values:
            return None
        lacking = [one.metric for one, value in zip(self._config.objectives, values, strict=True) if value is None]
        names = told.names()
        raise UsageError(
            f"search.objectives: the first result has no number {' and no '.join(map(repr, lacking))}; it has "
            f"{', '.join(names) or 'none at all'}. Its data are kept; name one of these in the study and begin again "
            "with --fresh, because other objectives make another study"
        )

    def _is_comparable(self, told: Told) -> bool:
        """Joules that were obtained otherwise than the first ones are not compared with them."""
        if not any(is_energy(one.metric) for one in self._config.objectives):
            return True
        self._energy_kind = self._energy_kind or told.energy_kind
        return self._energy_kind == told.energy_kind

    def _values(self, params: Mapping[str, Any]) -> dict[str, Json]:
        values: dict[str, Json] = {}
        for name, dimension in self._dimensions.items():
            drawn = params[name]
            values |= {dimension.path: drawn} if isinstance(dimension, Range) else dimension.patches[drawn]
        return values

    @cached_property
    def _distributions(self) -> dict[str, BaseDistribution]:
        return {name: _distribution(one) for name, one in self._dimensions.items()}


def _refuse_missing(config: SearchConfig) -> None:
    """Say what is not installed before anything runs."""
    try:
        import optuna
    except ImportError as error:
        raise PreFlightError(f"search: Optuna is not installed ({error}); {REMEDY}") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        _sampler(config, 0)
    except ImportError as error:
        raise PreFlightError(
            f"search.sampler: gp needs torch and scipy ({error}); pip install 'joulegrid[search,pytorch]', or take tpe"
        ) from error


def _sampler(config: SearchConfig, number: int) -> optuna.samplers.BaseSampler:
    """Return a new sampler whose seed is that of the study and of the ask's number."""
    from optuna import samplers

    seed = int(digest([config.seed, number]), 16) % 2**31
    with _quiet():
        if config.sampler == "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=config.population)
        if config.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        if config.sampler == "gp":
            return samplers.GPSampler(seed=seed, n_startup_trials=config.n_startup)
        return samplers.TPESampler(seed=seed, n_startup_trials=config.n_startup, constant_liar=True)


def _name(dimension: Dimension) -> str:
    return dimension.name if isinstance(dimension, Axis) else dimension.path


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Axis):
        return CategoricalDistribution(range(len(dimension.patches)))
    if dimension.is_whole:
        return IntDistribution(
            int(dimension.low), int(dimension.high), log=dimension.log, step=int(dimension.step or 1)
        )
    return FloatDistribution(float(dimension.low), float(dimension.high), log=dimension.log, step=dimension.step)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's remarks on what it calls experimental."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
