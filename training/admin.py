"""Training runs, head versions and the run log to look at; the trigger policy to change; promotion and rollback."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from inference import heads
from inference.admin import Unchangeable
from inference.models import HeadVersion, Promotion
from training import lineage, pages
from training.models import Attempt, Policy, TrainingRun

STYLES = {"all": ("training/run.css",)}


@admin.register(TrainingRun)
class TrainingRunAdmin(Unchangeable):
    """Every `retrain` with what it measured. Runs are started by `manage.py retrain` or the trigger policy."""

    list_display = ("__str__", "learned_from", "head_version", "compared_with", "answers", "withdrawn", "started_at")
    list_filter = ("verdict", "studies")
    list_select_related = ("head_version", "compared_with")
    change_form_template = "admin/training/run.html"
    fields = ()

    class Media:
        css = STYLES

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrainingRun]:
        return super().get_queryset(request).prefetch_related("studies")

    @admin.display(description="learned from")
    def learned_from(self, run: TrainingRun) -> str:
        return ", ".join([*(study.slug for study in run.studies.all()), *(file["name"] for file in run.files)])

    @admin.display(description="judgements")
    def answers(self, run: TrainingRun) -> int:
        return len(run.judgement_ids)

    @admin.display(description="withdrawn since")
    def withdrawn(self, run: Any) -> str:
        return str(len(set(run.judgement_ids) - run.standing) or "")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Looks the judgements up once for all rows of the list."""
        shown, standing = super().get_changelist_instance(request), lineage.standing()
        for run in shown.result_list:
            run.standing = standing
        return shown

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        run = self.get_object(request, object_id)
        extra = pages.of_run(run) if isinstance(run, TrainingRun) else {}
        return super().change_view(request, object_id, form_url, extra)


class ReasonForm(forms.Form):
    """Why the head in use is changed, and which one it was when the page was shown."""

    reason = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), help_text="Kept in the log of promotions.")
    instead_of = forms.IntegerField(widget=forms.HiddenInput)


@admin.register(HeadVersion)
class HeadVersionAdmin(Unchangeable):
    """Head versions never change. Which one is in use does, by a promotion or a rollback that gives a reason."""

    list_display = ("__str__", "named", "base_model", "base_revision", "withdrawn", "created_at")
    change_form_template = "admin/training/head.html"
    fields = ()

    class Media:
        css = STYLES

    @admin.display(description="named")
    def named(self, head: Any) -> str:
        return str(head.line.called)

    @admin.display(description="withdrawn judgements")
    def withdrawn(self, head: Any) -> str:
        return str(head.line.withdrawn or "")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Looks the lineage up once for all rows of the list."""
        shown = super().get_changelist_instance(request)
        lines = {line.head.pk: line for line in lineage.lines(shown.result_list)}
        for head in shown.result_list:
            head.line = lines[head.pk]
        return shown

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        head = self.get_object(request, object_id)
        extra = pages.of_head(head) if isinstance(head, HeadVersion) else {}
        extra["may_move"] = self.may_move(request)
        return super().change_view(request, object_id, form_url, extra)

    def get_urls(self) -> list[URLPattern]:
        wrapped = self.admin_site.admin_view
        own = [
            path("<int:pk>/promote/", wrapped(self.promote), name="inference_headversion_promote"),
            path("<int:pk>/rollback/", wrapped(self.roll_back), name="inference_headversion_rollback"),
        ]
        return [*own, *super().get_urls()]

    def may_move(self, request: HttpRequest) -> bool:
        return request.user.has_perm("inference.change_headversion")

    def promote(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A page that says what will change, and the promotion once that is confirmed."""
        head = self.head(request, pk)
        return self.moved(request, head, head, "Promote")

    def roll_back(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The same for going back from the head `pk`, which is in use, to the one before it."""
        head = self.head(request, pk)
        previous = pages.previous_of(head)
        if previous is None:
            raise Http404
        return self.moved(request, head, previous, "Roll back")

    def head(self, request: HttpRequest, pk: int) -> HeadVersion:
        if not self.may_move(request):
            raise PermissionDenied
        head: HeadVersion | None = HeadVersion.objects.filter(pk=pk).first()
        if head is None or not head.trained:
            raise Http404
        return head

    def moved(self, request: HttpRequest, head: HeadVersion, to: HeadVersion, what: str) -> HttpResponse:
        current = HeadVersion.objects.current(head.base_model, head.base_revision)
        form = ReasonForm(request.POST or None, initial={"instead_of": current.number})
        if form.is_valid() and self.move(request, head, to, what, form.cleaned_data):
            return redirect(reverse("admin:inference_headversion_change", args=[head.pk]))
        said = f"{what} {to}" if what == "Promote" else f"{what} to {to}"
        page = {"title": said, "head": head, "to": to, "current": current, "what": what, "form": form}
        context = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media, **page}
        return TemplateResponse(request, "admin/training/move.html", context)

    def move(
        self, request: HttpRequest, head: HeadVersion, to: HeadVersion, what: str, given: dict[str, Any]
    ) -> bool:
        kind = Promotion.Kind.PROMOTE if what == "Promote" else Promotion.Kind.ROLLBACK
        expected = HeadVersion.objects.filter(number=given["instead_of"]).first()
        names = head.base_model, head.base_revision
        try:
            done = heads.promote(to, given["reason"], request.user.get_username(), kind, expected, *names)
        except heads.PromotionError as error:
            self.message_user(request, str(error), messages.ERROR)
            return False
        self.message_user(
            request, f"{to} is now in use for {done.base_model}. What was asked for before keeps its head."
        )
        return True


@admin.register(Promotion)
class PromotionAdmin(Unchangeable):
    """The log of promotions: who changed the head in use, when and why."""

    list_display = ("at", "kind", "base_model", "from_head", "to_head", "by", "reason")
    list_filter = ("kind", "base_model")
    list_select_related = ("from_head", "to_head")
    readonly_fields = ("at",)


@admin.register(Attempt)
class AttemptAdmin(Unchangeable):
    """The run log: every start of a retraining, with what came of it."""

    list_display = ("started_at", "trigger", "by", "outcome_in_words", "message", "run")
    list_filter = ("outcome", "trigger")
    list_select_related = ("run",)
    fields = ("trigger", "by", "host", "pid", "started_at", "finished_at", "outcome_in_words", "message", "run")
    readonly_fields = ("started_at", "finished_at", "outcome_in_words")

    @admin.display(description="outcome")
    def outcome_in_words(self, attempt: Attempt) -> str:
        return str(attempt.get_outcome_display() or "Running")


@admin.register(Policy)
class PolicyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The one row that says when retraining starts by itself."""

    fields = ("when", "judgements", "hour", "studies")
    filter_horizontal = ("studies",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return redirect(reverse("admin:training_policy_change", args=[Policy.current().pk]))
