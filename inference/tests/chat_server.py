"""A small HTTP server with OpenAI's chat protocol, in a thread of the test, that answers as it was told to."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

CHAIN = "Step 1: Think of it. Step 2: 3.5 is not it.\nAnswer: {}"
WHY = "I chose it because it fits."


@dataclass
class Reply:
    """`body` is sent as JSON, or as it is where it is a text."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0  # seconds


@dataclass
class ChatServer:
    """Gives the replies of `scripted`, then a chain that answers with the first option, or a reason without options.

    `bodies` and `headers` (names in lower case) are what it was sent, in order.
    """

    url: str = ""
    scripted: list[Reply] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def reply(self, body: dict[str, Any], headers: dict[str, str]) -> Reply:
        self.bodies.append(body)
        self.headers.append(headers)
        return self.scripted.pop(0) if self.scripted else Reply(completion(written(body)))


def written(body: dict[str, Any]) -> str:
    _, listed, options = body["messages"][-1]["content"].partition("\nOptions: ")
    return CHAIN.format(options.split(", ")[0]) if listed else WHY


def completion(text: Any, finish: Any = "stop", usage: Any = (300, 40), **message: Any) -> dict[str, Any]:
    counted = (
        {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)} if usage else None
    )
    said = {"role": "assistant", "content": text, **message}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "small@today",
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
        "usage": counted,
    }


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    known = ChatServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = known.reply(
                {"path": self.path, **body}, {name.lower(): value for name, value in self.headers.items()}
            )
            time.sleep(reply.delay)
            with suppress(ConnectionError):  # a client that did not wait
                self.send(reply)

        def send(self, reply: Reply) -> None:
            content = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content.encode())))
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    known.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
