"""Comparisons with a known better side, written by the researcher: for practice, or hidden as gold."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone

from studies.models.rating import Rater
from studies.models.study import Study


class CheckItem(models.Model):
    """Two explanations of which one is plainly better. Sides are drawn per rater."""

    class Purpose(models.TextChoices):
        PRACTICE = "practice", "Practice, with feedback"
        GOLD = "gold", "Gold: among the others, without feedback"

    study = models.ForeignKey(Study, models.CASCADE, related_name="check_items")
    purpose = models.CharField(max_length=8, choices=Purpose.choices)
    position = models.PositiveSmallIntegerField(default=0)
    question = models.TextField()
    answer = models.CharField(max_length=300, help_text="The answer that both texts explain.")
    better = models.TextField(help_text="The explanation that should win.")
    worse = models.TextField()
    feedback = models.TextField(blank=True, help_text="Shown after a practice comparison: why the better one is.")

    class Meta:
        ordering = ("study", "purpose", "position", "pk")

    def __str__(self) -> str:
        return f"{self.purpose} {self.position}: {self.question[:40]}"


class CheckAnswer(models.Model):
    """What a rater answered to a check item, once. Handed out when `answered_at` is still empty."""

    public_id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    item = models.ForeignKey(CheckItem, models.CASCADE, related_name="answers")
    rater = models.ForeignKey(Rater, models.CASCADE, related_name="check_answers")
    better_on_left = models.BooleanField()
    choice = models.CharField(max_length=12, blank=True, help_text="better, worse, tie, both_bad or cannot_judge.")
    given_at = models.DateTimeField(default=timezone.now, editable=False)
    answered_at = models.DateTimeField(null=True, editable=False)
    active_seconds = models.FloatField(null=True)

    class Meta:
        ordering = ("pk",)
        constraints = [models.UniqueConstraint(fields=("item", "rater"), name="one_check_answer_per_rater")]

    def __str__(self) -> str:
        return f"{self.choice or 'unanswered'} (check {self.item_id}, rater {self.rater_id})"

    @property
    def passed(self) -> bool:
        return self.choice == "better"
