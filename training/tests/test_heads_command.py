"""manage.py heads, from the terminal's side."""

import hashlib
import json
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from inference import heads
from inference.models import HeadVersion, Promotion

MODEL = settings.SAGE_MODEL
FILES = {"model.safetensors": b"weights", "config.json": b"{}"}


def run(*arguments):
    out = StringIO()
    call_command("heads", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def trained(db):
    """Two registered heads of the default model, the first with files."""
    sha256 = hashlib.sha256(b"".join(FILES.values())).hexdigest()
    (heads.folder() / sha256).mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        (heads.folder() / sha256 / name).write_bytes(content)
    return [heads.register(digest, {"model": MODEL, "revision": ""}) for digest in (sha256, "2" * 64)]


def current():
    return HeadVersion.objects.current(MODEL).number


def test_promote_and_roll_back_are_one_command_each(trained):
    assert "now uses head v1" in run("promote", "1", "--reason", "it won")
    run("promote", "2", "--reason", "it won too")
    assert current() == 2
    assert "now uses head v1, before head v2" in run("rollback", "--reason", "raters complained")
    assert current() == 1
    assert [row.reason for row in Promotion.objects.all()] == ["raters complained", "it won too", "it won"]
    assert "@" in Promotion.objects.first().by


def test_a_promotion_needs_a_reason(trained):
    with pytest.raises(CommandError, match="--reason"):
        run("promote", "1")
    with pytest.raises(CommandError, match="Say why"):
        run("promote", "1", "--reason", " ")
    assert current() == 0


def test_head_0_takes_the_trained_ones_out_of_use(trained):
    run("promote", "1", "--reason", "it won")
    run("promote", "0", "--reason", "start anew")
    assert current() == 0


def test_the_list_names_what_is_in_use(trained):
    run("promote", "2", "--reason", "it won")
    printed = run("list")
    assert "head v2" in printed
    assert "current" in printed
    told = json.loads(run("list", "--json"))
    assert [(row["number"], row["aliases"]) for row in told] == [(2, ["current"]), (1, []), (0, ["previous"])]


def test_show_tells_who_promoted_it_and_why(trained):
    run("promote", "1", "--reason", "it won")
    assert "it won" in run("show", "1")
    assert json.loads(run("show", "1", "--json"))["promotions"][0]["from"] == 0


def test_an_unknown_number_names_the_known_ones(trained):
    with pytest.raises(CommandError, match=r"no head version 7. There are: 2, 1, 0"):
        run("show", "7")


def test_push_uploads_the_three_files_and_never_the_snapshot(trained, monkeypatch):
    """No hub here: what would be uploaded is what is checked, through the real client's own file filter."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects

    sent = {}

    def upload_folder(api, *, repo_id, folder_path, allow_patterns, commit_message):
        names = [path.name for path in folder_path.iterdir()]
        sent[repo_id] = sorted(filter_repo_objects(names, allow_patterns=allow_patterns))
        return type("Commit", (), {"commit_url": f"https://hub.example/{repo_id}"})()

    monkeypatch.setattr(HfApi, "create_repo", lambda api, repo_id, **options: None)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    (heads.folder() / trained[0].sha256 / "snapshot-1.jsonl").write_text("{}")
    assert "https://hub.example/kim/head" in run("push", "1", "kim/head")
    assert sent == {"kim/head": ["config.json", "model.safetensors"]}


def test_a_head_without_its_own_files_is_not_published(trained):
    with pytest.raises(CommandError, match="no complete folder"):
        run("push", "2", "kim/head")
    with pytest.raises(CommandError, match="has no files"):
        run("push", "0", "kim/head")
    (heads.folder() / trained[0].sha256 / "config.json").write_text("{ }")
    with pytest.raises(CommandError, match="SHA-256 does not match"):
        run("push", "1", "kim/head")


def test_a_hub_that_refuses_is_told_plainly(trained, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CommandError, match="head v1 was not published as a name with spaces"):
        run("push", "1", "a name with spaces")
