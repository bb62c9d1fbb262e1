"""manage.py setup_demo: the starter problems, three explainers, a launched demo study and a researcher's account."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from inference.models import Explainer, ProblemSet
from inference.problem_files import STARTER, read_problems, store
from studies.launch import launch
from studies.models import Arm, Study

METHODS = ("inverse", "self_explain", "chain")
PROBLEMS = 12
RESEARCHER = "researcher"


class Command(BaseCommand):
    help = "Make the demo study and the researcher's account, unless they are there. Safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="what the printed links start with")

    def handle(self, *args: Any, **options: Any) -> None:
        password = researcher()
        study = demo_study()
        url = options["url"].rstrip("/")
        self.stdout.write(f"Rate the demo study:  {url}/r/{study.token}/")
        self.stdout.write(f"See its results:      {url}/studies/{study.slug}/")
        self.stdout.write(f"Configure studies:    {url}/admin/")
        note = f"password {password}" if password else "password as printed on the first start"
        self.stdout.write(f"Sign in as:           {RESEARCHER}, {note}")
        if not password:
            self.stdout.write(f"                      (lost it: python manage.py changepassword {RESEARCHER})")


def researcher() -> str:
    """The password of a newly made researcher; empty when the account was there."""
    if User.objects.filter(username=RESEARCHER).exists():
        return ""
    password = secrets.token_urlsafe(12)
    User.objects.create_superuser(RESEARCHER, password=password)
    return password


def starter_set() -> ProblemSet:
    return store(
        "starter", "Starter problems", "Written for this project, Apache-2.0", read_problems(STARTER, "sage")
    )


@transaction.atomic
def demo_study() -> Study:
    """The demo study, launched. An existing one stays as it is."""
    existing = Study.objects.filter(slug="demo").first()
    if existing:
        return existing
    study = Study.objects.create(
        slug="demo",
        title="How a small model reasons",
        problem_set=starter_set(),
        problem_limit=PROBLEMS,
        chain_shown=False,  # one arm is the chain
    )
    for method in METHODS:
        explainer, _ = Explainer.objects.get_or_create(name=method.replace("_", "-"), defaults={"method": method})
        Arm.objects.create(study=study, name=explainer.name, explainer=explainer)
    launch(study)
    study.refresh_from_db()
    return study
