"""Fine-tuning an encoder of the transformers library."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, cast

from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Task
from steelyard.models.recipes.networks import refuse_modality, targets
from steelyard.models.recipes.texts import TextRecipe

if TYPE_CHECKING:
    from steelyard.models.networks.network import Network
    from steelyard.models.training.loop import Curves, Rows
    from steelyard.models.training.settings import Settings

__all__ = ["FineTune"]

MODES = ("full", "frozen", "lora")


@dataclass(frozen=True, kw_only=True)
class FineTune(TextRecipe):
    """An encoder's weights, a new head, and a few epochs at a low rate.

    `base` is a local folder, or a hub id with its commit as `revision`. `mode`: `full` trains all weights; `frozen` the
    head alone, on features computed once; `lora` low-rank additions to the body's linear layers of rank `rank`, merged
    into them at the end (Hu et al. 2021, arXiv:2106.09685). Defaults as usual for BERT (Devlin et al. 2019,
    arXiv:1810.04805).
    """

    name: ClassVar[str] = "fine-tune"
    architecture: ClassVar[str] = "pretrained"
    libraries: ClassVar[tuple[str, ...]] = ("torch", "safetensors", "accelerate", "transformers", "tokenizers")
    extra: ClassVar[str] = "text"
    summary: ClassVar[str] = "a pre-trained encoder, fine-tuned"
    files: ClassVar[tuple[str, ...]] = ("base", *TextRecipe.files)
    required: ClassVar[tuple[str, ...]] = ("base",)

    base: str = ""
    revision: str = ""
    mode: str = "full"
    rank: int = 8
    pool: str = "mean"
    length: int = 128
    epochs: int = 3
    batch: int = 16
    lr: float = 2e-5
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    dropout: float = 0.1
    warmup: float = 0.1
    schedule: str = "linear"
    clip: float = 1.0

    def __post_init__(self) -> None:
        """Check the mode as well."""
        super().__post_init__()
        if self.mode not in MODES:
            raise PlanError(f"mode is {self.mode!r}", where=self.id, hint=f"it is one of {', '.join(MODES)}")

    def check_installed(self, where: str = "references") -> None:
        """Also peft, for low-rank additions."""
        super().check_installed(where)
        if self.mode == "lora" and find_spec("peft") is None:
            hint = "pip install 'steelyard[text]'"
            raise PlanError(f"{self.id} in the mode lora needs peft, which is not installed", where=where, hint=hint)

    def start(self, train: Sample, seed: int) -> tuple[Network, Rows]:
        """The encoder's own weights and a new head."""
        from steelyard.models.networks.determinism import seeded
        from steelyard.models.networks.network import Network
        from steelyard.models.networks.pretrained import load_encoder

        refuse_modality(self, train)
        if not self.base:
            raise TargetError("names no encoder", where=self.id, hint="write base: a folder, or a hub id and revision")
        _, centre, spread = targets(train)
        outputs = 1 if train.task is Task.REGRESSION else len(train.classes)
        with seeded(seed, "weights"):
            module, config, prepare = load_encoder(
                self.base, self.revision, classes=outputs, length=self.length, pool=self.pool, dropout=self.dropout
            )
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
        return network, self.rows(prepare, train)

    def run(self, network: Network, rows: Rows, train: Sample, seed: int) -> Curves:
        """Train all weights, the head alone, or low-rank additions that are merged in the end."""
        if self.mode == "frozen":
            return self._head_alone(network, rows, train, seed)
        if self.mode == "lora":
            return self._low_rank(network, rows, train, seed)
        return super().run(network, rows, train, seed)

    def loop_settings(self, network: Network) -> Settings:
        """The settings of the loop; a pre-trained body keeps its own dropout."""
        return replace(super().loop_settings(network), dropout=None)

    def _head_alone(self, network: Network, rows: Rows, train: Sample, seed: int) -> Curves:
        """Train dropout and head on the features of the body, which stays as it is."""
        import torch
        from torch import nn

        from steelyard.models.training.loop import train_network

        module = cast("Any", network.module)
        features = torch.from_numpy(network.embed(train.inputs)).float()
        return train_network(
            nn.Sequential(module.dropout, module.head),
            replace(rows, inputs=features, pad=None),
            replace(self.loop_settings(network), augment=None),
            seed=seed,
            objective=self.objective(network),
        )

    def _low_rank(self, network: Network, rows: Rows, train: Sample, seed: int) -> Curves:
        from peft import LoraConfig, get_peft_model

        from steelyard.models.networks.determinism import seeded

        module = cast("Any", network.module)
        with seeded(seed, "additions"):
            config = LoraConfig(r=self.rank, lora_alpha=2 * self.rank, target_modules="all-linear")
            module.body = get_peft_model(module.body, config)
        try:
            return super().run(network, rows, train, seed)
        finally:
            module.body = module.body.merge_and_unload()
            for parameter in module.parameters():
                parameter.requires_grad_(True)
