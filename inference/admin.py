"""What researchers may see and change of the model's work: nothing that was made is ever edited."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from inference import queue
from inference.models import Explainer, Explanation, Problem, ProblemSet, Trace


class Unchangeable(admin.ModelAdmin):  # type: ignore[type-arg]  # django-stubs: not generic at run time
    """Rows that only the program writes: seen, never added, edited or deleted here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("pending", "Still to be made"), ("ready", "Made"), ("failed", "Failed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Explanation]) -> QuerySet[Explanation]:
        states = {
            "pending": Explanation.objects.pending,
            "ready": Explanation.objects.ready,
            "failed": Explanation.objects.failed,
        }
        chosen = states.get(self.value() or "")
        return queryset.filter(pk__in=chosen().values("pk")) if chosen else queryset


class ProblemInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Problem
    fields = ("key", "kind", "question", "asks", "options", "gold", "gold_text")
    can_delete = False
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(ProblemSet)
class ProblemSetAdmin(Unchangeable):
    """A set never changes once imported: a change is a new version, by `manage.py import_problems`."""

    list_display = ("name", "slug", "version", "created_at")
    inlines = (ProblemInline,)


@admin.register(Explainer)
class ExplainerAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Editable until it is used; then a change is a new version."""

    list_display = ("__str__", "method", "model", "writer", "head_version", "created_at")
    list_filter = ("method",)
    fieldsets = (
        (None, {"fields": ("name", "version", "method", "model", "revision", "seed", "max_new_tokens")}),
        (
            "Only for method inverse",
            {"fields": ("head_version", "writer", "candidates", "tested_steps", "rollouts", "budget")},
        ),
        ("Only for method api", {"fields": ("says",)}),
    )

    def has_change_permission(self, request: HttpRequest, obj: Explainer | None = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and self.used(obj))

    def has_delete_permission(self, request: HttpRequest, obj: Explainer | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and self.used(obj))

    def used(self, explainer: Explainer) -> bool:
        return explainer.explanations.exists()


@admin.register(Trace)
class TraceAdmin(Unchangeable):
    list_display = ("__str__", "problem", "model", "answer_text", "stage", "attempts", "made_at")
    search_fields = ("problem__key", "problem__question")
    list_select_related = ("problem",)


@admin.register(Explanation)
class ExplanationAdmin(Unchangeable):
    list_display = ("__str__", "problem", "state", "error", "head_version", "asked_at", "made_at")
    list_filter = (StateFilter, "explainer", "head_version")
    list_select_related = ("trace__problem", "explainer", "head_version")
    search_fields = ("trace__problem__key", "text", "error")
    actions = ("retry",)

    @admin.display(description="problem")
    def problem(self, explanation: Explanation) -> str:
        return explanation.trace.problem.key

    @admin.display(description="state")
    def state(self, explanation: Explanation) -> str:
        if explanation.failed_at:
            return "failed"
        return "made" if explanation.made_at else "to be made"

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("inference.change_explanation")

    @admin.action(description="Make the failed ones again", permissions=["retry"])
    def retry(self, request: HttpRequest, chosen: QuerySet[Explanation]) -> None:
        failed = Explanation.objects.failed().filter(pk__in=chosen.values("pk"))
        asked = queue.retry(failed)
        level = messages.SUCCESS if asked else messages.WARNING
        self.message_user(request, f"{asked} failed of those chosen will be made again.", level)
