"""manage.py setup_demo: the starter problems, three explainers, a launched demo study and a researcher's account."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from inference.core.problem_files import read_problems
from inference.models import Explainer, ProblemSet
from inference.problem_files import STARTER, store
from studies.launch import launch
from studies.models import Arm, CheckItem, Study

METHODS = ("inverse", "self_explain", "chain")
TESTED, ROLLOUTS = 2, 6  # fewer than the default: a first visitor waits for these on a laptop
PROBLEMS = 24
RESEARCHER = "researcher"
CHECKS = (
    {
        "purpose": CheckItem.Purpose.PRACTICE,
        "position": 1,
        "question": "A box holds 3 red and 5 blue balls. How many balls are in it?",
        "answer": "8",
        "better": "Step 2 decided it: there the model added the red balls to the blue ones, 3 + 5 = 8. When it was "
        "made to go on from another step 2, which took only the blue balls, it answered 5.",
        "worse": "The model thought about the question for some time and then gave the answer that it found right.",
        "feedback": "The better one names the step that the answer hangs on, and what would have come out otherwise. "
        "The other would fit any answer. If you see it differently, that is fine: there is no score.",
    },
    {
        "purpose": CheckItem.Purpose.PRACTICE,
        "position": 2,
        "question": "Mia is taller than Ben, and Ben is taller than Eva. Who is the smallest?",
        "answer": "Eva",
        "better": "The model put the three in a row: Mia, Ben, Eva. The last in this row is the smallest.",
        "worse": "Mia is taller than Ben, so the answer is Mia.",
        "feedback": "One text leads to the answer that the model gave, the other to a different one. An explanation "
        "that does not fit the answer helps nobody.",
    },
    {
        "purpose": CheckItem.Purpose.GOLD,
        "position": 1,
        "question": "A ticket costs 4 euros. How much do 6 tickets cost?",
        "answer": "24 euros",
        "better": "One ticket is 4 euros, and there are 6 of them: 6 times 4 is 24.",
        "worse": "Tickets tickets tickets. The weather was nice on that day, so the answer is what it is.",
    },
)


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
        judgements_wanted=3,  # 24 problems, three pairs each: 216 in all, for the 20 raters of the README
        chain_shown=False,  # one arm is the chain
        levels=Study.Levels.FIVE,
        reason_tags=["clearer", "shorter", "says what decided it", "fits the answer"],
        repeats=1,
    )
    CheckItem.objects.bulk_create(CheckItem(study=study, **fields) for fields in CHECKS)
    for method in METHODS:
        explainer, _ = Explainer.objects.get_or_create(
            name=method.replace("_", "-"), defaults={"method": method, "tested_steps": TESTED, "rollouts": ROLLOUTS}
        )
        Arm.objects.create(study=study, name=explainer.name, explainer=explainer)
    launch(study)
    study.refresh_from_db()
    return study
