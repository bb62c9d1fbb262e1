"""Studies are configured here and launched; from then on they are frozen."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from inference.admin import Unchangeable
from studies import invites, launch, protocol
from studies.models import Arm, CheckItem, Invite, Judgement, Study
from studies.protocol_form import FIELDSETS, StudyForm


def frozen(study: Study | None) -> bool:
    return study is not None and study.launched_at is not None


class FrozenAfterLaunch:
    """For rows that belong to a study's protocol."""

    def has_add_permission(self, request: HttpRequest, obj: Study | None = None) -> bool:
        return super().has_add_permission(request, obj) and not frozen(obj)  # type: ignore[misc]

    def has_change_permission(self, request: HttpRequest, obj: Study | None = None) -> bool:
        return super().has_change_permission(request, obj) and not frozen(obj)  # type: ignore[misc]

    def has_delete_permission(self, request: HttpRequest, obj: Study | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not frozen(obj)  # type: ignore[misc]


class ArmInline(FrozenAfterLaunch, admin.TabularInline):  # type: ignore[type-arg]
    model = Arm
    extra = 0
    min_num = 2


class CheckItemInline(FrozenAfterLaunch, admin.StackedInline):  # type: ignore[type-arg]
    """Practice items and gold comparisons."""

    model = CheckItem
    extra = 0
    fields = (("purpose", "position"), "question", "answer", "better", "worse", "feedback")


class StudyActionForm(ActionForm):
    """The number for “Make personal links”."""

    number = forms.IntegerField(
        required=False, min_value=1, max_value=invites.MOST, initial=10, label="Personal links:"
    )


@admin.register(Study)
class StudyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = StudyForm
    action_form = StudyActionForm
    list_display = ("title", "slug", "state", "problem_set", "launched_at", "closed_at", "pages")
    list_select_related = ("problem_set",)
    prepopulated_fields = {"slug": ("title",)}
    readonly_fields = ("state", "pages", "launched_at", "closed_at")
    inlines = (ArmInline, CheckItemInline)
    actions = ("launch_chosen", "close_chosen", "copy_chosen", "make_links")
    fieldsets = FIELDSETS

    def save_model(self, request: HttpRequest, obj: Study, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if obj.simulation != Study.Simulation.NONE and obj.answer_shown:
            said = "Raters predict the model's answer, so it is hidden, though “answer shown” is ticked."
            self.message_user(request, said, messages.WARNING)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        study = form.instance
        for _, why in protocol.item_faults(study, protocol.gold_items(study)):
            self.message_user(request, f"Saved, but it cannot be launched like this. {why}", messages.WARNING)

    def get_prepopulated_fields(self, request: HttpRequest, obj: Study | None = None) -> dict[str, Any]:
        return {} if obj else dict(self.prepopulated_fields)

    def has_change_permission(self, request: HttpRequest, obj: Study | None = None) -> bool:
        return super().has_change_permission(request, obj) and not frozen(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Study | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not frozen(obj)

    @admin.display(description="state")
    def state(self, study: Study) -> str:
        if study.running:
            return "running"
        return "closed" if study.launched_at else "draft"

    @admin.display(description="pages")
    def pages(self, study: Study) -> SafeString | str:
        if not study.launched_at:
            return "after the launch"
        return format_html(
            '<a href="{}">Results</a> · <a href="{}">Link for raters</a>',
            reverse("studies:results", args=[study.slug]),
            reverse("studies:consent", args=[study.token]),
        )

    @admin.action(description="Launch", permissions=["change"])
    def launch_chosen(self, request: HttpRequest, chosen: QuerySet[Study]) -> None:
        for study in chosen:
            try:
                launch.launch(study)
            except launch.NotLaunchable as reason:
                self.message_user(request, str(reason), messages.ERROR)
            else:
                self.message_user(request, f"{study} is running; its explanations are being made.", messages.SUCCESS)

    @admin.action(description="Close: no new raters, no new comparisons", permissions=["change"])
    def close_chosen(self, request: HttpRequest, chosen: QuerySet[Study]) -> None:
        for study in chosen:
            if study.running:
                launch.close(study)
                self.message_user(request, f"{study} is closed.", messages.SUCCESS)
            else:
                self.message_user(request, f"{study} is not running, so it was left as it is.", messages.WARNING)

    @admin.action(description="Copy as a new draft", permissions=["add"])
    def copy_chosen(self, request: HttpRequest, chosen: QuerySet[Study]) -> None:
        for study in chosen:
            draft = launch.copy(study, free_slug(study.slug))
            link = reverse("admin:studies_study_change", args=[draft.pk])
            message = format_html('Copied as the draft <a href="{}">{}</a>.', link, draft.slug)
            self.message_user(request, message, messages.SUCCESS)

    @admin.action(description="Make personal links", permissions=["change"])
    def make_links(self, request: HttpRequest, chosen: QuerySet[Study]) -> None:
        given = request.POST.get("number", "")
        try:
            number = int(given)
            made = {study: invites.make(study, number) for study in chosen}
        except ValueError:
            self.message_user(request, f"{given!r} is no number of links.", messages.ERROR)
        except invites.TooMany as reason:
            self.message_user(request, str(reason), messages.ERROR)
        else:
            for study in made:
                address = reverse("studies:invites_csv", args=[study.slug])
                message = format_html('{} personal links were made. <a href="{}">Download them</a>.', number, address)
                self.message_user(request, message, messages.SUCCESS)


def free_slug(slug: str) -> str:
    """The slug with the first number that no study has: demo, demo-2, demo-3."""
    taken = set(Study.objects.filter(slug__startswith=slug[:55]).values_list("slug", flat=True))
    return next(name for number in range(2, len(taken) + 3) if (name := f"{slug[:55]}-{number}") not in taken)


@admin.register(Judgement)
class JudgementAdmin(Unchangeable):
    """Append-only: a changed answer is a row of its own, and nobody edits what a rater said."""

    list_display = ("pk", "study", "preferred_arm", "choice", "revision", "assignment", "seconds", "judged_at")
    list_filter = ("choice", "assignment__comparison__study")
    list_select_related = (
        "assignment__comparison__study",
        "assignment__comparison__first_arm",
        "assignment__comparison__second_arm",
    )
    search_fields = ("reason",)

    @admin.display(description="preferred arm")
    def preferred_arm(self, judgement: Judgement) -> str:
        comparison = judgement.assignment.comparison
        arms = {"first": comparison.first_arm.name, "second": comparison.second_arm.name}
        return arms.get(judgement.choice, "–")

    @admin.display(description="study")
    def study(self, judgement: Judgement) -> Study:
        return judgement.assignment.comparison.study


@admin.register(Invite)
class InviteAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Made by the action “Make personal links” of the list of studies. The label and the end can be changed."""

    list_display = ("label", "study", "agreed", "expires_at", "created_at")
    list_filter = ("study",)
    list_select_related = ("study", "rater")
    search_fields = ("label",)
    fields = ("study", "label", "expires_at")
    readonly_fields = ("study",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description="agreed", boolean=True)
    def agreed(self, invite: Invite) -> bool:
        return hasattr(invite, "rater")
