"""A Hugging Face model as a target: a text classifier, or a language model with a causal or a masked head."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from steelyard.audit.canonical import digest
from steelyard.audit.errors import TargetError, UnsafeArtifact
from steelyard.audit.plan import TargetPart
from steelyard.audit.target import Sample, Target
from steelyard.audit.types import Task
from steelyard.models.targets.options import NetworkOptions, read_options

__all__ = ["Head", "Pretrained", "check_files", "hub_files", "reason_of", "transformers_target"]

Head = Literal["classifier", "causal", "masked"]

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_AUTO = {
    "classifier": "AutoModelForSequenceClassification",
    "causal": "AutoModelForCausalLM",
    "masked": "AutoModelForMaskedLM",
}
_DIGESTED = (".safetensors", ".json", ".txt", ".model", ".jinja", ".py")
# Their position ids begin behind the padding's, so that the table has that many rows which no token gets.
_SHIFTED = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "longformer", "data2vec-text", "mpnet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """A loaded model with its tokenizer. `context` is the most tokens that it takes at once."""

    name: str
    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    head: Head
    context: int
    device: Any
    fingerprint: str
    said: str


def transformers_target(part: TargetPart, *, base: Path, sample: Sample, name: str) -> Target:
    """The model that `part` names, as a target for `sample`.

    `path` is a local folder, which is read without the network, or a hub id at a pinned `revision`. Weights are
    safetensors; code of the folder runs only with `trust_remote_code`. `head` says what the model is asked to be, where
    its config leaves that open. Raises TargetError, UnsafeArtifact or PlanError with one line, also for weights that
    the checkpoint lacks (a head that was never trained) and for a tokenizer that is not the model's.
    """
    options = read_options(part.settings)
    source, folder = _place(part, base)
    config = _config(folder) if folder is not None else {}
    if folder is not None:
        _check_folder(folder, config, part)
    else:
        check_files(hub_files(source, part.revision), source)
    loaded = _load(part, source, folder, options, name=name)
    if loaded.head == "classifier":
        from steelyard.models.targets.text_classifier import classifier_target

        return classifier_target(loaded, sample, options, threshold=part.threshold)
    if sample.task is not Task.LANGUAGE:
        message = f"is a {loaded.head} language model, which decides nothing, and the task is {sample.task.value}"
        raise TargetError(message, where=name, hint="set data.task: language, or target.head: classifier")
    from steelyard.models.targets.language import language_target

    return language_target(loaded, options)


def _place(part: TargetPart, base: Path) -> tuple[str, Path | None]:
    """The hub id or the folder's path, and the folder where it is one."""
    path = part.path
    if path is None:
        raise TargetError("names no model", where="target.path", hint="name a folder, or a hub id with its revision")
    folder = base / Path(path).expanduser()
    if folder.is_dir():
        if part.revision is not None:
            raise TargetError("a revision goes with a hub id, and this is a folder", where=path, hint="leave it out")
        return str(folder.resolve()), folder.resolve()
    if folder.exists() or not _HUB_ID.match(path):
        raise TargetError("is no folder, and no hub id", where=path, hint="name the folder with config.json")
    if part.revision is None or not _COMMIT.match(part.revision):
        said = "is no folder here; as a hub id it needs the commit"
        raise TargetError(said, where=path, hint="set target.revision to the 40 hexadecimal digits of a commit")
    return path, None


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_bytes())
    except FileNotFoundError:
        adapter = (folder / "adapter_config.json").is_file()
        said = "holds an adapter without its model" if adapter else "has no config.json"
        hint = "merge it into its base model (merge_and_unload) and save that" if adapter else "is it a saved model?"
        raise TargetError(said, where=str(folder.name), hint=hint) from None
    except (OSError, ValueError) as error:
        raise TargetError(f"config.json cannot be read: {error}", where=folder.name) from None
    if not isinstance(found, dict):
        raise TargetError("config.json is not a record", where=folder.name)
    return found


