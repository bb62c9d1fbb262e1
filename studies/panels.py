"""Panels that raters come from and are sent back to: Prolific, and others through an address with blanks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from django.core.exceptions import ValidationError
from django.http import QueryDict

from studies.flow import Status
from studies.models import Rater, Study

PROLIFIC = "https://app.prolific.com/submissions/complete?cc={code}"
PARAMETERS = {
    Study.Panel.PROLIFIC: ("PROLIFIC_PID", "SESSION_ID", "STUDY_ID"),
    Study.Panel.OTHER: ("participant", "session"),
}
"""What a panel adds to the link, the participant first. Prolific's names are its own."""
IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,100}")
BLANKS = ("code", "status", "participant")


class NotFromPanel(Exception):
    """The link lacks a participant or what it gives as one cannot be. Says which parameter, and what is allowed."""


@dataclass(frozen=True)
class Participant:
    """Who the panel says is coming; empty where no panel is used."""

    name: str = ""
    session: str = ""


@dataclass(frozen=True)
class Return:
    """What a rater takes back to the panel. Either can be empty."""

    code: str
    address: str


def participant_of(study: Study, query: QueryDict) -> Participant:
    """The participant that the link names. Raises NotFromPanel where a panel's study is opened without one."""
    names = PARAMETERS.get(Study.Panel(study.panel), ())
    values = [query.get(name, "") for name in names]
    for name, value in zip(names, values, strict=True):
        if not IDENTIFIER.fullmatch(value) and (value or name == names[0]):
            given = f"is {value[:20]!r}" if value else "is missing"
            raise NotFromPanel(f"{name} {given}; it has 1 to 100 letters, digits, “-” or “_”.")
    return Participant(*values[:2])


def query_of(study: Study) -> str:
    """What a panel is to add to the study's link, in the panel's own notation."""
    if study.panel == Study.Panel.PROLIFIC:
        return "?" + "&".join(f"{name}={{{{%{name}%}}}}" for name in ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"))
    return "?participant=…&session=…" if study.panel == Study.Panel.OTHER else ""


def known(study: Study, participant: Participant) -> Rater | None:
    """The rater of this study whom the panel has sent before."""
    if not participant.name:
        return None
    return Rater.objects.filter(study=study, participant=participant.name).first()


def way_back(study: Study, status: Status, participant: str = "") -> Return | None:
    """The code and the address for a rater whose study ended so, or None where the study has neither."""
    code = str(getattr(study, f"code_{status}"))
    template = study.return_url or (PROLIFIC if study.panel == Study.Panel.PROLIFIC else "")
    if study.panel == Study.Panel.NONE or not (code or study.return_url):
        return None
    if "{code}" in template and not code:
        return Return("", "")
    values = {"code": code, "status": str(status), "participant": participant}
    for blank, value in values.items():
        template = template.replace(f"{{{blank}}}", quote(value, safe=""))
    return Return(code, template)


def valid_return_url(url: str) -> None:
    """Raises ValidationError unless `url` is an https address whose host is fixed and whose blanks are known ones."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or "{" in parts.netloc or parts.username:
        raise ValidationError(f"{url} is no address that begins with https:// and a host.")
    unknown = set(re.findall(r"{(.*?)}", url)) - set(BLANKS)
    if unknown:
        raise ValidationError(f"{{{unknown.pop()}}} is no blank; they are: {{code}}, {{status}}, {{participant}}.")
