"""The grid of a deviation's bounds: small p-values where they are earned, none where draws end."""

from __future__ import annotations

import numpy as np
import pytest

from steelyard.audit.canonical import to_plain
from steelyard.audit.types import Deviation, Normal
from steelyard.probes.stats.claims import claim, interval
from steelyard.probes.stats.grid import GRID, HALVINGS, confidences, drawn, of_bounds, of_errors, tail
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.means import unseen
from steelyard.probes.stats.multiplicity import holm
from steelyard.probes.stats.pvalue_curve import from_claims, from_limits


def test_the_confidences_halve_what_is_left() -> None:
    assert tail()[:2] == pytest.approx([1 - 0.0025, 1 - 0.00125], abs=1e-15)
    assert len(confidences(0.9)) == GRID + HALVINGS + 1
    assert confidences(0.9)[-1] == 0.9


@pytest.mark.parametrize("draws", [1000, 2000, 5000])
def test_draws_never_prove_more_than_their_number_allows(draws: int) -> None:
    basis = of_errors(10.0, np.arange(1.0, draws + 1))
    for distance in [*np.arange(0.5, draws, max(draws // 400, 1)), draws - 0.5, draws + 0.5, 10.0 * draws]:
        reached = draws - int(np.floor(distance))
        exact = (1 + max(reached, 0)) / (draws + 1)
        told = claim(basis, maximum=10.0 - distance).fail_p
        assert told >= exact * (1 - 1e-12) if exact < 0.0099 else told >= exact - 0.006  # an even step is .005


def test_a_plain_failure_stands_among_many_gates() -> None:
    basis = of_errors(0.5, np.abs(np.random.default_rng(0).normal(0, 0.01, 2000)))
    p = claim(basis, maximum=0.1).fail_p
    assert holm([p, *[1.0] * 49])[0] <= 0.05
    without = Deviation(value=0.5, quantiles=basis.quantiles)
    assert holm([claim(without, maximum=0.1).fail_p, *[1.0] * 49])[0] > 0.05  # what the even steps alone would say


def test_an_exact_bound_keeps_its_p_value_to_a_factor_of_two() -> None:
    """n rows of which none differs: P(all agree | a share d differs) = (1 - d)^n."""
    design = Design(n=300)
    basis = unseen(1.0, 1.0, 300.0, design, level=0.95, lower=0.0, upper=1.0).basis
    assert isinstance(basis, Deviation)
    for share in (0.01, 0.02, 0.03, 0.04):
        exact = (1 - share) ** 300
        assert exact <= claim(basis, minimum=1 - share).pass_p <= max(2 * exact, exact + 0.011)


def test_limits_and_claims_give_the_same_tail() -> None:
    from scipy.special import ndtr, ndtri

    level = confidences(0.95)[:-1]
    limits = from_limits(5.0, 5.0 - ndtri((1 + level) / 2), 5.0 + ndtri((1 + level) / 2))
    assert len(limits.tail) == HALVINGS
    claims = from_claims(5.0, lambda x: float(2 * ndtr(-x)), lambda x: float(2 * ndtr(-x)), lower=0.0, upper=10.0)
    for distance in (1.0, 2.0, 3.0, 4.0, 4.8):
        exact = 2 * ndtr(-distance)
        near = claim(limits, maximum=5.0 - distance).fail_p
        assert exact - 1e-12 <= near <= max(2.01 * exact, exact + 0.011)
        assert exact - 1e-12 <= claim(claims, maximum=5.0 - distance).fail_p <= max(8 * exact, exact + 0.03)


def test_the_tail_ends_where_nothing_is_known() -> None:
    found = drawn(np.arange(2000.0), 0.95)
    assert np.isinf(found[GRID:-1]).sum() == HALVINGS - 3  # 2^-3 / 200 of 2,001 is the last that is one draw or more
    assert len(of_bounds(1.0, found[:-1]).tail) == 3


def test_intervals_widen_along_the_tail() -> None:
    basis = of_errors(0.0, np.abs(np.random.default_rng(1).normal(size=5000)))
    reach = [interval(basis, level)[1] for level in (0.95, 0.995, 0.9975, 0.998, 0.999, 0.9999)]
    assert reach == sorted(reach)
    assert reach[2] < reach[-1]


def test_what_came_later_is_written_only_where_it_says_something() -> None:
    """Records from before the tail and the skewness keep their digests."""
    assert to_plain(Deviation(value=0.0, quantiles=(0.0, 0.0))) == {
        "value": 0,
        "quantiles": [0, 0],
        "kind": "deviation",
    }
    assert "skew" not in to_plain(Normal(value=0.5, se=0.1, df=9.0))
    assert to_plain(Normal(value=0.5, se=0.1, df=9.0, skew=0.2))["skew"] == 0.2
    assert to_plain(of_errors(0.5, np.arange(2000.0)))["tail"] == [1995, 1998, 1999]


@pytest.mark.parametrize("draws", [7, 200, 1000, 1999, 2000])
def test_the_even_bounds_are_numpys_upper_quantiles(draws: int) -> None:
    errors = np.abs(np.random.default_rng(draws).normal(size=(draws, 3)))
    even = np.quantile(errors, confidences(0.95)[:GRID], axis=0, method="higher")
    np.testing.assert_array_equal(drawn(errors, 0.95)[:GRID], even)
    np.testing.assert_array_equal(drawn(errors, 0.95)[-1], np.quantile(errors, 0.95, axis=0, method="higher"))