def hub_files(source: str, revision: str | None) -> list[str]:
    """The names of the hub's files at the commit; none where the hub does not answer, for the files may be at hand."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.errors import RevisionNotFoundError as NoCommit

    try:
        return list(HfApi().list_repo_files(source, revision=revision))
    except NoCommit:
        raise TargetError(f"the hub has no commit {revision} of it", where=source) from None
    except RepositoryNotFoundError:
        hint = "look for a typing error, or log in to the hub if it is private"
        raise TargetError("the hub shows no such model", where=source, hint=hint) from None
    except Exception:  # noqa: BLE001 what a broken line raises differs from one version of the hub's client to the next
        return []  # what is not at hand either is said when it is loaded


def _check_folder(folder: Path, config: dict[str, Any], part: TargetPart) -> None:
    where = part.path or folder.name
    check_files([entry.name for entry in folder.iterdir()], where)
    if "auto_map" in config and not part.trust_remote_code:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        if config.get("model_type") not in CONFIG_MAPPING:
            hint = "set target.trust_remote_code: true if you know what it does"
            raise UnsafeArtifact("needs the Python code in its folder, which is not run", where=where, hint=hint)


def check_files(names: list[str], where: str) -> None:
    """Refuse weights that are pickles, and adapters: their base model would come from wherever they say, unpinned."""
    if not names:
        return
    if not any(name.endswith(".safetensors") for name in names):
        if any(name.endswith((".bin", ".pt", ".pth")) for name in names):
            message = "has its weights as a pickle, which can run any code when it is opened"
            raise UnsafeArtifact(message, where=where, hint="save it with save_pretrained(safe_serialization=True)")
        raise TargetError("has no safetensors file", where=where, hint="is it a saved model?")
    if "adapter_config.json" in names:
        hint = "merge it into the model (merge_and_unload) and save that"
        raise TargetError("has an adapter beside the model", where=where, hint=hint)


def _load(part: TargetPart, source: str, folder: Path | None, options: NetworkOptions, *, name: str) -> Pretrained:
    import torch
    import transformers

    from steelyard.models.targets.torch_engine import chosen_device

    where = part.path or name
    common: dict[str, Any] = {"local_files_only": folder is not None, "trust_remote_code": part.trust_remote_code}
    if folder is None:
        common["revision"] = part.revision
    device = chosen_device(options.device)
    with _quiet(), torch.random.fork_rng(devices=[]):  # what a checkpoint lacks is drawn, and then refused
        try:
            config = transformers.AutoConfig.from_pretrained(source, **common)
            head = part.head or _head(config, where)
            kind = getattr(transformers, _AUTO[head])
            model, told = kind.from_pretrained(
                source, config=config, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True,
                **common,
            )  # fmt: skip
        except TargetError:
            raise
        except Exception as error:
            raise TargetError(f"cannot be loaded: {reason_of(error)}", where=where, hint="is it whole?") from error
        _check_weights(told, head, where)
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, **common)
        except Exception as error:
            hint = "save the tokenizer beside the model"
            raise TargetError(f"its tokenizer cannot be loaded: {reason_of(error)}", where=where, hint=hint) from error
    _check_tokenizer(tokenizer, model, where)
    said = f"a {type(model).__name__} from {where}{'' if folder is not None else f' at {part.revision}'}"
    said += ", running the code of its folder" if part.trust_remote_code else ""
    print_ = digest([source, part.revision]) if folder is None else _digest_of(folder)
    kept = [print_, head, options.outputs, options.classes, options.window, options.stride, part.threshold]
    return Pretrained(
        name=name,
        model=model.float().eval().to(device),
        tokenizer=tokenizer,
        head=head,
        context=_context(config, tokenizer),
        device=device,
        fingerprint=digest(kept),
        said=said,
    )


def _head(config: Any, where: str) -> Head:
    """What the config's architecture is. Raises TargetError where it says nothing that can be audited."""
    names = list(getattr(config, "architectures", None) or [])
    for ending, head in (
        ("ForSequenceClassification", "classifier"),
        ("ForMaskedLM", "masked"),
        ("ForCausalLM", "causal"),
        ("LMHeadModel", "causal"),
    ):
        if any(name.endswith(ending) for name in names):
            return cast("Head", head)
    said = f"its config says {', '.join(names)}" if names else "its config names no architecture"
    raise TargetError(said, where=where, hint="set target.head to classifier, causal or masked")


def _check_weights(told: dict[str, Any], head: Head, where: str) -> None:
    """Refuse weights that were drawn at random because the checkpoint lacks them, or has them in another size."""
    missing = sorted(told.get("missing_keys") or [])
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise TargetError(
            f"its checkpoint lacks weights of the {head} head or model: {', '.join(missing[:3])}{more}",
            where=where,
            hint="an untrained part answers at random; take a checkpoint that was trained with this head",
        )
    odd = sorted(told.get("mismatched_keys") or [], key=str)
    if odd:
        key, have, want = odd[0] if isinstance(odd[0], tuple) else (odd[0], "?", "?")
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        raise TargetError(
            f"its checkpoint does not fit config.json: {key} is {_size(have)} and should be {_size(want)}{more}",
            where=where,
            hint="take the config that it was saved with",
        )


def _check_tokenizer(tokenizer: Any, model: Any, where: str) -> None:
    vocabulary = tokenizer.get_vocab()
    if not set(vocabulary) - set(tokenizer.all_special_tokens):  # without files the library makes up an empty one
        raise TargetError("its tokenizer knows no words", where=where, hint="save the tokenizer beside the model")
    most, rows = max(vocabulary.values()) + 1, model.get_input_embeddings().weight.shape[0]
    if most > rows:
        raise TargetError(
            f"its tokenizer has {most:,} tokens and the model {rows:,} embeddings: it belongs to another model",
            where=where,
            hint="save the tokenizer that the model was trained with beside it",
        )


def _context(config: Any, tokenizer: Any) -> int:
    """The most tokens at once: the least of what the config and the tokenizer say; 1024 where neither says anything."""
    text = config.get_text_config()
    found = [
        value
        for key in ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
        if isinstance(value := getattr(text, key, None), int) and value > 1
    ][:1]
    if found and text.model_type in _SHIFTED:
        found = [found[0] - int(getattr(text, "pad_token_id", None) or 0) - 1]
    if tokenizer.model_max_length < 10**6:
        found.append(int(tokenizer.model_max_length))
    return min(found, default=1024)


def _digest_of(folder: Path) -> str:
    """SHA-256 of the files that make the model, by name."""
    state = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in _DIGESTED:
            state.update(path.name.encode() + b"\0")
            with path.open("rb") as stream:
                state.update(hashlib.file_digest(stream, "sha256").digest())
    return state.hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and reports of the library's: what matters of them is in our one line."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _size(value: Any) -> str:
    return " x ".join(str(part) for part in value) if not isinstance(value, str) else value


def reason_of(error: BaseException) -> str:
    """An error of a library in one line of at most 200 signs, after its type."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
