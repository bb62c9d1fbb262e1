"""The one-process channel layer is used from two threads with a loop each: the server's and the worker's."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer

from sage_web.layers import ThreadSafeInMemoryLayer


@pytest.fixture
def server_loop():
    """A loop of its own in a thread, as uvicorn has, which otherwise sleeps."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    ThreadSafeInMemoryLayer.owner = loop
    yield loop
    ThreadSafeInMemoryLayer.owner = None
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def seconds_until_received(layer, loop, wait):
    async def listen():
        channel = await layer.new_channel()
        await layer.group_add("study", channel)
        listening.set()
        return await layer.receive(channel)

    listening = threading.Event()
    receiving = asyncio.run_coroutine_threadsafe(listen(), loop)
    listening.wait(5)
    time.sleep(0.05)  # let the loop fall asleep in `receive`
    started = time.perf_counter()
    with ThreadPoolExecutor(1) as worker_thread:
        worker_thread.submit(async_to_sync(layer.group_send), "study", {"type": "changed"}).result(5)
    assert receiving.result(wait) == {"type": "changed"}
    return time.perf_counter() - started


def test_a_message_from_another_thread_arrives_at_once(server_loop):
    assert seconds_until_received(ThreadSafeInMemoryLayer(), server_loop, wait=5) < 0.5


def test_channels_own_layer_would_not_wake_the_server(server_loop):
    """Why there is a layer of our own: once this fails, Channels can do it and ours can go."""
    with pytest.raises(TimeoutError):
        seconds_until_received(InMemoryChannelLayer(), server_loop, wait=1)
    server_loop.call_soon_threadsafe(lambda: None)  # wakes it, so that the listener ends before its loop does
    time.sleep(0.1)
