"""Live pages. An event only says that something changed; what is sent is read anew, at most once a second.

Both consumers start with a snapshot, so a page that connects late has missed nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.template.loader import render_to_string
from django.utils import translation

from inference.events import GROUP
from studies import access, assignment, flow, progress
from studies.models import Rater, Study
from studies.views.researcher import live_context

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds between two messages to one page
SHARE = 9  # the pause is this many times the work: the statistics of a large study take seconds
REFUSED = 4004  # close code: not there, or not for you


class LiveConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels ships no types
    """Sends `snapshot()` on connecting and after each event of its groups. Abstract: subclasses find what to show."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.groups: list[str] = []
        self.stale = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def find(self) -> Study:
        """What the page is about. Raises Http404 or PermissionDenied."""
        raise NotImplementedError

    def snapshot(self) -> dict[str, Any]:
        """What the page shows now, ready to be sent as JSON."""
        raise NotImplementedError

    async def connect(self) -> None:
        try:
            study = await database_sync_to_async(self.find)()
        except (Http404, PermissionDenied):
            await self.close(code=REFUSED)
            return
        # Listening starts before the first look, so nothing falls between. Channels leaves `groups` on disconnect.
        self.groups = [GROUP, f"study.{study.pk}"]
        for group in self.groups:
            await self.channel_layer.group_add(group, self.channel_name)
        await self.accept()
        self.stale.set()
        self.task = asyncio.create_task(self.keep_current())
        self.task.add_done_callback(self.stopped)

    async def disconnect(self, code: int) -> None:
        if self.task is not None:
            self.task.cancel()

    async def inference_changed(self, event: dict[str, Any]) -> None:
        self.stale.set()

    async def study_changed(self, event: dict[str, Any]) -> None:
        self.stale.set()

    async def keep_current(self) -> None:
        """Any number of events within the pause become one message, read after the last of them was stored."""
        while True:
            await self.stale.wait()
            self.stale.clear()
            began = time.monotonic()
            message = await database_sync_to_async(self.snapshot)()
            try:
                await self.send(text_data=json.dumps(message))
            except OSError:  # by the ASGI specification: the page has gone, and `disconnect` follows
                return
            await asyncio.sleep(max(PAUSE, SHARE * (time.monotonic() - began)))

    def stopped(self, task: asyncio.Task[None]) -> None:
        """Without its task the socket is deaf: closing it makes the page ask by itself."""
        if not task.cancelled() and (error := task.exception()):
            log.error("live updates stopped: %s", error, exc_info=error)
            self.closing = asyncio.ensure_future(self.close(code=1011))


class StudyProgressConsumer(LiveConsumer):
    """The results page of one study, for researchers who may see it."""

    def find(self) -> Study:
        self.study = access.study_for(self.scope["user"], self.scope["url_route"]["kwargs"]["slug"])
        return self.study

    def snapshot(self) -> dict[str, Any]:
        return {"html": render_to_string("partials/study_live.html", live_context(self.study, self.scope["user"]))}


class RaterProgressConsumer(LiveConsumer):
    """The preparing page of one rater. Says `ready` once there is a comparison, which is then reserved."""

    rater: Rater

    def find(self) -> Study:
        request = HttpRequest()
        request.COOKIES = dict(self.scope["cookies"])
        study, rater = access.visitor(request, self.scope["url_route"]["kwargs"]["token"])
        if rater is None or flow.where(study, rater) != flow.Place.COMPARE:
            raise Http404("In this browser nobody waits for a comparison.")
        self.rater = rater
        return study

    def snapshot(self) -> dict[str, Any]:
        ready = assignment.next_for(self.rater) is not None
        preparation = progress.preparation(self.rater.study)
        return {
            "ready": ready,
            "stage": preparation.stage,
            "preparing": preparation.comparisons,
            "html": self.words(preparation),
        }

    def words(self, preparation: progress.Preparation) -> str:
        with translation.override(self.rater.study.language):
            return render_to_string("partials/preparing.html", {"preparation": preparation})
