"""What other libraries call our metrics, and where the same word means another number.

Read in the sources of Fairlearn 0.15, AIF360 0.6.1 (`aif360.metrics`), OxonFair 0.3 (`oxonfair.utils.group_metrics`,
here `gm`), holisticai 1.0.14 (`holisticai.bias.metrics`) and scikit-learn, and computed side by side once on simulated
decisions. `docs/definitions.md` explains each disagreement; a test computes those of Fairlearn and scikit-learn that
are said to be the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["DICTIONARY", "LIBRARIES", "TWO", "Library", "Namesake", "namesakes"]

Library = Literal["Fairlearn", "AIF360", "OxonFair", "holisticai", "scikit-learn"]
LIBRARIES: tuple[Library, ...] = ("Fairlearn", "AIF360", "OxonFair", "holisticai", "scikit-learn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Namesake:
    """A library's name for a metric. `differs` says how its number differs; empty, or `TWO`: it is the same."""

    library: Library
    name: str
    differs: str = ""


SIGNED = "signed, unprivileged − privileged, of two groups"
SIGNED_AB = "signed, group_a − group_b"
MEAN_PAIR = "mean over all pairs of groups, not the widest"
TWO = "of two groups only"
ITSELF = "a row is its own nearest neighbour there; here it is not"

# rate: (Fairlearn or scikit-learn's function, AIF360's method, OxonFair's metric, holisticai's difference)
_RATES: dict[str, tuple[str, str, str, str]] = {
    "tpr": ("true_positive_rate", "true_positive_rate", "true_pos_rate", "equal_opportunity_diff"),
    "fpr": ("false_positive_rate", "false_positive_rate", "false_pos_rate", "false_positive_rate_diff"),
    "fnr": ("false_negative_rate", "false_negative_rate", "false_neg_rate", "false_negative_rate_diff"),
    "ppv": ("precision_score", "positive_predictive_value", "pos_pred_val", ""),
    "npv": ("", "negative_predictive_value", "neg_pred_val", ""),
    "accuracy": ("accuracy_score", "accuracy", "accuracy", "accuracy_diff"),
}
_OWN_DIFFERENCE = frozenset({"tpr", "fpr", "fnr"})  # rates of which AIF360 has `…_difference`
_OWN_RATIO = frozenset({"fpr", "fnr"})  # … and `…_ratio`


def _frame(function: str, then: str) -> str:
    return f"MetricFrame(metrics={function}).{then}"


def _some(library: Library, name: str, differs: str = "") -> tuple[Namesake, ...]:
    return (Namesake(library=library, name=name, differs=differs),) if name else ()


def _rate(rate: str) -> dict[str, tuple[Namesake, ...]]:
    """The entries of one error rate: of each group, its difference and ratio, and those to the reference group."""
    theirs, aif, oxon, holistic = _RATES[rate]
    prefix = f"fairness.error-rates.{rate}"
    aif_difference = f"ClassificationMetric.{aif}_difference()" if rate in _OWN_DIFFERENCE else ""
    aif_ratio = f"ClassificationMetric.{aif}_ratio()" if rate in _OWN_RATIO else ""
    return {
        prefix: (
            *_some("Fairlearn", _frame(theirs, "by_group") if theirs else ""),
            *_some("AIF360", f"ClassificationMetric.{aif}(privileged=…)", TWO),
            *_some("OxonFair", f"gm.{oxon}.per_group"),
        ),
        f"{prefix}-difference": (
            *_some("Fairlearn", _frame(theirs, "difference()") if theirs else ""),
            *_some("OxonFair", f"gm.{oxon}.max_diff"),
            *_some("OxonFair", f"gm.{oxon}.diff", MEAN_PAIR),
            *_some("holisticai", holistic, SIGNED_AB if holistic else ""),
        ),
        f"{prefix}-ratio": (
            *_some("Fairlearn", _frame(theirs, "ratio()") if theirs else ""),
            *_some("OxonFair", f"gm.{oxon}.min_ratio"),
            *_some("OxonFair", f"gm.{oxon}.ratio", MEAN_PAIR),
        ),
        f"{prefix}-mean-pair-difference": _some("OxonFair", f"gm.{oxon}.diff"),
        f"{prefix}-mean-pair-ratio": _some("OxonFair", f"gm.{oxon}.ratio"),
        f"{prefix}-difference-to-reference": _some("AIF360", aif_difference, SIGNED),
        f"{prefix}-ratio-to-reference": _some("AIF360", aif_ratio, TWO),
    }


