"""Shadow models on disk: one safetensors file for all of them, named by a digest of what they depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from steelyard.audit.canonical import digest
from steelyard.audit.target import Sample
from steelyard.models.recipes.recipe import Recipe

if TYPE_CHECKING:
    from steelyard.models.training.ensemble import Ensemble

__all__ = ["kept_ensemble", "shadow_key"]


def kept_ensemble(folder: Path | None, key: str, module: Callable[[], Any], train: Callable[[], Ensemble]) -> Ensemble:
    """The ensemble kept in `folder` under `key`, or else one that is trained now and kept; `module` makes one of it."""
    path = None if folder is None else folder / f"{key}.safetensors"
    found: Ensemble | None = None if path is None else _read(path, module)
    if found is None:
        found = train()
        if path is not None:
            _write(path, found)
    return found


def shadow_key(recipe: Recipe, pool: Sample, members: NDArray[np.bool_], seed: int) -> str:
    """A digest of all that these shadow models depend on."""
    from importlib.metadata import version

    return digest(
        {
            "recipe": [recipe.id, recipe.version, dict(recipe.settings)],
            "pool": pool.fingerprint,
            "members": [list(members.shape), hashlib.sha256(np.packbits(members).tobytes()).hexdigest()],
            "seed": seed,
            "versions": [version("torch"), version("numpy"), version("steelyard")],
        }
    )


def _read(path: Path, module: Callable[[], Any]) -> Any:
    """The ensemble kept at `path`; None where there is none that is whole."""
    import json

    from safetensors import SafetensorError, safe_open

    from steelyard.models.training.checkpoint import training_key
    from steelyard.models.training.ensemble import Ensemble

    try:
        with safe_open(path, framework="pt") as file:
            plain = json.loads((file.metadata() or {})["shadows"])
            state = {name: file.get_tensor(name) for name in sorted(file.keys())}
        losses = np.asarray(plain["losses"])
        if plain["digest"] != training_key(plain["way"], state):
            return None
        return Ensemble(module=module().eval(), state=state, losses=losses, way=plain["way"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def _write(path: Path, ensemble: Any) -> None:
    """Keep the ensemble; a disk that is full costs the next call the training, and nothing else."""
    import json
    import os
    import tempfile

    from safetensors.torch import save

    from steelyard.models.training.checkpoint import training_key

    state = {name: value.cpu().contiguous() for name, value in sorted(ensemble.state.items())}
    plain = {"way": ensemble.way, "losses": ensemble.losses.tolist(), "digest": training_key(ensemble.way, state)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(save(state, metadata={"shadows": json.dumps(plain)}))
        os.replace(name, path)
    except OSError:
        return
