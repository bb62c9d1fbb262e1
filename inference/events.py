"""Tells open pages that something changed. An event carries no data: its receiver reads the rows again."""

from __future__ import annotations

import logging

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

GROUP = "inference"


def announce(group: str = GROUP, kind: str = "inference.changed") -> None:
    """Send `kind` to `group`. A lost event only delays a page by one poll: a dead broker is logged."""
    try:
        async_to_sync(get_channel_layer().group_send)(group, {"type": kind})
    except (RedisError, OSError) as error:
        log.warning("live update not sent: %s", error)
