"""The categories of one attribute, or of two together, as New York City's rule wants them counted and laid out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import canonical_json
from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Basis, Binomial, Deviation, Estimate, Evidence, Failure, Finding, Scalar
from steelyard.probes.fairness.impact_ratios import GroupRates, ImpactRatio, group_rates, impact_ratios
from steelyard.probes.fairness.inspection import codes_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.audit.target import Sample
    from steelyard.probes.fairness.ll144 import LocalLaw144

__all__ = ["Categories"]

PREFIX = "fairness.ll144."
Where = Mapping[str, Scalar]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Categories:
    """The rows of each category of `names`: `known` (n,) marks those in one, `kept` (n,) those the ratio is taken over.

    `left_out` are the categories with too small a share of the known rows.
    """

    probe: LocalLaw144
    target: str
    sample: Sample
    names: tuple[str, ...]
    seed: int
    known: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, probe: LocalLaw144, target: str, sample: Sample, names: tuple[str, ...], seed: int) -> Categories:
        """Count the categories and decide which are too small for the ratio."""
        import numpy as np

        codes, levels = codes_of(sample, names)
        known = np.ones(len(codes), dtype=bool)
        for name in names:
            groups = sample.groups[name]
            if groups.unknown >= 0 and not groups.compare_unknown:
                known &= groups.codes != groups.unknown
        times = None if sample.reduced is None else sample.reduced.rows[known]
        rows = np.bincount(codes[known], weights=times, minlength=len(levels))
        shares = rows / max(1, rows.sum())
        few = (rows > 0) & (shares < probe.exclude_below) & probe.exclude
        return cls(
            probe=probe, target=target, sample=sample, names=names, seed=seed, known=known, kept=known & ~few[codes],
            left_out=tuple(levels[g] for g in few.nonzero()[0]),
        )  # fmt: skip

    @property
    def scope(self) -> str:
        """ "sex", or "sex*race"."""
        return "*".join(self.names)

    def unknown(self) -> Iterator[Finding]:
        """How many rows have no known category: of an attribute. That of a pair stands in its table."""
        if len(self.names) > 1:
            return
        groups = self.sample.groups[self.scope]
        count = self._unknown_rows
        # Under the group's own name, so that a report hides the count of a group that it hides.
        where: dict[str, Scalar] = {"attribute": self.scope}
        where |= {"group": groups.levels[groups.unknown]} if count else {}
        estimate = Estimate(
            value=float(count), low=None, high=None, level=self.probe.level, n=count or self.sample.n,
            method="counted", no_interval="a count of these rows, read literally",
        )  # fmt: skip
        yield self._finding("unknown", estimate, Deviation(value=float(count), quantiles=(0.0, 0.0)), where, {})

    @property
    def _unknown_rows(self) -> int:
        missing, reduced = ~self.known, self.sample.reduced
        return int(missing.sum() if reduced is None else reduced.rows[missing].sum())

    def measure(self, metrics: tuple[str, str], outcome: NDArray[np.bool_]) -> Iterator[Finding | Failure]:
        """Every category's rate, then its ratio to the highest; the first finding carries the table."""
        import numpy as np

        rate_id, ratio_id = metrics
        if not self.known.any():
            ids = tuple(f"{PREFIX}{name}" for name in metrics)
            yield self._failure(ids, self._where(), f"no row is of a known category of {self.scope}")
            return
        everyone = group_rates(self._table(np.ones_like(self.known), outcome), self.names, 1)
        ratios, reason = self._ratios(outcome)
        table = self._laid_out(metrics, everyone, ratios)
        evidence: tuple[Evidence, ...] = (Evidence(name="table", kind="json", data=canonical_json(table)),)
        for g, name in enumerate(everyone.names):
            if everyone.rows[g] == 0:
                continue
            where = self._where(name)
            yield self._rate(rate_id, everyone, g, where, evidence)
            evidence = ()
            if name in ratios:
                yield self._ratio(ratio_id, ratios[name], where, table["highest"])
        if self.left_out:
            reason = reason or (
                f"left out of the impact ratio, with less than {100 * self.probe.exclude_below:g} % of the rows each:"
                f" {', '.join(self.left_out)}; {self.probe.justification}"
            )
        if reason:
            yield self._failure((f"{PREFIX}{ratio_id}",), self._where(), reason)

    def _table(self, rows: NDArray[np.bool_], outcome: NDArray[np.bool_]) -> Any:
        from steelyard.probes.stats.cells import table_of_cells
        from steelyard.probes.stats.table import CountTable

        sample = self.sample
        if sample.reduced is not None:
            return table_of_cells(sample, outcome, names=self.names, keep=rows, labelled=False)
        return CountTable.from_rows(
            {name: replace(sample.groups[name], codes=sample.groups[name].codes[rows]) for name in self.names},
            None,
            outcome[rows],
            weights=None if sample.weights is None else sample.weights[rows],
            clusters=None if sample.clusters is None else sample.clusters[rows],
        )

    def _ratios(self, outcome: NDArray[np.bool_]) -> tuple[dict[str, ImpactRatio], str]:
        """The impact ratios by category, or why there is none."""
        if not self.kept.any():
            return {}, f"every category of {self.scope} has less than {100 * self.probe.exclude_below:g} % of the rows"
        table = self._table(self.kept, outcome)
        rates = group_rates(table, self.names, 1)
        try:
            found = impact_ratios(
                table, self.names, rates, min_n=1, level=self.probe.level, draws=self.probe.draws, seed=self.seed
            )
        except ProbeError as error:
            return {}, error.message
        return {ratio.group: ratio for ratio in found}, ""

    def _where(self, group: str = "") -> dict[str, Scalar]:
        where: dict[str, Scalar] = {"attribute" if len(self.names) == 1 else "intersection": self.scope}
        return {**where, "group": group} if group else where

    def _rate(self, name: str, rates: GroupRates, g: int, where: Where, evidence: tuple[Evidence, ...]) -> Finding:
        from steelyard.probes.stats.intervals import clopper_pearson

        k, n, p = float(rates.k[g]), float(rates.n[g]), float(rates.p[g])
        low, high = (float(x) for x in clopper_pearson(k, n, self.probe.level))
        estimate = Estimate(
            value=p, low=min(low, p), high=max(high, p), level=self.probe.level, n=int(rates.rows[g]),
            n_effective=None if rates.plain else n, method="Clopper-Pearson, each category on its own",
        )  # fmt: skip
        detail: dict[str, Scalar] = {"unknown": True} if rates.unknown[g] else {}
        if rates.names[g] in self.left_out:
            detail["excluded"] = "from the impact ratio"
        return self._finding(name, estimate, Binomial(successes=k, trials=n), where, detail, evidence)

    def _ratio(self, name: str, ratio: ImpactRatio, where: Where, highest: str) -> Finding:
        detail: dict[str, Scalar] = {"highest": highest}
        if ratio.estimate.n < self.sample.min_n:
            detail["few_rows"] = "the rule wants the ratio all the same"
        return self._finding(name, ratio.estimate, ratio.basis, where, detail)

    def _laid_out(
        self, metrics: tuple[str, str], rates: GroupRates, ratios: Mapping[str, ImpactRatio]
    ) -> dict[str, Any]:
        """The table of the rule: a row for each category, with the interval of the ratio in a column of its own.

        `relative` are the columns that tell of the category in `highest`, `totals` notes that tell of all categories
        together: a report that hides a category needs to know.
        """
        selection = metrics[0] == "selection-rate"
        highest = next((r.group for r in ratios.values() if r.estimate.value == 1.0), "")
        head = [{"name": name, "kind": "text"} for name in self.names] + [{"name": "# of applicants", "kind": "count"}]
        head += [{"name": "# selected", "kind": "count"}] if selection else []
        head += [{"name": "Selection rate" if selection else "Scoring rate", "kind": "share"}]
        relative = [len(head), len(head) + 1]
        head += [
            {"name": "Impact ratio", "kind": "ratio"},
            {"name": f"{100 * self.probe.level:g} % interval of the ratio", "kind": "interval"},
        ]
        rows = []
        for g, labels in self._labels(rates):
            ratio = ratios.get(rates.names[g])
            cells: list[Any] = [*labels, int(rates.rows[g])]
            cells += [int(rates.selected[g])] if selection else []
            cells += [float(rates.p[g])]
            cells += (
                [None, None] if ratio is None else [ratio.estimate.value, [ratio.estimate.low, ratio.estimate.high]]
            )
            rows.append({"group": rates.names[g], "cells": cells})
        what = " × ".join(self.names)
        title = f"{'Selection rates' if selection else 'Scoring rates'} and impact ratios by {what}"
        return {
            "title": title, "scope": self.scope, "columns": head, "rows": rows, "highest": highest,
            "relative": relative, "notes": self._notes(), "totals": [self._unknown_words(what)],
        }  # fmt: skip

    def _labels(self, rates: GroupRates) -> list[tuple[int, tuple[str, ...]]]:
        """Which categories have a row, with a label for each attribute, in the order of their levels."""
        import numpy as np

        levels = codes_of(self.sample, self.names)[1]
        sizes = [len(self.sample.groups[name].levels) for name in self.names]
        index = {name: code for code, name in enumerate(levels)}
        found = []
        for g, name in enumerate(rates.names):
            if rates.rows[g] > 0 and not rates.unknown[g]:
                each = np.unravel_index(index[name], sizes)
                labels = tuple(self.sample.groups[a].levels[int(c)] for a, c in zip(self.names, each, strict=True))
                found.append((g, labels))
        return found

    def _notes(self) -> list[str]:
        notes = []
        if self.left_out:
            share = f"{100 * self.probe.exclude_below:g} %"
            notes.append(
                f"Categories with less than {share} of the data are left out of the impact ratio (–), also as the"
                f" highest: {self.probe.justification}"
            )
        if self.sample.weights is not None:
            notes.append("Rates are weighted; counts are of rows")
        return notes

    def _unknown_words(self, what: str) -> str:
        count = self._unknown_rows
        people = "1 individual" if count == 1 else f"{count:,} individuals"
        return f"Data on {people} with an unknown {what} category are not in the figures above"

    def _finding(
        self, name: str, estimate: Estimate, basis: Basis | None, where: Where, detail: Mapping[str, Scalar],
        evidence: tuple[Evidence, ...] = (),
    ) -> Finding:  # fmt: skip
        spec = self.probe.spec(f"{PREFIX}{name}")
        return Finding(
            metric=spec.id, target=self.target, estimate=estimate, definition=spec.definition,
            direction=spec.direction, ideal=spec.ideal, probe=self.probe.id, probe_version=self.probe.version,
            where=where, basis=basis, detail=detail, evidence=evidence, not_shown=spec.not_shown, reading=spec.reading,
        )  # fmt: skip

    def _failure(self, metrics: tuple[str, ...], where: Where, reason: str) -> Failure:
        return Failure(probe=self.probe.id, target=self.target, reason=reason, metrics=metrics, where=where)
