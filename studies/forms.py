"""What a rater may send."""

from __future__ import annotations

import json
import math
import re
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from studies.models import Judgement, Study

REASON_LIMIT = 2000
COMMENT_LIMIT = 500
SPAN_LIMIT = 50
OTHERS = ("tie", "both_bad", "cannot_judge")
VIEWPORT = re.compile(r"\d{1,5}x\d{1,5}(@\d{1,2}(\.\d{1,4})?)?")
PASTED = {"0": False, "1": True}


class Measured(forms.Field):
    """Seconds, as the page's script counted them. A wrong clock must not cost an answer: nonsense is left out."""

    def clean(self, value: Any) -> float | None:
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            return None
        return seconds if math.isfinite(seconds) and seconds >= 0 else None


class Key(forms.Field):
    """What the page made up to tell two sendings of one form from two forms. One that cannot be read is none."""

    def clean(self, value: Any) -> UUID | None:
        try:
            return UUID(str(value))
        except ValueError:
            return None


class Reason(forms.CharField):
    """Browsers count a new line as one character against `maxlength`, and then send two."""

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).replace("\r\n", "\n")


class JudgementForm(forms.Form):
    """An answer to a comparison or a check item, on the study's scale and with its criteria.

    `lengths` are those of the left and the right text in characters, which marked passages must lie in; `options` is
    how many there are to predict from, 0 where nothing is to be predicted.
    """

    choice = forms.ChoiceField(
        error_messages={
            "required": gettext_lazy("Choose one of the answers."),
            "invalid_choice": gettext_lazy("“%(value)s” is none of the answers. Choose one of those shown."),
        }
    )
    reason = Reason(
        required=False,
        max_length=REASON_LIMIT,
        error_messages={
            "max_length": gettext_lazy(
                "A reason has at most %(limit_value)d characters; this one has %(show_value)d. Shorten it."
            )
        },
    )
    tags = forms.MultipleChoiceField(required=False)
    spans = forms.CharField(required=False)
    revision = forms.IntegerField(min_value=1, max_value=32_767)
    client_key = Key()
    seconds = Measured()
    active_seconds = Measured()
    first_seconds = Measured()
    pasted = forms.CharField(required=False)
    page_version = forms.CharField(required=False)
    viewport = forms.CharField(required=False)

    def __init__(
        self, *arguments: Any, study: Study, lengths: tuple[int, int] = (0, 0), options: int = 0, **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        self.study, self.lengths, self.options = study, lengths, options
        choose(self.fields["choice"], answers(study))
        choose(self.fields["tags"], study.reason_tags)
        for key in study.criteria:
            self.fields[f"criterion_{key}"] = forms.ChoiceField(
                choices=[(side, side) for side in ("a", "tie", "b", "both_bad")],
                required=False,
                error_messages={"invalid_choice": gettext_lazy("“%(value)s” is none of the answers.")},
            )
        if options:
            self.fields["prediction"] = prediction_field(options, required=False)

    def clean_spans(self) -> list[dict[str, Any]]:
        """As they are stored, still with sides. Raises ValidationError when one lies outside its text."""
        try:
            spans = json.loads(self.cleaned_data["spans"] or "[]")
        except (ValueError, RecursionError) as error:
            raise ValidationError(_("The marked passages could not be read. Mark them again.")) from error
        if not isinstance(spans, list) or len(spans) > SPAN_LIMIT:
            raise ValidationError(_("At most %(limit)d passages can be marked.") % {"limit": SPAN_LIMIT})
        return [self.span(span) for span in spans]

    def span(self, given: Any) -> dict[str, Any]:
        side, start, end, comment = (
            (given.get(name) for name in ("side", "start", "end", "comment"))
            if isinstance(given, dict)
            else (None,) * 4
        )
        length = dict(zip("ab", self.lengths, strict=True)).get(side, 0) if isinstance(side, str) else 0
        if type(start) is not int or type(end) is not int or not 0 <= start < end <= length:
            raise ValidationError(_("A marked passage lies outside its text. Mark it again."))
        if not isinstance(comment or "", str) or len(comment or "") > COMMENT_LIMIT or "\0" in (comment or ""):
            raise ValidationError(_("A comment has at most %(limit)d characters.") % {"limit": COMMENT_LIMIT})
        return {"side": side, "start": start, "end": end, "comment": comment or ""}

    def clean(self) -> dict[str, Any]:
        """Whoever cannot judge owes nothing else; everybody else answers all that the study asks."""
        if self.cleaned_data.get("choice") != "cannot_judge":
            for name in self.fields:
                owed = name == "prediction" or name.startswith("criterion_")
                if owed and name not in self.errors and self.cleaned_data.get(name) in ("", None):
                    self.add_error(name, _("This is still to be answered."))
        return self.cleaned_data

    # -- Sides become arms -------------------------------------------------------------------------------------------

    def judged(self, first_on_left: bool) -> dict[str, Any]:
        """The answer as fields of a Judgement: A is the left explanation, and the first arm may be either."""
        given = self.cleaned_data
        side, strength = given["choice"][:1], given["choice"][1:]
        decided = given["choice"] not in OTHERS
        return {
            "choice": arm(side, first_on_left) if decided else given["choice"],
            "strength": int(strength) if decided and strength else None,
            "criteria": {
                key: arm(given[f"criterion_{key}"], first_on_left)
                for key in self.study.criteria
                if given[f"criterion_{key}"]
            },
            "tags": given["tags"],
            "spans": [
                {"arm": arm(span["side"], first_on_left)} | {k: span[k] for k in ("start", "end", "comment")}
                for span in given["spans"]
            ],
            "reason": given["reason"],
            "seconds": given["seconds"],
            "active_seconds": given["active_seconds"],
            "first_seconds": given["first_seconds"],
            "pasted": PASTED.get(given["pasted"]) if self.study.pastes_noted else None,
            "page_version": given["page_version"][:40],
            "viewport": given["viewport"] if VIEWPORT.fullmatch(given["viewport"]) else "",
        }

    def checked(self, better_on_left: bool) -> str:
        """The answer to a check item: better, worse, tie, both_bad or cannot_judge."""
        choice = str(self.cleaned_data["choice"])
        return choice if choice in OTHERS else "better" if (choice[0] == "a") == better_on_left else "worse"


class PredictionForm(forms.Form):
    """Which of a problem's options the model is thought to have answered."""

    def __init__(self, *arguments: Any, options: int, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.fields["option"] = prediction_field(options)


class UndoForm(forms.Form):
    """Which answer is to be taken back, so that a form sent twice does not take back two."""

    judgement = forms.IntegerField(min_value=1, max_value=2**63 - 1)


def prediction_field(options: int, required: bool = True) -> forms.TypedChoiceField:
    return forms.TypedChoiceField(
        choices=[(str(index), str(index)) for index in range(options)],
        coerce=int,
        empty_value=None,
        required=required,
        error_messages={
            "required": gettext_lazy("Choose the answer that you think the model gave."),
            "invalid_choice": gettext_lazy("“%(value)s” is none of the answers. Choose one of those shown."),
        },
    )


def answers(study: Study) -> list[str]:
    """What the buttons can send: the side with its strength, where the study has several, and the other answers."""
    strengths = [""] if study.strengths == 1 else [str(strength) for strength in range(1, study.strengths + 1)]
    return [f"{side}{strength}" for side in "ab" for strength in strengths] + list(OTHERS)


def choose(field: forms.Field, values: list[str]) -> None:
    field.choices = [(value, value) for value in values]  # type: ignore[attr-defined]


def arm(side: str, first_on_left: bool) -> str:
    """A side as an arm; a tie or both bad stay what they are."""
    if side not in ("a", "b"):
        return side
    return Judgement.Choice.FIRST.value if (side == "a") == first_on_left else Judgement.Choice.SECOND.value


def side(arm: str, first_on_left: bool) -> str:
    """An arm as the side that it stood on."""
    if arm not in ("first", "second"):
        return arm
    return "a" if (arm == "first") == first_on_left else "b"


def earlier(judgement: Judgement, prediction: int | None) -> dict[str, Any]:
    """An answer as the page's form holds it, to be changed."""
    left = judgement.assignment.first_on_left
    strength = judgement.strength or ""
    return {
        "choice": f"{side(judgement.choice, left)}{strength}",
        "reason": judgement.reason,
        "tags": judgement.tags,
        "spans": [
            {"side": side(span["arm"], left)} | {k: span[k] for k in ("start", "end", "comment")}
            for span in judgement.spans
        ],
        "prediction": prediction,
    } | {f"criterion_{key}": side(value, left) for key, value in judgement.criteria.items()}
