"""Each group of one attribute or intersection beside the group it is compared with: ratio, tests, scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Basis, Capability, Deviation, Estimate, Failure, Finding, Normal, Scalar
from steelyard.probes.fairness.impact_ratios import GroupRates, group_rates, impact_ratios
from steelyard.probes.quality.slices import LeftOut

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.audit.target import Sample, Target
    from steelyard.probes.fairness.adverse_impact import AdverseImpact
    from steelyard.probes.stats.table import CountTable

__all__ = ["FOUR_FIFTHS", "Inspection", "codes_of", "is_below", "reading_of_rule"]

PREFIX = "fairness.adverse-impact."
FOUR_FIFTHS = 0.8  # 29 CFR 1607.4(D)
EXACT = (0.0, 0.0)  # quantiles of the error of a figure that a rule reads as it stands
Rows = Iterator[Finding | Failure]
Where = Mapping[str, Scalar]


def codes_of(sample: Sample, names: tuple[str, ...]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Each row's code (n,) among the groups of an attribute, or of an intersection as "Female*Black"."""
    import numpy as np

    codes: NDArray[np.int64] = np.zeros(len(sample.groups[names[0]].codes), dtype=np.int64)
    levels: tuple[str, ...] = ("",)
    for index, name in enumerate(names):
        groups = sample.groups[name]
        codes = codes * len(groups.levels) + groups.codes
        levels = tuple(f"{a}*{b}" if index else b for a in levels for b in groups.levels)
    return codes, levels


def is_below(ratio: float) -> bool:
    """The four-fifths rule on a point estimate. 48 to 60 of 100 is four fifths, whatever the last bit says."""
    return ratio < FOUR_FIFTHS - 1e-12


