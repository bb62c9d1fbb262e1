"""The form in which researchers write a protocol: its fields in groups, checked at once."""

from __future__ import annotations

from typing import Any

from django import forms

from studies import protocol
from studies.models import Study

FIELDSETS: Any = (
    (None, {"fields": ("title", "slug", "state", "pages")}),
    (
        "What is compared",
        {"fields": ("problem_set", "problem_limit", "seed", "judgements_wanted", "rater_limit")},
    ),
    (
        "What raters read first",
        {
            "description": "The consent text stays as you write it, and its version is stored with each rater.",
            "fields": ("language", "consent_text", "instructions", "pay"),
        },
    ),
    ("What raters see", {"fields": ("question", "answer_shown", "chain_shown")}),
    (
        "What raters answer",
        {
            "description": "“Equally good”, “both bad”, “cannot judge” and a reason in words are always there.",
            "fields": ("levels", "criteria", "reason_tags", "simulation"),
        },
    ),
    (
        "Checks of care",
        {
            "description": "Signals for you, on the study's page of raters. Practice and gold are further down.",
            "fields": ("repeats", "fast_seconds", "pastes_noted", "reject_failed_checks"),
        },
    ),
    ("Breaks, changes and withdrawal", {"fields": ("break_after", "review_until", "withdrawal")}),
    (
        "Who takes part",
        {
            "description": "Personal links are made in the list of studies and downloaded on the study's page. A "
            "panel names its participants in the link: by PROLIFIC_PID, STUDY_ID and SESSION_ID with Prolific, by "
            "participant and session with others.",
            "fields": (
                "invited_only",
                "panel",
                "return_url",
                ("code_complete", "code_screened_out"),
                ("code_refused", "code_failed_checks"),
            ),
        },
    ),
    ("When", {"fields": ("launched_at", "closed_at")}),
)


class StudyForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Says at once what would keep the study from being launched."""

    class Meta:
        model = Study
        exclude = ()  # noqa: DJ006  # FIELDSETS name the fields

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        filled_in = Study(**{name: cleaned[name] for name in cleaned if name in self.fields})
        for name, why in protocol.faults(filled_in):
            if name in self.fields and name not in self.errors:
                self.add_error(name, why)
        return cleaned
