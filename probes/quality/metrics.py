"""What every metric of `quality.performance` means, in one place."""

from __future__ import annotations

import math

from steelyard.audit.types import Direction, MetricSpec

__all__ = ["CLASS_GAINS", "METRICS", "PROBABILITY_GAINS", "PROBABILITY_METRICS", "REGRESSION_GAINS", "metric_id"]

HIGHER, LOWER, NONE = Direction.HIGHER, Direction.LOWER, Direction.NONE


def metric_id(statistic: str) -> str:
    """The full id of one of this probe's statistics."""
    return f"quality.performance.{statistic}"


def _spec(
    statistic: str, definition: str, direction: Direction, ideal: float | None, lower: float, upper: float,
    source: str = "", not_shown: str = "",
) -> MetricSpec:  # fmt: skip
    return MetricSpec(
        id=metric_id(statistic), definition=definition, direction=direction, ideal=ideal, lower=lower, upper=upper,
        source=source, not_shown=not_shown, aliases=(f"quality.{statistic}",),
    )  # fmt: skip


def _gain(statistic: str, definition: str, reach: float, source: str, not_shown: str = "") -> MetricSpec:
    text = f"{definition}; positive means the model under audit is better than the one named in `versus`"
    blind = not_shown or "Whether the gain is spread evenly over the groups."
    return _spec(f"{statistic}-gain", text, HIGHER, None, -reach, reach, source, blind)


DELONG = "DeLong et al. 1988, doi:10.2307/2531595; Sun and Xu 2014, doi:10.1109/LSP.2014.2337313"
TANGO = "Tango 1998, Statistics in Medicine 17, 891-908"
LINEAR = "linearised variance: Binder 1983, doi:10.2307/1402588"
CP = "interval: Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404"
RETRIEVAL = "van Rijsbergen 1979, Information Retrieval, chapter 7"
GOOD = "Good 1952, doi:10.1111/j.2517-6161.1952.tb00104.x"
BRIER = "Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2"

METRICS: tuple[MetricSpec, ...] = (
    _spec("accuracy", "share of rows whose decision equals the label", HIGHER, 1, 0, 1,
          CP, "Which errors are made: with one rare class, always answering the other is accurate."),
    _spec("balanced-accuracy", "mean over the classes of the share of the class's rows that are decided rightly",
          HIGHER, 1, 0, 1, "Brodersen et al. 2010, doi:10.1109/ICPR.2010.764", "What an error of each kind costs."),
    _spec("precision", "share of the rows given the class that are of it; binary: the positive class, multiclass: mean "
          "over the classes", HIGHER, 1, 0, 1, CP, "How many rows of the class are missed: see recall."),
    _spec("recall", "share of the rows of the class that are given it; binary: the positive class, multiclass: mean "
          "over the classes", HIGHER, 1, 0, 1, CP, "How many rows are given the class wrongly: see precision."),
    _spec("f1", "2 TP / (2 TP + FP + FN) of the class; binary: the positive class, multiclass: mean over the classes",
          HIGHER, 1, 0, 1, RETRIEVAL, "Anything about the true negatives."),
    _spec("auc", "P(score of a positive > score of a negative) + P(equal) / 2; multiclass: mean over the classes, each "
          "against the rest", HIGHER, 1, 0, 1, DELONG, "Whether the probabilities are right, or any threshold good."),
    _spec("log-loss", "mean of -ln p(true class), p clipped at 1e-15", LOWER, 0, 0, math.inf, GOOD,
          "Whether a high loss comes from many rows or from a few that were confidently wrong."),
    _spec("perplexity", "exp(log loss): as uncertain as a fair choice among this many classes", LOWER, 1, 1, math.inf,
          "Jelinek et al. 1977, doi:10.1121/1.2016299", "Anything that the log loss does not."),
    _spec("brier", "mean squared error of the probabilities: (p - y)^2, or the sum over the classes where there are "
          "more than two (then the range is 0 to 2)", LOWER, 0, 0, 2, BRIER, "Calibration and sharpness apart."),
    _spec("mae", "mean of |prediction - label|, in the label's unit", LOWER, 0, 0, math.inf, LINEAR,
          "The direction of the errors: see mean-error."),
    _spec("rmse", "square root of the mean of (prediction - label)^2, in the label's unit", LOWER, 0, 0, math.inf,
          LINEAR, "Whether it comes from many small errors or a few large ones."),
    _spec("r2", "1 - mean squared error / variance of the labels; 0 is as good as their mean", HIGHER, 1, -math.inf, 1,
          LINEAR, "How large the errors are in the label's unit; it changes with the spread of the labels."),
    _spec("mean-error", "mean of prediction - label, in the label's unit; positive is over-prediction", NONE, 0,
          -math.inf, math.inf, LINEAR, "The size of the errors: large ones of both signs cancel."),
    _gain("accuracy", "accuracy minus the reference's accuracy, same rows", 1, TANGO),
    _gain("auc", "AUC minus the reference's AUC, same rows", 1, DELONG),
    _gain("log-loss", "the reference's log loss minus the model's, same rows", math.inf, LINEAR),
    _gain("brier", "the reference's Brier score minus the model's, same rows", 2, LINEAR),
    _gain("mae", "the reference's mean absolute error minus the model's, same rows", math.inf, LINEAR),
)  # fmt: skip

PROBABILITY_METRICS = tuple(metric_id(name) for name in ("auc", "log-loss", "perplexity", "brier"))
PROBABILITY_GAINS = tuple(metric_id(f"{name}-gain") for name in ("auc", "log-loss", "brier"))
REGRESSION_GAINS: tuple[str, ...] = (metric_id("mae-gain"),)
CLASS_GAINS: tuple[str, ...] = (metric_id("accuracy-gain"), *PROBABILITY_GAINS)