def _between(metric: str, function: str) -> dict[str, tuple[Namesake, ...]]:
    """A function of scikit-learn or Fairlearn by group, and its difference."""
    return {
        metric: _some("Fairlearn", _frame(function, "by_group")),
        f"{metric}-difference": _some("Fairlearn", _frame(function, "difference()")),
    }


_SELECTION: dict[str, tuple[Namesake, ...]] = {
    "fairness.selection-rate.rate": (
        *_some("Fairlearn", _frame("selection_rate", "by_group")),
        *_some("AIF360", "ClassificationMetric.selection_rate(privileged=…)", TWO),
        *_some("OxonFair", "gm.pos_pred_rate.per_group"),
        *_some("holisticai", "success_rate", TWO),
    ),
    "fairness.selection-rate.difference": (
        *_some("Fairlearn", "demographic_parity_difference"),
        *_some("OxonFair", "gm.pos_pred_rate.max_diff"),
        *_some("OxonFair", "gm.demographic_parity, gm.statistical_parity", MEAN_PAIR),
        *_some("AIF360", "ClassificationMetric.statistical_parity_difference()", SIGNED),
        *_some("holisticai", "statistical_parity", SIGNED_AB),
    ),
    "fairness.selection-rate.ratio": (
        *_some("Fairlearn", "demographic_parity_ratio"),
        *_some("OxonFair", "gm.pos_pred_rate.min_ratio"),
        *_some("OxonFair", "gm.disparate_impact", MEAN_PAIR),
        *_some("AIF360", "ClassificationMetric.disparate_impact()", "unprivileged ÷ privileged: can exceed 1"),
        *_some("holisticai", "four_fifths", TWO),
        *_some("holisticai", "disparate_impact", "group_a ÷ group_b: can exceed 1"),
    ),
    "fairness.selection-rate.mean-pair-difference": _some(
        "OxonFair", "gm.pos_pred_rate.diff, gm.demographic_parity, gm.statistical_parity"
    ),
    "fairness.selection-rate.mean-pair-ratio": _some("OxonFair", "gm.pos_pred_rate.ratio, gm.disparate_impact"),
    "fairness.selection-rate.difference-to-reference": (
        *_some("AIF360", "ClassificationMetric.statistical_parity_difference()", SIGNED),
    ),
    "fairness.selection-rate.ratio-to-reference": (*_some("AIF360", "ClassificationMetric.disparate_impact()", TWO),),
    "fairness.selection-rate.difference-to-rest": (
        *_some("AIF360", "one_vs_rest(statistical_parity_difference)", "signed, rest − group, one for each group"),
        *_some("Fairlearn", 'demographic_parity_difference(method="to_overall")', "overall includes the group itself"),
    ),
}

_ODDS: dict[str, tuple[Namesake, ...]] = {
    "fairness.error-rates.equalized-odds-difference": (
        *_some("Fairlearn", "equalized_odds_difference"),
        *_some("Fairlearn", 'equalized_odds_difference(agg="mean")', "mean of the TPR and the FPR difference"),
        *_some("AIF360", "ClassificationMetric.average_odds_difference()", "signed mean of both: they can cancel"),
        *_some("AIF360", "ClassificationMetric.average_abs_odds_difference()", "mean of both, not the larger"),
        *_some("OxonFair", "gm.equalized_odds", "mean of both, each a " + MEAN_PAIR),
        *_some("holisticai", "average_odds_diff", "signed mean of both: they can cancel"),
    ),
    "fairness.error-rates.equalized-odds-ratio": _some("Fairlearn", "equalized_odds_ratio"),
    "fairness.error-rates.equal-opportunity-difference": (
        *_some("Fairlearn", "equal_opportunity_difference"),
        *_some("OxonFair", "gm.recall.max_diff"),
        *_some("OxonFair", "gm.equal_opportunity", MEAN_PAIR),
        *_some("AIF360", "ClassificationMetric.equal_opportunity_difference()", SIGNED),
        *_some("holisticai", "equal_opportunity_diff", SIGNED_AB),
    ),
}

