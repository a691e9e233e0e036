"""What a recipe trained, as a target: an estimator, a network that can be looked into, or a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from steelyard.audit.errors import NotApplicable
from steelyard.audit.target import Sample, Target
from steelyard.audit.types import Capability, Task
from steelyard.models.targets.again import Again, AgainTarget
from steelyard.models.targets.sklearn import SklearnTarget, estimator_target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.models.networks.network import Network
    from steelyard.models.recipes.recipe import Recipe
    from steelyard.models.training.card import TrainingCard

__all__ = ["TrainedEstimator", "TrainedLanguage", "TrainedNetwork", "trained_target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedEstimator(AgainTarget):
    """A fitted estimator that knows the recipe it came from, and can be trained again on other rows."""

    recipe: Recipe = field(repr=False, compare=False)
    card: TrainingCard | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedNetwork(TrainedEstimator):
    """A network: its columns are brought into the order of `Sample.classes`."""

    def answers(self, inputs: Any) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        """Decisions and probabilities from one pass through the network."""
        if self.task is Task.REGRESSION:
            return self.predict(inputs), None
        chances = self.predict_proba(inputs)
        return chances.argmax(axis=1), chances

    def logits(self, inputs: Any) -> NDArray[np.float64]:
        """(n, classes) before the softmax. Raises NotApplicable for a regressor."""
        self._needs(Capability.LOGITS)
        found: NDArray[np.float64] = self._ask("logits", inputs)
        return found if self.order is None else found[:, list(self.order)]

    def embed(self, inputs: Any) -> NDArray[np.float64]:
        """(n, d) what the last layer sees."""
        found: NDArray[np.float64] = self._ask("embed", inputs)
        return found

    def gradients(self, inputs: Any, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of each row's cross-entropy at `labels`, in the shape of the inputs. Raises NotApplicable without it."""
        import numpy as np

        self._needs(Capability.GRADIENTS)
        own = labels if self.order is None else np.asarray(self.order)[labels]
        network: Network = self.model
        return network.gradients(inputs, own)

    def _needs(self, capability: Capability) -> None:
        if capability not in self.capabilities:
            raise NotApplicable(f"{self.name} gives no {capability.value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedLanguage:
    """A causal language model of ours. It decides nothing: `predict` raises NotApplicable."""

    name: str
    kind: str
    fingerprint: str
    description: str
    recipe: Recipe = field(repr=False, compare=False)
    again: Again = field(repr=False, compare=False)
    model: Network = field(repr=False, compare=False)
    card: TrainingCard | None = field(default=None, repr=False, compare=False)
    task: Task = Task.LANGUAGE
    scoring: Literal["causal", "masked"] = "causal"
    capabilities: frozenset[Capability] = frozenset(
        {Capability.LOGLIKELIHOOD, Capability.GENERATE, Capability.EMBED, Capability.QUERY, Capability.FIT_AGAIN}
    )

    def predict(self, inputs: Any) -> NDArray[Any]:
        """Raises NotApplicable."""
        raise NotApplicable(f"{self.name} is a language model and decides nothing")

    def predict_proba(self, inputs: Any) -> NDArray[np.float64]:
        """Raises NotApplicable."""
        raise NotApplicable(f"{self.name} is a language model and decides nothing")

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The token ids of each text."""
        return self.model.tokenize(texts)

    def loglikelihood(self, texts: Sequence[str], prefixes: Sequence[str] | None = None) -> list[NDArray[np.float64]]:
        """For each text the natural log-probability of each of its tokens."""
        return self.model.loglikelihood(texts, prefixes)

    def generate(
        self, prompts: Sequence[str], *, max_tokens: int = 32, temperature: float = 0.0, seed: int = 0
    ) -> list[str]:
        """What follows each prompt."""
        return self.model.generate(prompts, max_tokens=max_tokens, temperature=temperature, seed=seed)

    def embed(self, inputs: Any) -> NDArray[np.float64]:
        """(n, d) the mean of the last hidden states over a text's tokens."""
        return self.model.embed(inputs)

    def fit_again(self, train: Sample, seed: int) -> Target:
        """The same recipe on `train`."""
        return self.again(train, seed)


def trained_target(
    model: Any, sample: Sample, *, recipe: Recipe, again: Again, name: str, fingerprint: str, description: str
) -> TrainedEstimator | TrainedLanguage:
    """What `recipe` trained, for `sample`. Raises TargetError where its classes or its columns do not fit."""
    if sample.task is Task.LANGUAGE:
        return TrainedLanguage(
            name=name,
            kind="recipe",
            fingerprint=fingerprint,
            description=description,
            recipe=recipe,
            again=again,
            model=model,
        )
    plain = estimator_target(model, sample, name=name, kind="recipe", fingerprint=fingerprint, description=description)
    known = {f.name: getattr(plain, f.name) for f in fields(SklearnTarget)}
    more = {Capability.FIT_AGAIN}
    kind: type[TrainedEstimator] = TrainedEstimator
    if callable(getattr(model, "logits", None)):
        kind = TrainedNetwork
        more |= {Capability.EMBED}
        more |= {Capability.LOGITS} if sample.task is not Task.REGRESSION else set()
        more |= {Capability.GRADIENTS} if model.differentiable and _same_columns(model, sample) else set()
    known["capabilities"] = plain.capabilities | more
    return kind(**known, recipe=recipe, again=again)


def _same_columns(model: Any, sample: Sample) -> bool:
    """Whether the sample's columns are those of training in their order: a gradient has the inputs' own shape."""
    names = getattr(model, "feature_names_in_", None)
    return names is None or list(getattr(sample.inputs, "columns", names)) == list(names)
