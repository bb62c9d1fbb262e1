"""The criterion library: what raters can be asked besides the overall choice, in the exact words that they read."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

# Each: its name on the page, and its definition, which raters read in full.
CRITERIA: dict[str, tuple[Promise, Promise]] = {
    "clarity": (_("Clarity"), _("It is easy to follow, in its words and in its order.")),
    "completeness": (_("Completeness"), _("It leaves out nothing that one needs to understand the answer.")),
    "usefulness": (_("Usefulness"), _("It helps me to decide whether I should rely on this answer.")),
    "support": (_("Supports the answer"), _("What it says really leads to the answer that the model gave.")),
    "contrast": (_("Contrast"), _("It says why this answer was given rather than another one.")),
    "trust": (_("Trust"), _("I believe that it tells how the model came to its answer.")),
}


def known_criteria(value: Any) -> None:
    """Raises ValidationError unless `value` is a list of different criteria of the library."""
    if not isinstance(value, list) or len(set(map(str, value))) < len(value) or set(map(str, value)) - set(CRITERIA):
        raise ValidationError(f"{value} is no list of different criteria; they are: {', '.join(CRITERIA)}.")