_OTHERS: dict[str, tuple[Namesake, ...]] = {
    **_between("fairness.scores.auc", "roc_auc_score"),
    **_between("fairness.scores.brier", "brier_score_loss"),
    **_between("fairness.scores.mean-score", "mean_prediction"),
    "fairness.scores.abroca": _some("holisticai", "abroca", "the difference of two AUCs: 0 where curves cross evenly"),
    **_between("fairness.regression.mean-prediction", "mean_prediction"),
    "fairness.regression.wasserstein": _some(
        "holisticai", "max_statistical_parity", "the largest vertical distance of the two distributions, not the area"
    ),
    **_between("fairness.regression.mae", "mean_absolute_error"),
    **_between("fairness.regression.rmse", "root_mean_squared_error"),
    "fairness.adverse-impact.ratio": (
        *_some("Fairlearn", "demographic_parity_ratio"),
        *_some("holisticai", "four_fifths", TWO),
    ),
    "fairness.adverse-impact.standard-deviations": _some("holisticai", "z_test_diff", TWO),
    "fairness.adverse-impact.smd": _some(
        "holisticai", "zscore_diff", "signed the other way round; n − 1 over biased SDs"
    ),
    "fairness.conditional.worst-stratum-difference": _some(
        "Fairlearn", "MetricFrame(…, control_features=…).difference().max()", "strata of any size take part"
    ),
    "fairness.multiclass.worst-selection-rate-difference": _some(
        "holisticai", "multiclass_statistical_parity", "half the sum over classes, " + MEAN_PAIR
    ),
    "fairness.individual.consistency": (
        *_some("AIF360", "BinaryLabelDatasetMetric.consistency()", ITSELF),
        *_some("holisticai", "consistency_score", ITSELF),
    ),
    "fairness.subgroups.weighted-gap": _some(
        "AIF360", "BinaryLabelDatasetMetric.rich_subgroup()", "over linear thresholds, on the rows it was found on"
    ),
}

_INEQUALITY: dict[str, tuple[Namesake, ...]] = {
    "fairness.inequality.generalized-entropy": (
        *_some("AIF360", "ClassificationMetric.generalized_entropy_index(alpha=2)"),
        *_some("OxonFair", "gm.gen_entropy"),
        *_some("holisticai", "generalized_entropy_index(alpha=2)"),
    ),
    "fairness.inequality.theil": (
        *_some("AIF360", "ClassificationMetric.theil_index()"),
        *_some("holisticai", "theil_index"),
    ),
    "fairness.inequality.between-group": _some(
        "AIF360", "ClassificationMetric.between_all_groups_generalized_entropy_index()"
    ),
    "fairness.inequality.error-ratio": _some("OxonFair", "gm.error_ratio.per_group", "FP ÷ FN, upside down"),
    "fairness.inequality.treatment-equality": _some(
        "OxonFair", "gm.treatment_equality", "a difference of FP ÷ FN, " + MEAN_PAIR
    ),
}

_QUALITY: dict[str, tuple[Namesake, ...]] = {
    f"quality.performance.{ours}": _some("scikit-learn", theirs)
    for ours, theirs in {
        "accuracy": "accuracy_score",
        "balanced-accuracy": "balanced_accuracy_score",
        "precision": "precision_score",
        "recall": "recall_score",
        "f1": "f1_score",
        "auc": "roc_auc_score",
        "log-loss": "log_loss",
        "brier": "brier_score_loss",
        "mae": "mean_absolute_error",
        "rmse": "root_mean_squared_error",
        "r2": "r2_score",
    }.items()
}

DICTIONARY: Mapping[str, tuple[Namesake, ...]] = {
    **_QUALITY,
    **_SELECTION,
    **{metric: names for rate in _RATES for metric, names in _rate(rate).items() if names},
    **_ODDS,
    **_OTHERS,
    **_INEQUALITY,
}


def namesakes(metric: str) -> tuple[Namesake, ...]:
    """What other libraries call a metric id, those with the same number first; empty where none has it."""
    return tuple(
        sorted(DICTIONARY.get(metric, ()), key=lambda name: (bool(name.differs), LIBRARIES.index(name.library)))
    )
