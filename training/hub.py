"""Publishes a head's folder on the Hugging Face Hub, for people who have an account there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from inference import heads
from inference.models import HeadVersion

PUBLISHED = ("model.safetensors", "config.json", "README.md")
"""Never the snapshot: judgements stay here, even under pseudonyms."""


class PushError(Exception):
    """The head was not published. Says why."""


def push(head: HeadVersion, repository: str) -> str:
    """Upload weights, config and model card; the address that they have then.

    The account is that of `hf auth login` or HF_TOKEN. Raises PushError for a head without intact files, and when the
    Hub cannot be reached or refuses.
    """
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    folder = intact(head)
    api = HfApi()
    try:
        api.create_repo(repository, exist_ok=True, private=True)
        told = api.upload_folder(
            repo_id=repository, folder_path=folder, allow_patterns=list(PUBLISHED), commit_message=str(head)
        )
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError) as error:
        raise PushError(f"{head} was not published as {repository}: {error}") from error
    return str(told.commit_url)


def intact(head: HeadVersion) -> Path:
    """The head's folder. Raises PushError unless its files are there and are those that were registered."""
    if not head.trained:
        raise PushError(f"{head} has no files to publish.")
    folder = heads.folder() / head.sha256
    try:
        content = (folder / PUBLISHED[0]).read_bytes() + (folder / PUBLISHED[1]).read_bytes()
    except OSError as error:
        raise PushError(f"{head} has no complete folder {folder}: {error}") from error
    if hashlib.sha256(content).hexdigest() != head.sha256:
        raise PushError(f"{folder} is not the head that was registered: its SHA-256 does not match its name.")
    return folder
