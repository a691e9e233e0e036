"""Train the demo's candidate: what a team would bring. Any scikit-learn model saved with skops will do."""

from __future__ import annotations

from pathlib import Path

import skops.io
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from steelyard.models.data.bundled import load_bundled

NUMBERS = ["age", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
WORDS = ["workclass", "marital-status", "occupation", "relationship"]


def main(path: Path) -> None:
    adult = load_bundled("adult")
    train = adult.frame[~adult.held_out]
    model = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS), ("passthrough", NUMBERS)
        ),
        DecisionTreeClassifier(max_leaf_nodes=64, min_samples_leaf=20, random_state=0),
    )
    model.fit(train[WORDS + NUMBERS], train["income"])
    skops.io.dump(model, path)


if __name__ == "__main__":
    main(Path(__file__).with_name("model.skops"))
