"""Do the weights still pull at rows that they were not trained on, and no longer at those that they were?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import NotApplicable, SteelyardError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Failure, Finding, Inapplicable, MetricSpec, Scalar, Task
from steelyard.probes.privacy.readings import Readings, membership_specs
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.privacy.memoriser import Control

__all__ = ["GradientNorm", "control_norms", "gradient_norms"]

ID = "privacy.gradient-norm"
ATTACK = "gradient-norm"
NARROW = 4.0
STEPS = 150  # of the control's training: its loss is convex and its rows are told apart from the start


@dataclass(frozen=True, kw_only=True)
class GradientNorm(Probe):
    """Do the weights still pull at rows that they were not trained on, and no longer at those that they were?

    For a network whose weights can be read. A row's score is −‖∇_θ ℓ(x, y)‖₂, the norm over all weights of the gradient
    of its own cross-entropy: training stops where the gradients of its rows are small. Nasr, Shokri and Houmansadr
    2019, arXiv:1812.00910. What it finds beside `privacy.membership` is what the weights give away and the
    probabilities do not; where both find the same, nothing is lost by hiding the weights.

    Readings and groups are as in `privacy.membership`; at most `max_rows` rows of each table are asked, one gradient
    each. The same score must first tell the rows of a linear layer that has them by heart, or this is a Failure.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.LOGITS, Data.LABELS, Data.TRAINING})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = membership_specs(ID)

    fprs: tuple[float, ...] = (0.01,)
    max_rows: int = 1_000
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield the readings of the one attack."""
        import numpy as np

        from steelyard.models.networks.determinism import torch_threads
        from steelyard.probes.privacy.inversion_torch import opened
        from steelyard.probes.privacy.membership import check_rates
        from steelyard.probes.privacy.memoriser import believed, control
        from steelyard.probes.privacy.rows import inside_and_outside, known_labels
        from steelyard.probes.privacy.telling import tell

        check_rates(self.fprs)
        if sample.training is None or sample.training.labels is None or sample.labels is None:
            raise NotApplicable("it needs labelled training rows")
        network = opened(target, len(sample.classes))
        inside, outside = inside_and_outside(sample, rng, self.max_rows)
        by = "id" if sample.training.ids is not None else "row of the training table"
        scribe = Scribe(probe=self, target=target.name)
        readings = Readings(scribe=scribe, inside=inside, fprs=self.fprs, level=self.level, by=by)
        planted = control(outside, rng)
        try:
            with torch_threads():
                passed = believed(planted, -control_norms(planted), ATTACK, level=self.level)
                norms = [
                    gradient_norms(network.module, tensor_of(network, part.inputs), network.column[known_labels(part)])
                    for part in (inside, outside)
                ]
            told = tell(inside, outside, -np.concatenate(norms))
        except NotApplicable:
            raise
        except SteelyardError as error:
            yield readings.failed(ATTACK, error)
            return
        detail: dict[str, Scalar] = {"control_auc": passed}
        yield from readings.of(ATTACK, told, rng, detail=detail)


def tensor_of(network: Any, inputs: Any) -> torch.Tensor:
    """The input of the module behind a target. NotApplicable where its inputs are not one tensor of rows."""
    import torch

    try:
        x = network.tensor(inputs)
    except (TypeError, ValueError) as error:
        raise NotApplicable(f"the inputs are no tensor that the network takes: {error}") from error
    if not isinstance(x, torch.Tensor) or len(x) != len(inputs):
        raise NotApplicable("the network's inputs are not one tensor with a row for each row")
    return x.detach()


def gradient_norms(module: Any, x: torch.Tensor, columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) ‖∇_θ ℓ‖₂ of each row's cross-entropy at the output `columns` (n,), over all weights that are trained."""
    import numpy as np
    import torch

    from steelyard.probes.privacy.inversion_torch import shared_gradient

    labels = torch.as_tensor(columns)
    found = np.empty(len(x))
    for i in range(len(x)):
        gradient = shared_gradient(module, x[i : i + 1], labels[i : i + 1])
        found[i] = float(sum(g.double().square().sum() for g in gradient)) ** 0.5
    return found


def control_norms(planted: Control) -> NDArray[np.float64]:
    """(n,) the norms of a linear layer with the control's members by heart, for all rows of the control.

    Its inputs are exp(−d² / 2 s²) for the distances d to each member, s a quarter of the usual distance between
    neighbours (in many columns all rows are about as far from each other): a member has a 1 of its own, so that even
    labels drawn at random are learnt. It begins at 0, so that nothing is drawn here.
    """
    import numpy as np
    import torch
    from scipy.spatial.distance import cdist

    rows = planted.model.encoder(planted.sample.inputs)
    near = np.exp(-0.5 * np.square(NARROW * cdist(rows, planted.model.known) / planted.model.scale))
    x, labels = torch.tensor(near, dtype=torch.float32), torch.as_tensor(planted.labels)
    member = torch.as_tensor(planted.member)
    with torch.random.fork_rng(devices=[]):
        layer = torch.nn.Linear(x.shape[1], planted.model.classes)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
    with torch.enable_grad():
        for _ in range(STEPS):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(layer(x[member]), labels[member]).backward()
            optimiser.step()
    return gradient_norms(layer, x, planted.labels)
