"""What every recipe for a network shares: its training settings, and the way from a sample to a trained network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Scalar, Task
from steelyard.models.recipes.recipe import Recipe, answers
from steelyard.models.training.augment import IMAGE_WAYS, ImageAugment, TokenDropout, read_ways
from steelyard.models.training.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from steelyard.models.networks.network import Network
    from steelyard.models.networks.prepare import Prepare
    from steelyard.models.training.loop import Curves, Hooks, Objective, Rows

__all__ = ["NetworkRecipe", "content_digest", "crossed_groups", "refuse_modality", "survey_weights", "targets"]

_OF_THE_LOOP = tuple(name for name in Settings.__dataclass_fields__ if name != "augment")


@dataclass(frozen=True, kw_only=True)
class NetworkRecipe(Recipe):
    """A network trained by `models.training.loop`; see `models.training.settings.Settings` for what the fields mean.

    A subclass names its `architecture` and writes `prepared` and `configuration`; other ways to train (`objective`,
    `hooks`) are for the variants. `augment` lists what is done to the training rows, separated by commas.
    """

    family: ClassVar[str] = "network"
    architecture: ClassVar[str]
    libraries: ClassVar[tuple[str, ...]] = ("torch", "safetensors", "accelerate")
    extra: ClassVar[str] = "torch"
    ways: ClassVar[Mapping[str, float]] = {}  # of augmentation, with their usual strength
    files: ClassVar[tuple[str, ...]] = ()  # settings that may name a file or a folder: known by its content

    epochs: int = 10
    batch: int = 64
    lr: float = 1e-3
    optimizer: str = "adam"
    weight_decay: float = 0.0
    l1: float = 0.0
    dropout: float = 0.0
    warmup: float = 0.0
    schedule: str = "constant"
    label_smoothing: float = 0.0
    balance: bool = False
    clip: float = 0.0
    accumulate: int = 1
    patience: int = 0
    validation: float = 0.1
    precision: str = "auto"
    device: str = "auto"
    threads: int = 1
    augment: str = ""
    track: str = ""

    def __post_init__(self) -> None:
        """Check the values now, so that a plan's mistake is found before any data is read."""
        try:
            _ = self.training
        except PlanError as error:
            raise PlanError(error.message, where=self.id, hint=error.hint) from error
        read_ways(self.augment, self.ways, where=self.id)
        for name, usual in [(item.name, item.default) for item in fields(self) if item.name not in _OF_THE_LOOP]:
            if type(usual) is not int:
                continue
            value, least = getattr(self, name), min(1, usual)  # what is 0 by itself may be 0: it is off
            if type(value) is not int or value < least:
                raise PlanError(f"{name} is {value!r}", where=self.id, hint=f"it is a whole number, at least {least}")

    @property
    def settings(self) -> Mapping[str, Scalar]:
        """The settings, and a digest of each file that they name: another file is another reference.

        Without `track`, which changes no model: one that is found trained is not trained again to be tracked.
        """
        own = {name: value for name, value in super().settings.items() if name != "track"}
        for name in self.files:
            value = str(own[name])
            path = Path(value.rpartition(":")[0] or value).expanduser()  # file.py:function
            if value and path.exists():
                own[f"{name}_digest"] = content_digest(path)
        return own

    def check_installed(self, where: str = "references") -> None:
        """Also what the numbers are to be tracked with."""
        super().check_installed(where)
        if self.track and find_spec(self.track) is None:
            raise PlanError(f"track: {self.track} is not installed", where=where, hint=f"pip install {self.track}")

    @property
    def training(self) -> Settings:
        """The settings of the loop, without the augmentation, which needs torch."""
        own = {name: getattr(self, name) for name in _OF_THE_LOOP}
        return Settings(**own)

    def fit(self, train: Sample, seed: int) -> Network:
        """The trained network; the same sample and seed give the same one (bit for bit on a CPU)."""
        network, rows = self.start(train, seed)
        return replace(network, curves=self.run(network, rows, train, seed))

    def start(self, train: Sample, seed: int) -> tuple[Network, Rows]:
        """The network with its first weights, and the prepared training rows."""
        from steelyard.models.networks.architectures import build
        from steelyard.models.networks.determinism import seeded
        from steelyard.models.networks.network import Network

        prepare = self.prepared(train)
        rows = self.rows(prepare, train)
        _, centre, spread = (None, 0.0, 1.0) if train.task is Task.LANGUAGE else targets(train)
        config = self.configuration(prepare, 1 if train.task is Task.REGRESSION else len(train.classes))
        try:
            with seeded(seed, "weights"):
                module = build(self.architecture, **config)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "allocate" not in str(error):
                raise
            hint = "make it smaller: fewer units, filters or words"
            raise TargetError("the network does not fit into memory", where=self.id, hint=hint) from error
        network = Network(
            architecture=self.architecture,
            config=config,
            module=module,
            prepare=prepare,
            task=train.task,
            classes=train.classes,
            centre=centre,
            spread=spread,
        )
        return network, rows

    def rows(self, prepare: Any, train: Sample) -> Rows:
        """The prepared training rows."""
        from steelyard.models.training.loop import Rows

        return Rows(
            inputs=prepare(train.inputs),
            labels=targets(train)[0],
            weights=survey_weights(train),
            groups=crossed_groups(train),
            pad=getattr(prepare, "pad", None),
        )

    def run(self, network: Network, rows: Rows, train: Sample, seed: int) -> Curves:
        """Train the network in place."""
        from steelyard.models.training.loop import train_network

        return train_network(
            network.module,
            rows,
            self.loop_settings(network),
            seed=seed,
            objective=self.objective(network),
            hooks=self.hooks(network, rows),
        )

    def loop_settings(self, network: Network) -> Settings:
        """The settings of the loop, with the augmentation that is done anew at each step."""
        ways = read_ways(self.augment, self.ways, where=self.id)
        if "tokens" in ways:
            prepare: Any = network.prepare
            dropped = TokenDropout(share=ways["tokens"], pad=prepare.pad, unknown=prepare.unknown)
            return replace(self.training, augment=dropped)
        images = {name: strength for name, strength in ways.items() if name in IMAGE_WAYS}
        return replace(self.training, augment=ImageAugment(**images)) if images else self.training

    def prepared(self, train: Sample) -> Prepare:
        """What makes a tensor of the inputs, learnt from the training rows."""
        raise NotImplementedError

    def configuration(self, prepare: Any, outputs: int) -> dict[str, Any]:
        """What `build` is given."""
        raise NotImplementedError

    def objective(self, network: Network) -> Objective:
        """What training minimises."""
        from steelyard.models.training.objective import cross_entropy, squared_error

        return squared_error if network.task is Task.REGRESSION else cross_entropy

    def hooks(self, network: Network, rows: Rows) -> Hooks | None:
        """Where another way to train takes part in the loop."""
        return None


