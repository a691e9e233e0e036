"""How do the rates of groups differ within strata? Mantel and Haenszel's pooling, for any number of groups.

Cells are (stratum s, group g) with n_sg rows and k_sg events. For a pair (a, b), w_s = n_sa n_sb / (n_sa + n_sb); the
pooled difference is Σ w_s (p_sa − p_sb) / Σ w_s and the ratio Σ w_s p_sa / Σ w_s p_sb. Both are linear in the cells'
rates to first order, with coefficients c, so that all pairs have the joint covariance C' V C, V the covariance of the
rates given the cells' sizes: p(1 − p) / (n − 1) apart, or from sums of residuals within clusters and weights.
For independent rows of equal weight each variance is then scaled to that of Sato 1989, Biometrics 45, 1323-1324
(difference), or of Greenland and Robins 1985, doi:10.2307/2530643 (log ratio): those hold in sparse strata as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import ProbeError
from steelyard.probes.stats.counted import CountedDesign
from steelyard.probes.stats.linearised import Design, effective_trials

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Pooled", "Stratified", "WithinStrata"]

MAX_PAIRWISE = 20  # above this many groups there are too many pairs to say anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """`values` (pairs,) signed, first − second of each pair, and their `covariance` (pairs, pairs)."""

    values: NDArray[np.float64]
    covariance: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class WithinStrata:
    """Every contrast p_sa − p_sb: `values` (m,), the (s, a, b) of each, and `errors` (draws,), the largest |error|."""

    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    where: tuple[tuple[int, int, int], ...]
    rows: int
    strata_left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratified:
    """Counts `n`, `k` (strata, groups), weighted where rows are; `rows` unweighted; `v` (cells, cells) of the rates."""

    n: NDArray[np.float64]
    k: NDArray[np.float64]
    rows: NDArray[np.int64]
    trials: NDArray[np.float64]
    v: Any
    pairs: tuple[tuple[int, int], ...]
    design: Design
    df: float

    @classmethod
    def of(
        cls,
        strata_codes: NDArray[np.int64],
        group_codes: NDArray[np.int64],
        hits: NDArray[np.bool_],
        design: Design,
        *,
        levels: tuple[int, ...],
        strata: int,
    ) -> Stratified:
        """Count `hits` (n,) of the groups `levels`; other rows are left out. ProbeError with over 20 groups."""
        import numpy as np

        if len(levels) > MAX_PAIRWISE:
            raise ProbeError(f"{len(levels)} groups are too many to compare in pairs", hint=f"at most {MAX_PAIRWISE}")
        place = np.full(int(group_codes.max()) + 1, -1)
        place[list(levels)] = np.arange(len(levels))
        mine = place[group_codes]
        keep = mine >= 0
        cell = strata_codes[keep] * len(levels) + mine[keep]
        inner, hit = design.take(keep), hits[keep]
        weights = inner.mass
        size, shape = strata * len(levels), (strata, len(levels))
        n: NDArray[np.float64] = np.bincount(cell, weights=weights, minlength=size).astype(np.float64)
        k: NDArray[np.float64] = np.bincount(cell, weights=weights * hit, minlength=size).astype(np.float64)
        times = inner.rows if isinstance(inner, CountedDesign) else None
        rows: NDArray[np.int64] = np.bincount(cell, weights=times, minlength=size).astype(np.int64)
        p = np.divide(k, n, out=np.zeros(size), where=n > 0)
        v = _covariance(cell, inner.root * (hit - p[cell]) / n[cell], rows, inner)
        return cls(
            n=n.reshape(shape), k=k.reshape(shape), rows=rows.reshape(shape),
            trials=_trials(cell, hit, n, rows, inner).reshape(shape), v=v,
            pairs=tuple(combinations(range(len(levels)), 2)), design=inner,
            df=float("inf") if inner.plain else inner.units - 1.0,
        )  # fmt: skip

    @property
    def kish(self) -> float | None:
        """Kish's n under weights or clusters, else None."""
        return None if self.design.plain else self.design.kish

    @property
    def rows_compared(self) -> int:
        """Rows in strata where at least two groups occur."""
        return int(self.rows[(self.rows > 0).sum(axis=1) >= 2].sum())

    def variance_name(self, plain: str) -> str:
        """How the variance is called: by its author for independent rows, else as what it is."""
        return f"{plain} variance" if self.design.plain else "linearised variance"

    def _weights(self) -> NDArray[np.float64]:
        """w (pairs, strata); ProbeError where a pair shares no stratum."""
        import numpy as np

        a, b = (np.array(side) for side in zip(*self.pairs, strict=True))
        together = self.n[:, a] + self.n[:, b]
        w: NDArray[np.float64] = np.divide(
            self.n[:, a] * self.n[:, b], together, out=np.zeros_like(together), where=together > 0
        ).T
        if (w.sum(axis=1) <= 0).any():
            raise ProbeError(
                "two of the groups share no stratum of the controls", hint="name fewer or coarser controls"
            )
        return w

    def strata_of(self, pair: int) -> int:
        """In how many strata the two groups of a pair both occur."""
        return int((self._weights()[pair] > 0).sum())

    def _rates(self) -> NDArray[np.float64]:
        import numpy as np

        return np.divide(self.k, self.n, out=np.zeros_like(self.n), where=self.n > 0)

    def _spread(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        """C' V C for coefficients `first` and `second` (pairs, strata) on the rates of the two groups of each pair."""
        import numpy as np

        strata, groups = self.n.shape
        c = np.zeros((len(self.pairs), strata, groups))
        for j, (a, b) in enumerate(self.pairs):
            c[j, :, a], c[j, :, b] = first[j], -second[j]
        flat = c.reshape(len(self.pairs), -1)
        spread: NDArray[np.float64] = flat @ (self.v @ flat.T)
        return (spread + spread.T) / 2

    def differences(self) -> Pooled:
        """The pooled differences. ProbeError where a pair shares no stratum or nothing varies."""
        import numpy as np

        w, p = self._weights(), self._rates()
        a, b = (np.array(side) for side in zip(*self.pairs, strict=True))
        total = w.sum(axis=1)
        values = (w * (p[:, a] - p[:, b]).T).sum(axis=1) / total
        share = w / total[:, None]
        covariance = self._spread(share, share)
        if self.design.plain:
            covariance = _scaled(covariance, self._sato(values, total))
        if covariance.diagonal().max() <= 0:
            raise ProbeError("every stratum decides all its rows alike, so no rate varies within one")
        return Pooled(values=values, covariance=covariance)

    def log_ratios(self) -> Pooled:
        """The logarithms of the pooled ratios. ProbeError where a group has no event in shared strata."""
        import numpy as np

        w, p = self._weights(), self._rates()
        a, b = (np.array(side) for side in zip(*self.pairs, strict=True))
        r, s = (w * p[:, a].T).sum(axis=1), (w * p[:, b].T).sum(axis=1)
        if (np.minimum(r, s) <= 0).any():
            raise ProbeError(
                "a group has no favourable decision in the shared strata, so the ratio's logarithm has no spread",
                hint="the difference is measured all the same",
            )
        covariance = self._spread(w / r[:, None], w / s[:, None])
        if self.design.plain:
            covariance = _scaled(covariance, self._greenland_robins(r, s))
        if covariance.diagonal().max() <= 0:
            raise ProbeError("every stratum decides all its rows alike, so no rate varies within one")
        return Pooled(values=np.log(r / s), covariance=covariance)

    def _tables(self) -> tuple[Any, Any, Any, Any, Any]:
        """n1, n0, k1, k0 and N of each pair (pairs, strata); N is at least 1."""
        import numpy as np

        a, b = (np.array(side) for side in zip(*self.pairs, strict=True))
        n1, n0, k1, k0 = self.n[:, a].T, self.n[:, b].T, self.k[:, a].T, self.k[:, b].T
        both = (n1 > 0) & (n0 > 0)  # a stratum with one of the two says nothing
        n1, n0, k1, k0 = (np.where(both, x, 0.0) for x in (n1, n0, k1, k0))
        return n1, n0, k1, k0, np.maximum(n1 + n0, 1.0)

    def _sato(self, values: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
        n1, n0, k1, k0, n = self._tables()
        p = (n1**2 * k0 - n0**2 * k1 + n1 * n0 * (n0 - n1) / 2) / n**2
        q = (k1 * (n0 - k0) + k0 * (n1 - k1)) / (2 * n)
        found: NDArray[np.float64] = (values * p.sum(axis=1) + q.sum(axis=1)) / total**2
        return found

    def _greenland_robins(self, r: NDArray[np.float64], s: NDArray[np.float64]) -> NDArray[np.float64]:
        n1, n0, k1, k0, n = self._tables()
        found: NDArray[np.float64] = ((n1 * n0 * (k1 + k0) - k1 * k0 * n) / n**2).sum(axis=1) / (r * s)
        return found

    def cmh(self, pair: int) -> tuple[float, float] | None:
        """(χ², p) of Cochran, Mantel and Haenszel for a pair, 1 degree of freedom, no continuity correction.

        None under weights or clusters, for which it is not made, and where no stratum varies.
        Mantel and Haenszel 1959, doi:10.1093/jnci/22.4.719.
        """
        import numpy as np
        from scipy.special import chdtrc

        if not self.design.plain:
            return None
        n1, n0, k1, k0, n = (x[pair] for x in self._tables())
        m = k1 + k0
        variance = np.divide(n1 * n0 * m * (n - m), n**2 * (n - 1), out=np.zeros_like(n), where=n > 1).sum()
        if variance <= 0:
            return None
        statistic = float((k1 - n1 * m / n).sum() ** 2 / variance)
        return statistic, float(chdtrc(1, statistic))

    def within_strata(self, min_n: int, draws: int, rng: Generator) -> WithinStrata:
        """All contrasts within strata of groups with `min_n` rows there. ProbeError where there is none.

        The errors are those of binomial counts drawn at (k + ½) / (n + 1), effective n under weights and clusters.
        """
        import numpy as np

        where = [
            (s, a, b)
            for s in range(len(self.n))
            for a, b in self.pairs
            if self.rows[s, a] >= min_n and self.rows[s, b] >= min_n
        ]
        if not where:
            raise ProbeError(f"no stratum has two groups of {min_n} rows", hint="name fewer or coarser controls")
        cells = sorted({(s, g) for s, a, b in where for g in (a, b)})
        at = {cell: i for i, cell in enumerate(cells)}
        s, g = (np.array(side) for side in zip(*cells, strict=True))
        p, trials = self._rates()[s, g], self.trials[s, g]
        whole = np.maximum(np.floor(trials + 1e-9), 1).astype(np.int64)
        centre = (p * trials + 0.5) / (trials + 1)
        off = rng.binomial(whole, centre, size=(draws, len(cells))) / whole - centre
        first = np.array([at[s, a] for s, a, _ in where])
        second = np.array([at[s, b] for s, _, b in where])
        left = sum(1 for row in self.rows if (row > 0).sum() >= 2) - len({s for s, _, _ in where})
        return WithinStrata(
            values=p[first] - p[second],
            errors=np.abs(off[:, first] - off[:, second]).max(axis=1),
            where=tuple(where),
            rows=int(self.rows[s, g].sum()),
            strata_left_out=left,
        )


def _covariance(cell: NDArray[np.int64], residual: NDArray[np.float64], rows: NDArray[np.int64], design: Design) -> Any:
    """(cells, cells) covariance of the rates, from rows' weighted residuals over their cell's total weight."""
    import numpy as np
    from scipy import sparse

    size = len(rows)
    if design.clusters is None:
        own = np.bincount(cell, weights=residual**2, minlength=size)
        return sparse.diags(own * np.divide(rows, rows - 1, out=np.zeros(size), where=rows > 1))
    unit = np.unique(design.clusters, return_inverse=True)[1]
    units = int(unit.max()) + 1
    if units < 2:
        raise ProbeError("only one cluster: its spread cannot be estimated")
    sums = sparse.coo_matrix((residual, (unit, cell)), shape=(units, size)).tocsr()
    return (sums.T @ sums) * (units / (units - 1))


def _trials(
    cell: NDArray[np.int64],
    hits: NDArray[np.bool_],
    n: NDArray[np.float64],
    rows: NDArray[np.int64],
    design: Design,
) -> NDArray[np.float64]:
    """Effective rows of each cell: its rows, or what they are worth under weights and clusters."""
    import numpy as np

    if design.plain:
        return rows.astype(np.float64)
    order = np.argsort(cell, kind="stable")
    stops = np.cumsum(rows)
    found = np.zeros(len(rows))
    for i in np.flatnonzero(rows):
        mine = order[stops[i] - rows[i] : stops[i]]
        found[i] = effective_trials(hits[mine], design.take(mine))
    return found


def _scaled(covariance: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same correlations with other variances, never smaller ones; a pair without a variance stands alone."""
    import numpy as np

    own = covariance.diagonal()
    wanted = np.maximum(variance, own)
    factor = np.sqrt(np.divide(wanted, own, out=np.zeros_like(own), where=own > 0))
    scaled: NDArray[np.float64] = covariance * np.outer(factor, factor)
    np.fill_diagonal(scaled, wanted)
    return scaled
