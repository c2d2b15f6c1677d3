"""A server that speaks as much of the Hugging Face Hub's protocol as making a data set and committing files takes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class StubHub:
    """What it was asked: repositories made, files committed, and the tokens that were sent."""

    def __init__(self, refuses: int = 0) -> None:
        self.refuses = refuses
        self.made: list[dict[str, object]] = []
        self.files: dict[str, bytes] = {}
        self.commits: list[str] = []
        self.tokens: set[str | None] = set()
        self.url = ""

    def keep(self, said: list[dict[str, Any]]) -> None:
        """Take a commit: a header, then a line per file."""
        for line in said:
            if line["key"] == "header":
                self.commits.append(line["value"]["summary"])
            else:
                self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])


class _Server(ThreadingHTTPServer):
    hub: StubHub


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.answer(self.server.hub.refuses or 404, {"error": "not here"})

    def do_POST(self) -> None:
        hub, body = self.server.hub, self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.tokens.add(self.headers.get("Authorization"))
        name = self.path.removeprefix("/api/").partition("/commit/")[0]
        if hub.refuses:
            self.answer(hub.refuses, {"error": "no"})
        elif self.path == "/api/repos/create":
            hub.made.append(json.loads(body))
            name = f"{hub.made[-1]['organization']}/{hub.made[-1]['name']}"
            self.answer(200, {"url": f"{hub.url}/datasets/{name}", "id": name})
        elif self.path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]
            self.answer(200, {"files": files})
        elif "/commit/" in self.path:
            hub.keep([json.loads(line) for line in body.splitlines()])
            self.answer(200, {"commitUrl": f"{hub.url}/{name}/commit/abc", "commitOid": "abc"})
        else:
            self.answer(404, {"error": f"no {self.path}"})


@contextmanager
def stub_hub(refuses: int = 0) -> Iterator[StubHub]:
    """Lend a server on this machine; `refuses`: the status it answers everything with."""
    hub = StubHub(refuses)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.hub = hub
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
