"""What a rater may send."""

from __future__ import annotations

from django import forms

from studies.models import Judgement

SIDES = (("a", "A is better"), ("b", "B is better"), ("tie", "Equally good"), ("both_bad", "Both bad"))
REASON_LIMIT = 2000


class JudgementForm(forms.Form):
    """`seconds` is measured by the page's script and is missing without it."""

    choice = forms.ChoiceField(
        choices=SIDES,
        error_messages={
            "required": "Choose one of the four answers.",
            "invalid_choice": "“%(value)s” is no answer. Choose one of the four.",
        },
    )
    reason = forms.CharField(required=False, max_length=REASON_LIMIT)
    revision = forms.IntegerField(min_value=1, max_value=32_767)
    seconds = forms.FloatField(required=False, min_value=0)

    def judged(self, first_on_left: bool) -> Judgement.Choice:
        """The chosen side as an arm: A is the left explanation."""
        side = self.cleaned_data["choice"]
        if side not in ("a", "b"):
            return Judgement.Choice(side)
        first = (side == "a") == first_on_left
        return Judgement.Choice.FIRST if first else Judgement.Choice.SECOND


class UndoForm(forms.Form):
    """Which answer is to be taken back, so that a form sent twice does not take back two."""

    judgement = forms.IntegerField(min_value=1, max_value=2**63 - 1)
