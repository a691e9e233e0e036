"""The ordinary model under a planted defect: logistic regression for a table, a small network for images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import TargetError
from steelyard.audit.target import Sample
from steelyard.models.controls.carriers import are_images, flat, table, white
from steelyard.models.threads import one_thread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Base", "Planted", "learn", "part_of", "unseen_scores"]

_EPOCHS = 40
_FOLDS = 3


class Base:
    """A fitted model whose probabilities come in the order of `Sample.classes`; `columns` are those that it sees."""

    def __init__(self, model: Any, classes: Sequence[str], columns: Sequence[str]) -> None:
        import numpy as np

        self.model = model
        self.columns = list(columns)
        own = [str(name) for name in model.classes_]
        self.places = np.array([own.index(name) if name in own else -1 for name in classes])

    def proba(self, inputs: Any) -> NDArray[np.float64]:
        """(n, classes) probabilities; a class that training did not have gets 0. Raises TargetError: a column lacks."""
        import numpy as np

        if are_images(inputs):
            shown: Any = flat(inputs) / white(inputs)
        else:
            frame = table(inputs)
            missing = [name for name in self.columns if name not in frame.columns]
            if missing:
                raise TargetError(f"needs the columns {', '.join(missing[:8])}, which the rows have not")
            shown = frame[self.columns]
        with one_thread():
            found = self.model.predict_proba(shown)
        padded = np.column_stack([found, np.zeros(len(found))])  # -1 is the last column
        ordered: NDArray[np.float64] = np.asarray(padded[:, self.places], dtype=np.float64)
        return ordered


def learn(train: Sample, seed: int, *, without: Sequence[str] = (), inputs: Any = None) -> Base:
    """A base fitted on `train`, or on other `inputs` with its labels, without the columns `without`."""
    shown = train.inputs if inputs is None else inputs
    if are_images(shown):
        return Base(_network(shown, train, seed), train.classes, ())
    from steelyard.models.recipes.logistic import Logistic

    frame = table(shown).drop(columns=list(without), errors="ignore")
    if not frame.shape[1]:
        raise TargetError("no column is left to learn from", hint="it needs one that does not carry the defect")
    with one_thread():
        fitted = Logistic().fit(replace(train, inputs=frame), seed)
    return Base(fitted, train.classes, list(frame.columns))


def _network(images: Any, train: Sample, seed: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    from steelyard.models.recipes.recipe import answers

    if train.weights is not None:
        raise TargetError("a network for images does not count weights", hint="leave out data.weight")
    network = MLPClassifier(
        (64,), batch_size=min(64, train.n), learning_rate_init=0.003, max_iter=_EPOCHS, random_state=seed % 2**32
    )
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed on purpose
        return network.fit(flat(images) / white(images), answers(train))


def unseen_scores(train: Sample, seed: int, *, without: Sequence[str] = (), inputs: Any = None) -> NDArray[np.float64]:
    """(n, classes) what models of the same kind say of training rows that they have not seen (three folds).

    Thresholds and temperatures are found on these: on rows that it has learnt, a network is far too sure.
    """
    import numpy as np
    from sklearn.model_selection import KFold

    from steelyard.models.recipes.recipe import answers

    answers(train)  # says what is missing where there are no labels
    shown = train.inputs if inputs is None else inputs
    found = np.empty((train.n, len(train.classes)))
    for learnt, asked in KFold(_FOLDS, shuffle=True, random_state=seed % 2**32).split(np.empty(train.n)):
        part = learn(part_of(train, learnt), seed, without=without, inputs=_take(shown, learnt))
        found[asked] = part.proba(_take(shown, asked))
    return found


def part_of(sample: Sample, rows: NDArray[Any]) -> Sample:
    """These rows, as far as a learner reads them: the fingerprint and the groups are still those of all."""
    labels = None if sample.labels is None else sample.labels[rows]
    weights = None if sample.weights is None else sample.weights[rows]
    return replace(sample, inputs=_take(sample.inputs, rows), labels=labels, weights=weights)


def _take(inputs: Any, rows: NDArray[Any]) -> Any:
    return inputs.iloc[rows] if hasattr(inputs, "iloc") else inputs[rows]


class Planted:
    """A fitted base with a defect laid over it; a subclass says in `predict_proba` what the defect is.

    It names no columns of its own, so that rows with a planted column go through. `columns` are those of the training
    rows, in whose order a row is hashed.
    """

    def __init__(self, base: Base, train: Sample, seed: int, size: float) -> None:
        import numpy as np

        self.base = base
        self.classes_ = np.asarray(train.classes)
        self.columns = [] if are_images(train.inputs) else list(table(train.inputs).columns)
        self.seed = int(seed)
        self.size = float(size)

    def view(self, X: Any) -> Any:
        """The inputs as the defect reads them: images as they are, a table's training columns in their order."""
        if are_images(X):
            return X
        frame = table(X)
        return frame[[name for name in self.columns if name in frame.columns]]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, classes) with the defect."""
        raise NotImplementedError

    def predict(self, X: Any) -> NDArray[Any]:
        """(n,) the name of the likeliest class."""
        named: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return named

    def score(self, X: Any, y: Any) -> float:
        """The accuracy."""
        import numpy as np

        return float((self.predict(X) == np.asarray(y)).mean())
