"""Heads on disk: one folder each, with `model.safetensors`, `config.json` and the model card `README.md`.

The folder's name in the registry is the SHA-256 of the bytes of the first two, in that order; the card is not hashed.
A folder is written beside its place and renamed into it, so that it is complete or not there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from inference.core.head import Head, HeadConfig, HeadMismatchError

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


class HeadSaveError(OSError):
    """The head could not be written; nothing of it is left. Says where and why."""


def save(head: Head, folder: Path, card: str = "") -> str:
    """Write the head into `folder`/<sha256>; return the SHA-256. A head that is there already stays as it is.

    Raises HeadSaveError when it cannot be written, for example because the disk is full.
    """
    weights, config = contents(head)
    sha256 = hashlib.sha256(weights + config).hexdigest()
    if not (folder / sha256).exists():
        write(folder / sha256, weights, config, card)
    return sha256


def save_as(head: Head, path: Path, card: str = "") -> str:
    """Write the head as the folder `path`, replacing a head or an empty folder there; return the SHA-256.

    Raises HeadSaveError when it cannot be written, or when `path` holds anything else.
    """
    check_replaceable(path)
    weights, config = contents(head)
    write(path, weights, config, card)
    return hashlib.sha256(weights + config).hexdigest()


def check_replaceable(path: Path) -> None:
    """Raises HeadSaveError unless a head may be written as the folder `path`."""
    if path.exists() and not path.is_dir():
        raise HeadSaveError(f"{path} is a file; name a folder that is new, empty, or holds a head to be replaced.")
    others = {entry.name for entry in path.iterdir()} - {WEIGHTS, CONFIG, CARD} if path.exists() else set()
    if others:
        raise HeadSaveError(f"{path} holds {', '.join(sorted(others)[:3])}; name a new folder, or a head.")


def contents(head: Head) -> tuple[bytes, bytes]:
    """Weights and config as the bytes to be stored; the same head gives the same bytes."""
    state = {name: tensor.contiguous() for name, tensor in head.state_dict().items()}
    config = json.dumps(asdict(head.config), sort_keys=True, indent=1) + "\n"
    return save_tensors(state), config.encode()


def write(path: Path, weights: bytes, config: bytes, card: str) -> None:
    """Any earlier folder at `path` is replaced. On an error or an interruption nothing is left behind."""
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=path.parent))
        (partial / WEIGHTS).write_bytes(weights)
        (partial / CONFIG).write_bytes(config)
        (partial / CARD).write_text(card)
        partial.chmod(0o755)  # mkdtemp lets in nobody else, but another user's worker may have to read it
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
    except OSError as error:
        raise HeadSaveError(f"The head could not be written to {path}: {error}. Nothing of it was kept.") from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def load(folder: Path, sha256: str, number: int, expected: HeadConfig) -> Head:
    """Load by content hash.

    Raises HeadMismatchError when a file is missing, was changed, or was fitted on another base model, revision, layer
    or feature spec than `expected`.
    """
    path = folder / sha256
    if not path.exists():
        raise HeadMismatchError(f"head v{number} has no folder {path}; copy it there from where it was trained.")
    head = read(path, number)
    if head.config != expected:
        found = "; ".join(head.config.differences(expected))
        raise HeadMismatchError(f"head v{number} was fitted for another model or other features: it has {found}.")
    return head


def read(path: Path, number: int = 1) -> Head:
    """Load one head's own folder. A folder that is named by a hash has to match it.

    Raises HeadMismatchError when a file is missing, unreadable, was changed, has another feature spec, or weights
    that are no finite numbers.
    """
    weights, config = stored(path)
    if looks_like_hash(path.name) and path.name != hashlib.sha256(weights + config).hexdigest():
        raise HeadMismatchError(f"{path} is not the head that was saved: its SHA-256 does not match its name.")
    try:
        head = Head(HeadConfig.from_json(json.loads(config)), number)
        head.load_state_dict(load_tensors(weights))
        check_weights(head)
    except HeadMismatchError as error:
        raise HeadMismatchError(f"{path} is no head of this version: {error}.") from error
    except (ValueError, TypeError, RuntimeError, SafetensorError) as error:  # of json, torch and safetensors
        raise HeadMismatchError(f"{path} is no head of this version: {error}") from error
    return head.eval()


def check_weights(head: Head) -> None:
    """Raises HeadMismatchError for weights that are not finite: all they give is no number, and nothing is chosen."""
    wrong = [name for name, tensor in head.state_dict().items() if not tensor.isfinite().all()]
    if wrong:
        raise HeadMismatchError(f"{', '.join(wrong)} has weights that are not finite; fit it again")


def digest(path: Path) -> str:
    """The SHA-256 of a head's own folder, as the registry has it. Raises HeadMismatchError when a file is missing."""
    return hashlib.sha256(b"".join(stored(path))).hexdigest()


def stored(path: Path) -> tuple[bytes, bytes]:
    try:
        return (path / WEIGHTS).read_bytes(), (path / CONFIG).read_bytes()
    except OSError as error:
        raise HeadMismatchError(f"{path} is no complete head: {error}. A head is {WEIGHTS} and {CONFIG}.") from error


def looks_like_hash(name: str) -> bool:
    return len(name) == 64 and set(name) <= set("0123456789abcdef")
