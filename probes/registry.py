"""Which probes are there? An explicit tuple, and third parties' by the entry-point group `steelyard.probes`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from steelyard.audit.errors import PlanError, PluginError
from steelyard.audit.target import Probe
from steelyard.audit.types import MetricSpec
from steelyard.probes.fairness.adverse_impact import AdverseImpact
from steelyard.probes.fairness.conditional import Conditional
from steelyard.probes.fairness.counterfactual import Counterfactual
from steelyard.probes.fairness.error_rates import ErrorRates
from steelyard.probes.fairness.identity_terms import IdentityTerms
from steelyard.probes.fairness.individual import Individual
from steelyard.probes.fairness.inequality import Inequality
from steelyard.probes.fairness.language.catalogue import LANGUAGE
from steelyard.probes.fairness.ll144 import LocalLaw144
from steelyard.probes.fairness.missing_attributes import MissingAttributes
from steelyard.probes.fairness.multicalibration import Multicalibration
from steelyard.probes.fairness.multiclass import Multiclass
from steelyard.probes.fairness.proxies import Proxies
from steelyard.probes.fairness.ranking import Ranked
from steelyard.probes.fairness.regression import Regression
from steelyard.probes.fairness.scores import Scores
from steelyard.probes.fairness.selection_rate import SelectionRate
from steelyard.probes.fairness.subgroups import Subgroups
from steelyard.probes.privacy.catalogue import PRIVACY
from steelyard.probes.privacy.data_catalogue import PRIVACY_DATA
from steelyard.probes.quality.calibration import Calibration
from steelyard.probes.quality.performance import Performance

__all__ = ["BUILT_IN", "all_probes", "metric_specs", "select"]

BUILT_IN: tuple[type[Probe], ...] = (
    Performance,
    Calibration,
    SelectionRate,
    ErrorRates,
    Conditional,
    Individual,
    Counterfactual,
    Proxies,
    IdentityTerms,
    AdverseImpact,
    LocalLaw144,
    Subgroups,
    Multicalibration,
    Scores,
    Regression,
    Ranked,
    Multiclass,
    Inequality,
    MissingAttributes,
    *LANGUAGE,
    *PRIVACY,
    *PRIVACY_DATA,
)


@cache
def all_probes() -> tuple[type[Probe], ...]:
    """The built-in probes and the plugins', in that order. A plugin that does not load is a fatal, named error."""
    found = list(BUILT_IN)
    for entry in sorted(entry_points(group="steelyard.probes"), key=lambda e: e.name):
        try:
            kind = entry.load()
        except Exception as error:
            raise PluginError(
                f"the plugin {entry.name!r} ({entry.value}) does not load: {type(error).__name__}: {error}",
                hint="mend it or uninstall its package",
            ) from error
        found.append(_checked(kind, entry.name))
    ids = [kind.id for kind in found]
    for name in ids:
        if ids.count(name) > 1:
            raise PluginError(f"two probes are called {name!r}", hint="uninstall one of the packages that bring it")
    return tuple(found)


def _checked(kind: Any, name: str) -> type[Probe]:
    whole = isinstance(kind, type) and issubclass(kind, Probe) and dataclasses.is_dataclass(kind)
    if not whole or not getattr(kind, "id", "") or not kind.metrics:
        raise PluginError(
            f"the plugin {name!r} is not a probe",
            hint="make it a frozen dataclass that extends steelyard.audit.target.Probe and sets `id` and `metrics`",
        )
    return kind  # type: ignore[no-any-return]


def metric_specs(probes: Iterable[type[Probe]] | None = None) -> dict[str, MetricSpec]:
    """Every metric id, and every alias, with what it means."""
    found: dict[str, MetricSpec] = {}
    for kind in probes if probes is not None else all_probes():
        for spec in kind.metrics:
            found[spec.id] = spec
            found.update(dict.fromkeys(spec.aliases, spec))
    return found


def select(entries: Iterable[str | Mapping[str, Mapping[str, Any]]]) -> tuple[Probe, ...]:
    """The probes a plan names, with its settings, in registry order; a pattern such as `fairness.*` takes what fits."""
    settings: dict[str, dict[str, Any]] = {}
    for entry in entries:
        pairs = [(entry, {})] if isinstance(entry, str) else list(entry.items())
        for pattern, values in pairs:
            names = [kind.id for kind in all_probes() if fnmatchcase(kind.id, pattern)]
            if not names:
                raise PlanError(f"no probe is called {pattern!r}", hint="`steelyard probes` lists them")
            for name in names:
                settings.setdefault(name, {}).update(values or {})
    return tuple(_made(kind, settings[kind.id]) for kind in all_probes() if kind.id in settings)


def _made(kind: type[Probe], values: dict[str, Any]) -> Probe:
    known = {f.name: f.default for f in dataclasses.fields(kind)}
    for name in values:
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise PlanError(f"probe {kind.id} has no setting {name!r}; its settings are {allowed}")
    return kind(**{name: _fitting(kind, name, value, known[name]) for name, value in values.items()})


_KINDS = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "a text"),
    (tuple, "a list"),
    (object, "of another kind"),
)


def _fitting(kind: type[Probe], name: str, value: Any, default: Any) -> Any:
    """A setting of the kind of its default: a whole number will do for a float, a list for a tuple."""
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, type(default)) and isinstance(value, bool) == isinstance(default, bool):
        return value
    wanted = next(text for of, text in _KINDS if isinstance(default, of))
    shown = str(default).lower() if isinstance(default, bool) else repr(default)
    raise PlanError(f"probe {kind.id}: setting {name!r} is {value!r}", hint=f"it is {wanted}, by default {shown}")
