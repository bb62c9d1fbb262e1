"""manage.py rerun_study: the same study again, with the head now in use."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_slug
from django.db import transaction

from studies import launch
from studies.models import Study


class Command(BaseCommand):
    help = (
        "Copy a study under a new slug and launch the copy. Inverse explanations are made with the head now in use."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", help="slug of the study to repeat")
        parser.add_argument("slug", help="slug of the new study")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            copy = self.rerun(options["study"], options["slug"])
        except (ValidationError, launch.NotLaunchable, Study.DoesNotExist) as error:
            raise CommandError(self.reason(error, options)) from error
        self.stdout.write(f"Launched {copy.slug}. Raters: /r/{copy.token}/  Results: /studies/{copy.slug}/")

    @transaction.atomic
    def rerun(self, slug: str, new_slug: str) -> Study:
        validate_slug(new_slug)
        if Study.objects.filter(slug=new_slug).exists():
            raise ValidationError(f"There already is a study {new_slug!r}; choose another slug.")
        copy = launch.copy(Study.objects.get(slug=slug), new_slug)
        launch.launch(copy)
        return copy

    def reason(self, error: Exception, options: dict[str, Any]) -> str:
        if isinstance(error, Study.DoesNotExist):
            known = ", ".join(Study.objects.values_list("slug", flat=True)) or "none yet"
            return f"There is no study {options['study']!r}. Studies: {known}."
        return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
