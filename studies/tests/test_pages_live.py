"""Live updates over WebSockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.layers import channel_layers, get_channel_layer
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.test import Client
from django.utils import timezone

from studies import access, assignment, judging
from studies.models import Assignment, Rater, Study
from studies.routing import websocket_urlpatterns
from studies.tests import cast, pages

pytestmark = pytest.mark.django_db(transaction=True)
in_thread = database_sync_to_async
application = AuthMiddlewareStack(URLRouter(websocket_urlpatterns))


@pytest.fixture(autouse=True)
def fresh_layer() -> None:
    """Each test has a loop of its own, and the layer's queues belong to a loop."""
    channel_layers.backends.clear()


def socket(path: str, client: Client) -> WebsocketCommunicator:
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    headers = [(b"cookie", cookies.encode())]
    return WebsocketCommunicator(application, path, headers)


async def open_socket(path: str, client: Client) -> WebsocketCommunicator:
    opened = socket(path, client)
    connected, _ = await opened.connect(timeout=5)
    assert connected
    return opened


async def message(opened: WebsocketCommunicator) -> Any:
    return await opened.receive_json_from(timeout=5)


async def change(group: str) -> None:
    kind = "inference.changed" if group == "inference" else "study.changed"
    await get_channel_layer().group_send(group, {"type": kind})


async def test_a_waiting_rater_hears_when_there_is_something_to_compare(make_study: Callable[..., Study]) -> None:
    study = await in_thread(make_study)(ready=False)
    client = await in_thread(pages.consent)(study)
    opened = await open_socket(f"/ws/r/{study.token}/", client)
    first = await message(opened)
    assert (first["ready"], first["preparing"]) == (False, 4)
    await in_thread(cast.make_all_ready)(study)
    await change("inference")
    assert (await message(opened))["ready"] is True
    await opened.disconnect()


async def test_who_connects_late_gets_the_present_at_once(study: Study) -> None:
    client = await in_thread(pages.consent)(study)
    opened = await open_socket(f"/ws/r/{study.token}/", client)
    assert (await message(opened))["ready"] is True
    await opened.disconnect()


async def test_many_events_become_few_messages(study: Study, staff_client: Client) -> None:
    opened = await open_socket("/ws/studies/demo/", staff_client)
    await message(opened)
    for _ in range(50):
        await change("inference")
    messages = 0
    while not await opened.receive_nothing(timeout=1.5):
        await message(opened)
        messages += 1
    assert 1 <= messages <= 5  # one a second, and a busy machine takes a few to send so many
    await opened.disconnect()


async def test_a_researcher_sees_a_new_answer(study: Study, staff_client: Client) -> None:
    opened = await open_socket("/ws/studies/demo/", staff_client)
    assert "No answers yet" in (await message(opened))["html"]
    rater = await in_thread(assignment.enrol)(study)
    given = await in_thread(assignment.next_for)(rater)
    await in_thread(judging.record)(given, "tie")
    html = (await message(opened))["html"]
    assert '<svg class="chart"' in html
    await opened.disconnect()


async def test_strangers_hear_nothing(study: Study, make_study: Callable[..., Study]) -> None:
    other = await in_thread(make_study)(slug="other")
    client = await in_thread(pages.consent)(other)
    colleague = Client()
    await in_thread(colleague.force_login)(await in_thread(cast.make_researcher)("colleague", permitted=False))
    refused = [
        ("/ws/studies/demo/", Client()),
        ("/ws/studies/demo/", colleague),
        (f"/ws/r/{study.token}/", Client()),
        (f"/ws/r/{study.token}/", client),
        ("/ws/r/forged/", client),
    ]
    for path, who in refused:
        connected, _ = await socket(path, who).connect(timeout=5)
        assert not connected, path


@pytest.mark.parametrize("state", ["withdrawn_at", "rejected_at", "not started"])
async def test_whose_turn_it_is_not_reserves_nothing_by_a_socket(study: Study, state: str) -> None:
    client = await in_thread(pages.agree if state == "not started" else pages.consent)(study)
    if state != "not started":
        await in_thread(Rater.objects.update)(**{state: timezone.now()})
    connected, _ = await socket(f"/ws/r/{study.token}/", client).connect(timeout=5)
    assert not connected
    assert not await in_thread(Assignment.objects.exists)()


async def test_a_waiting_rater_whose_socket_is_refused_gets_the_same_by_asking(
    make_study: Callable[..., Study],
) -> None:
    study = await in_thread(make_study)(ready=False)
    client, forged = await in_thread(pages.consent)(study), Client()
    forged.cookies[access.cookie_name(study.token)] = "forged"
    connected, _ = await socket(f"/ws/r/{study.token}/", forged).connect(timeout=5)
    assert not connected
    assert "preparation" in (await in_thread(pages.compare)(client, study)).context
    await in_thread(cast.make_all_ready)(study)
    assert "sheet" in (await in_thread(pages.compare)(client, study)).context


async def test_the_preparing_state_is_told_in_the_studys_language(make_study: Callable[..., Study]) -> None:
    study = await in_thread(make_study)(ready=False, language="de")
    client = await in_thread(pages.consent)(study)
    opened = await open_socket(f"/ws/r/{study.token}/", client)
    told = (await message(opened))["html"]
    page = (await in_thread(pages.compare)(client, study)).content.decode()
    assert " ".join(told.split()) in " ".join(page.split()), "the same words as on the page itself"
    assert "Vergleich" in told
    await opened.disconnect()