def reading_of_rule(ratio: float) -> str:
    """`is_below` in words."""
    return "below 0.8 as it stands" if is_below(ratio) else "not below 0.8 as it stands"


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """What the probe asks of every group of one attribute or intersection. Not slotted: the strata are found once."""

    probe: AdverseImpact
    target: Target
    sample: Sample
    table: CountTable
    seed: int
    scores: NDArray[np.float64] | None
    decisions: NDArray[Any]

    @classmethod
    def of(cls, probe: AdverseImpact, target: Target, sample: Sample, table: CountTable, seed: int) -> Inspection:
        """Ask the target once for all that follows."""
        import numpy as np

        from steelyard.probes.quality.outputs import ask_proba

        scored = sample.reduced is None and Capability.PREDICT_PROBA in target.capabilities
        scores = ask_proba(target, sample)[:, 1] if scored else None
        decisions = np.asarray(target.predict(sample.inputs))
        return cls(
            probe=probe, target=target, sample=sample, table=table, seed=seed, scores=scores, decisions=decisions
        )

    def inspect(self, names: tuple[str, ...], where: Where) -> Rows:
        """All rows of one attribute or intersection."""
        rates = group_rates(self.table, names, self.sample.min_n)
        small = [
            (name, int(n))
            for name, n, compared, unknown in zip(rates.names, rates.rows, rates.compared, rates.unknown, strict=True)
            if not compared and not unknown
        ]
        if small:
            left_out = LeftOut(where=where, groups=tuple(small), min_n=self.sample.min_n)
            metrics = ("impact-ratio", "groups-below", *(("smd",) if self.scores is not None else ()))
            yield self._failure(metrics, where, left_out.reason)
        try:
            yield from self._ratios(names, where, rates)
            reference, chosen = self._reference(names, rates)
        except ProbeError as error:
            metrics = ("impact-ratio", "groups-below", "standard-deviations", "p-value", "selections-to-flip")
            yield self._failure(metrics, where, error)
            return
        codes, levels = codes_of(self.sample, names)
        others = [g for g in range(len(rates.names)) if g != reference and rates.rows[g] > 0 and not rates.unknown[g]]
        # Choosing the best of G groups looks at all pairs of them; a reference fixed beforehand at G - 1 only.
        looked_at = len(others) * (len(others) + 1) // 2 if chosen else len(others)
        for g in others:
            place = {**where, "group": rates.names[g]}
            against: dict[str, Scalar] = {"against": rates.names[reference]}
            if chosen:
                against["chosen"] = "for its rate in these rows"
            yield from self._tests(rates, g, reference, place, against, looked_at)
            pair = codes == levels.index(rates.names[g]), codes == levels.index(rates.names[reference])
            if self.probe.control:
                yield from self._within_strata(pair, place, against, int(rates.rows[g]))
            if self.scores is not None and rates.compared[g]:
                yield self._scores(pair, place, against, int(rates.rows[g]))

    def _reference(self, names: tuple[str, ...], rates: GroupRates) -> tuple[int, bool]:
        """The group that tests compare with, and whether it was chosen by looking at the rates."""
        named = "*".join(self.sample.groups[a].reference or "\0" for a in names)
        if named in rates.names and rates.compared[rates.names.index(named)]:
            return rates.names.index(named), False
        return rates.highest, True

    def _ratios(self, names: tuple[str, ...], where: Where, rates: GroupRates) -> Rows:
        probe = self.probe
        found = impact_ratios(
            self.table, names, rates,
            min_n=self.sample.min_n, level=probe.level, draws=probe.draws, seed=self.seed,
        )  # fmt: skip
        highest = rates.names[rates.highest]
        below = []
        for ratio in found:
            below += [ratio.group] * is_below(ratio.estimate.value)
            detail: dict[str, Scalar] = {"highest": highest, "four_fifths": reading_of_rule(ratio.estimate.value)}
            place = {**where, "group": ratio.group}
            yield self._finding("impact-ratio", ratio.estimate, ratio.basis, place, detail)
        yield self._count(
            "groups-below", len(below), where, {"below": "; ".join(below)}, sum(r.estimate.n for r in found)
        )

    def _tests(
        self, rates: GroupRates, g: int, reference: int, where: Where, against: dict[str, Scalar], looked_at: int
    ) -> Rows:
        from scipy.special import ndtri

        from steelyard.probes.stats.tests2x2 import compare, pooled_z

        counts = (float(rates.k[g]), float(rates.n[g]), float(rates.k[reference]), float(rates.n[reference]))
        n, effective = int(rates.rows[g]), None if rates.plain else float(rates.n[g])
        try:
            z = pooled_z(*counts)
        except ProbeError as error:
            yield self._failure(("standard-deviations", "p-value", "selections-to-flip"), where, error)
            return
        reach = float(ndtri(0.5 + self.probe.level / 2))
        estimate = Estimate(
            value=z, low=z - reach, high=z + reach, level=self.probe.level, n=n, n_effective=effective,
            method="pooled Z, its own standard error 1",
        )  # fmt: skip
        words = "more than two" if abs(z) > 2 else "not more than two"
        detail = {**against, "two_sd_rule": words}
        yield self._finding("standard-deviations", estimate, Normal(value=z, se=1.0, df=math.inf), where, detail)
        try:
            test = compare(*counts, whole=rates.plain)
        except ProbeError as error:
            yield self._failure(("p-value",), where, error)
        else:
            detail = {
                **against, "test": test.name, "adjusted_p": min(1.0, test.p * looked_at), "adjusted_for": looked_at,
            }  # fmt: skip
            yield self._literal("p-value", test.p, where, detail, n, effective, "a p-value has no interval")
        yield self._flip(rates, g, reference, where, against)

    def _flip(
        self, rates: GroupRates, g: int, reference: int, where: Where, against: dict[str, Scalar]
    ) -> Finding | Failure:
        from steelyard.probes.stats.tests2x2 import compare, flips

        if not rates.plain:
            return self._failure(
                ("selections-to-flip",), where, "moving a selection needs unweighted independent rows: whole people"
            )
        k1, n1 = int(rates.selected[g]), int(rates.rows[g])
        k2, n2 = int(rates.selected[reference]), int(rates.rows[reference])
        least = flips(k1, n1, k2, n2, FOUR_FIFTHS)
        moved = min(2, k2, n1 - k1)
        a, b = k1 + moved, k2 - moved
        detail = dict(against)
        if moved == 2:
            ratio = (a / n1) / (b / n2) if b else math.inf
            detail["ratio_after_two"] = ratio if math.isfinite(ratio) else "infinite"
            if 0 < a + b < n1 + n2:
                detail["p_after_two"] = compare(a, n1, b, n2).p
        if 0 < least <= 2:
            detail["flip_two"] = "moving two selections would turn the four-fifths conclusion"
        elif least:
            detail["flip_two"] = "the four-fifths conclusion stands when two selections are moved"
        return self._count("selections-to-flip", least, where, detail, n1)

    def _within_strata(
        self, pair: tuple[NDArray[np.bool_], NDArray[np.bool_]], where: Where, against: dict[str, Scalar], n: int
    ) -> Rows:
        import numpy as np
        from scipy.special import ndtri

        from steelyard.probes.stats.tests2x2 import cmh

        metrics = ("common-odds-ratio", "cmh-p-value")
        try:
            strata = self._strata
            size = int(strata.max()) + 1
            counts = []
            for mine in pair:
                for rows in (mine & (self.decisions == 1), mine):
                    times = None if self.sample.reduced is None else self.sample.reduced.rows[rows]
                    counts.append(np.bincount(strata[rows], weights=times, minlength=size).astype(float))
            found = cmh(*counts)
        except ProbeError as error:
            yield self._failure(metrics, where, error)
            return
        detail = {**against, "control": self.probe.control, "strata": found.strata}
        yield self._literal("cmh-p-value", found.p, where, detail, n, None, "a p-value has no interval")
        if found.odds_ratio is None:
            yield self._failure(("common-odds-ratio",), where, "the common odds ratio is 0 or infinite: an empty cell")
            return
        reach = math.exp(float(ndtri(0.5 + self.probe.level / 2)) * found.log_se)
        ratio = found.odds_ratio
        estimate = Estimate(
            value=ratio, low=ratio / reach, high=ratio * reach, level=self.probe.level, n=n,
            method="Mantel-Haenszel, Robins-Breslow-Greenland variance of the logarithm",
        )  # fmt: skip
        basis = Normal(value=ratio, se=found.log_se, df=math.inf, scale="log")
        yield self._finding("common-odds-ratio", estimate, basis, where, detail)

    @cached_property
    def _strata(self) -> NDArray[np.int64]:
        """(n,) the stratum of each row; missing values are a stratum of their own."""
        from steelyard.probes.fairness.strata import stratify_sample

        if self.sample.weights is not None or self.sample.clusters is not None:
            raise ProbeError("the Cochran-Mantel-Haenszel test needs unweighted independent rows")
        return stratify_sample(self.sample, (self.probe.control,), self.probe.control_bins).codes

    def _scores(
        self, pair: tuple[NDArray[np.bool_], NDArray[np.bool_]], where: Where, against: dict[str, Scalar], n: int
    ) -> Finding | Failure:
        from steelyard.probes.stats.effect import cohens_d, pooled_sd
        from steelyard.probes.stats.linearised import Design

        either = pair[0] | pair[1]
        scores, first, design = self.scores[either], pair[0][either], Design.of(self.sample).take(either)  # type: ignore[index]
        try:
            measured = cohens_d(scores, first, design, level=self.probe.level)
        except ProbeError as error:
            return self._failure(("smd",), where, error)
        detail = {**against, "sd": pooled_sd(scores, first, design), "sd_of": "scores, pooled within both groups"}
        return self._finding("smd", replace(measured.estimate, n=n), measured.basis, where, detail)

    def _count(self, name: str, value: int, where: Where, detail: Mapping[str, Scalar], n: int) -> Finding:
        return self._literal(name, float(value), where, detail, n, None, "a count of these rows, read literally")

    def _literal(
        self,
        name: str,
        value: float,
        where: Where,
        detail: Mapping[str, Scalar],
        n: int,
        effective: float | None,
        why: str,
    ) -> Finding:
        """A figure that a rule reads as it stands: no error of its own, and so no interval."""
        estimate = Estimate(
            value=value, low=None, high=None, level=self.probe.level, n=n, n_effective=effective,
            method="read literally", no_interval=why,
        )  # fmt: skip
        return self._finding(name, estimate, Deviation(value=value, quantiles=EXACT), where, detail)

    def _finding(
        self, name: str, estimate: Estimate, basis: Basis | None, where: Where, detail: Mapping[str, Scalar]
    ) -> Finding:
        spec = self.probe.spec(f"{PREFIX}{name}")
        return Finding(
            metric=spec.id, target=self.target.name, estimate=estimate, definition=spec.definition,
            direction=spec.direction, ideal=spec.ideal, probe=self.probe.id, probe_version=self.probe.version,
            where=where, basis=basis, detail=detail, not_shown=spec.not_shown, reading=spec.reading,
        )  # fmt: skip

    def _failure(self, names: tuple[str, ...], where: Where, error: ProbeError | str) -> Failure:
        reason = error.message if isinstance(error, ProbeError) else error
        hint = error.hint if isinstance(error, ProbeError) else ""
        metrics = tuple(f"{PREFIX}{name}" for name in names)
        return Failure(
            probe=self.probe.id, target=self.target.name, reason=reason, hint=hint, metrics=metrics, where=where
        )