def targets(train: Sample) -> tuple[Tensor, float, float]:
    """(n,) class codes, or standardised numbers with their centre and spread."""
    import numpy as np
    import torch

    answers(train)  # says what is missing where there are no labels
    labels = np.asarray(train.labels)
    if train.task is not Task.REGRESSION:
        return torch.from_numpy(labels.astype(np.int64)), 0.0, 1.0
    centre, spread = float(labels.mean()), float(labels.std()) or 1.0
    return torch.from_numpy(((labels - centre) / spread).astype(np.float32)), centre, spread


def survey_weights(train: Sample) -> Tensor | None:
    """(n,) the sample's weights with mean 1."""
    import numpy as np
    import torch

    if train.weights is None:
        return None
    return torch.from_numpy((train.weights / train.weights.mean()).astype(np.float32))


def crossed_groups(train: Sample) -> Tensor | None:
    """(n,) a code for each combination of the sample's groups that occurs."""
    import numpy as np
    import torch

    if not train.groups:
        return None
    codes = np.stack([groups.codes for groups in train.groups.values()], axis=1)
    _, crossed = np.unique(codes, axis=0, return_inverse=True)
    return torch.from_numpy(crossed.reshape(-1).astype(np.int64))


def refuse_modality(recipe: Recipe, train: Sample) -> None:
    """Raise TargetError where the recipe is not for such inputs."""
    if train.modality not in recipe.modalities:
        allowed = " or ".join(sorted(recipe.modalities))
        raise TargetError(f"is for {allowed} data, and this is {train.modality.value}", where=recipe.id)


@cache
def _digest_of(files: tuple[tuple[str, int, int], ...]) -> str:
    state = hashlib.sha256()
    for name, _, _ in files:
        state.update(hashlib.sha256(Path(name).read_bytes()).digest())
    return state.hexdigest()


def content_digest(path: Path) -> str:
    """A digest of a file, or of a folder's files; read again only where a size or a time has changed."""
    listed = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    stats = [(p, p.stat()) for p in listed]
    return _digest_of(tuple((str(p), stat.st_size, stat.st_mtime_ns) for p, stat in stats))
