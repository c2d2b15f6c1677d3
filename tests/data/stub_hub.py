"""A server that speaks as much of the Hugging Face Hub's protocol as making a data set and committing files takes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class StubHub:
    """What it was asked: repositories made, files committed, and the tokens that were sent."""

    def __init__(self, refuses: int = 0) -> None:
        self.refuses = refuses
        self.made: list[dict[str, object]] = []
        self.files: dict[str, bytes] = {}
        self.commits: list[str] = []
        self.tokens: set[str | None] = set()
        self.asked: list[str] = []
        self.url = ""


@contextmanager
def stub_hub(refuses: int = 0) -> Iterator[StubHub]:
    """Lend a server on this machine; `refuses`: the status it answers everything with."""
    hub = StubHub(refuses)

    class Handler(BaseHTTPRequestHandler):
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
            hub.asked.append(f"GET {self.path}")
            self.answer(hub.refuses or 404, {"error": "not here"})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.asked.append(f"POST {self.path}")
            hub.tokens.add(self.headers.get("Authorization"))
            if hub.refuses:
                self.answer(hub.refuses, {"error": "no"})
            elif self.path == "/api/repos/create":
                hub.made.append(json.loads(body))
                name = f"{hub.made[-1].get('organization')}/{hub.made[-1]['name']}"
                self.answer(200, {"url": f"{hub.url}/datasets/{name}", "id": name})
            elif self.path == "/api/validate-yaml":
                self.answer(200, {"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                asked = json.loads(body)["files"]
                files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]
                self.answer(200, {"files": files})
            elif "/commit/" in self.path:
                self.commit([json.loads(line) for line in body.splitlines()])
            else:
                self.answer(404, {"error": f"no {self.path}"})

        def commit(self, said: list[dict[str, dict[str, str]]]) -> None:
            for line in said:
                if line["key"] == "header":
                    hub.commits.append(line["value"]["summary"])
                else:
                    hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            name = self.path.removeprefix("/api/").partition("/commit/")[0]
            self.answer(200, {"commitUrl": f"{hub.url}/{name}/commit/abc", "commitOid": "abc"})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
