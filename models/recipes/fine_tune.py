"""Fine-tuning an encoder of the transformers library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, cast

from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Scalar, Task
from steelyard.models.recipes.networks import refuse_modality, targets
from steelyard.models.recipes.texts import TextRecipe
from steelyard.models.training.augment import read_ways

if TYPE_CHECKING:
    from torch import Tensor

    from steelyard.models.networks.network import Network
    from steelyard.models.training.loop import Curves, Rows
    from steelyard.models.training.settings import Settings

    Way = Callable[[Network, Rows, Sample, int], Curves]

__all__ = ["RATES", "FineTune"]

RATES = {"full": 2e-5, "frozen": 1e-2, "lora": 5e-4}
"""The rate of each mode: a head on features that stay learns next to nothing at the rate that keeps a body intact.

On SST-2 with a MiniLM body, three epochs: heads reach .806 at 1e-2 and .779 at 1e-3 (2,000 rows, mean of three seeds),
low-rank additions .824 at 5e-4 and .622 at 1e-4 (600 rows).
"""


@dataclass(frozen=True, kw_only=True)
class FineTune(TextRecipe):
    """An encoder's weights, a new head, and a few epochs at a low rate.

    `base` is a local folder, or a hub id with its commit as `revision`. `mode`: `full` trains all weights; `frozen` the
    head alone, on features computed once; `lora` low-rank additions to the body's linear layers of rank `rank`, merged
    into them at the end (Hu et al. 2021, arXiv:2106.09685). Defaults as usual for BERT (Devlin et al. 2019,
    arXiv:1810.04805); `lr` 0 is the mode's own rate (`RATES`), and the settings, and so the card, have the real one.

    With `probe_epochs` the head alone is trained first, for so many epochs on the features of the body as it came, at
    the rate of `frozen`: a head at random would pull them out of shape (Kumar et al. 2022, arXiv:2202.10054).
    """

    name: ClassVar[str] = "fine-tune"
    version: ClassVar[int] = 2  # the first weights of the head follow from the seed alone
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
    lr: float = 0.0
    probe_epochs: int = 0
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    dropout: float = 0.1
    warmup: float = 0.1
    schedule: str = "linear"
    clip: float = 1.0

    def __post_init__(self) -> None:
        """Check the mode as well."""
        super().__post_init__()
        if self.mode not in RATES:
            raise PlanError(f"mode is {self.mode!r}", where=self.id, hint=f"it is one of {', '.join(RATES)}")
        if self.mode == "frozen" and self.probe_epochs:
            hint = "leave it out; epochs says how long the head is trained"
            raise PlanError("the mode frozen trains the head alone, and has no probe_epochs", where=self.id, hint=hint)
        if self.mode == "frozen" and "tokens" in read_ways(self.augment, self.ways, where=self.id):
            hint = "typos, synonyms and translate change the rows once"
            raise PlanError("the mode frozen cannot drop tokens anew at each step", where=self.id, hint=hint)

    @property
    def rate(self) -> float:
        """The learning rate: `lr`, or the mode's own where that is 0."""
        return self.lr or RATES.get(self.mode, 0.0)

    @property
    def settings(self) -> Mapping[str, Scalar]:
        """The settings, with the rate that is used."""
        return {**super().settings, "lr": self.rate}

    @property
    def training(self) -> Settings:
        """The settings of the loop, with the rate that is used."""
        return replace(super().training, lr=self.rate)

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
        self.renew(module.head, seed)
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

    def renew(self, head: Any, seed: int) -> None:
        """The first weights of the head, which do not depend on what else was drawn before."""
        from steelyard.models.networks.determinism import seeded

        with seeded(seed, "head"):
            head.reset_parameters()

    def run(self, network: Network, rows: Rows, train: Sample, seed: int) -> Curves:
        """Train all weights, the head alone, or low-rank additions that are merged in the end."""
        if self.mode == "frozen":
            return self.fit_head(network, self.features(network, rows), rows, self.loop_settings(network), seed)
        way = self._low_rank if self.mode == "lora" else super().run
        if not self.probe_epochs:
            return way(network, rows, train, seed)
        return self._probed(way, network, rows, train, seed)

    def loop_settings(self, network: Network) -> Settings:
        """The settings of the loop; a pre-trained body keeps its own dropout."""
        return replace(super().loop_settings(network), dropout=None)

    def features(self, network: Network, rows: Rows) -> Tensor:
        """(n, d) what the head sees of each row."""
        from steelyard.models.training.heads import fixed_features

        return fixed_features(network.module, rows, self.device)

    def fit_head(self, network: Network, features: Tensor, rows: Rows, how: Settings, seed: int) -> Curves:
        """Train the head in place on the `features` (n, d) of the rows; the body stays as it is."""
        from steelyard.models.training.heads import train_head

        module = cast("Any", network.module)
        return train_head(module.dropout, module.head, features, rows, how, seed=seed, what=self.objective(network))

    def _probed(self, way: Way, network: Network, rows: Rows, train: Sample, seed: int) -> Curves:
        """The head alone, then everything. The epochs of the first part are told as the first epochs of the whole."""
        from steelyard.models.training.watch import Advance, current_folder, current_watch, keeping, watching

        watch, most = current_watch(), self.probe_epochs + self.epochs

        def later(done: Advance, by: int) -> None:
            if watch is not None:
                watch(replace(done, epoch=done.epoch + by, epochs=most))

        how = replace(self.loop_settings(network), epochs=self.probe_epochs, lr=RATES["frozen"], patience=0, track="")
        with keeping(current_folder(), None), watching(lambda done: later(done, 0)):
            probe = self.fit_head(network, self.features(network, rows), rows, how, seed)
        with watching(lambda done: later(done, self.probe_epochs)):
            curves = way(network, rows, train, seed)
        told = f"the head alone was trained first, to a loss of {probe.column('loss')[-1]:.3f} at the rate {how.lr:g}"
        notes = (told, *probe.notes, *curves.notes)
        return replace(curves, notes=notes, seconds=probe.seconds + curves.seconds)

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
