"""What a rater does in a browser, by Django's test client."""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import reverse

from studies import access
from studies.models import Rater, Study


def address(study: Study, name: str, *ids: object) -> str:
    return reverse(f"studies:{name}", args=[study.token, *ids])


def consent(study: Study, query: str = "") -> Client:
    """A browser of somebody who has agreed to take part, and has read the instructions where there are any."""
    client = agree(study, query)
    started = client.post(address(study, "instructions"))
    assert started.status_code == 302
    return client


def agree(study: Study, query: str = "") -> Client:
    """A browser of somebody who has just agreed."""
    client = Client()
    response = client.post(address(study, "consent") + query)
    assert response.status_code == 302
    return client


def rater_of(client: Client, study: Study) -> Rater:
    """The rater whom this browser's cookie names."""
    request = HttpRequest()
    request.COOKIES = {name: morsel.value for name, morsel in client.cookies.items()}
    rater = access.visitor(request, study.token)[1]
    assert rater, "this browser is nobody's"
    return rater


def compare(client: Client, study: Study) -> Any:
    return client.get(reverse("studies:compare", args=[study.token]), follow=True)


def form_of(page: HttpResponse) -> tuple[str, dict[str, str]]:
    """The address and the hidden fields of the answer form, as the page has them."""
    html = page.content.decode()
    form = re.search(r'<form id="answer".*?</form>', html, re.DOTALL)
    assert form, "the page has no answer form"
    address = re.search(r'action="([^"]+)"', form[0])
    assert address
    return address[1], dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[0]))


def answer(client: Client, page: HttpResponse, choice: str, **fields: str) -> Any:
    """Send the page's own form with one of its buttons pressed; the page that comes next."""
    address, hidden = form_of(page)
    return client.post(address, hidden | {"choice": choice} | fields, follow=True)


def undo(client: Client, study: Study) -> Any:
    """Send the undo form of the page that the rater is on."""
    html = compare(client, study).content.decode()
    found = re.search(r'name="judgement" value="(\d+)"', html)
    assert found, "the page has no undo form"
    return client.post(reverse("studies:undo", args=[study.token]), {"judgement": found[1]}, follow=True)
