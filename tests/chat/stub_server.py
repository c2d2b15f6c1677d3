"""A real HTTP server on loopback that speaks both wire formats and can misbehave, for tests.

In a test, as a thread:

    with StubServer(lambda messages: "Verdict: A") as server:
        Endpoint(provider="openai", model="stub", base_url=server.openai_url)

From anywhere, as a process that prints its address (`--reply` names a function in a file):

    python tests/chat/stub_server.py --seed 1 --faults rate_limited=0.05,hang=0.01 --reply my.py:reply

`GET <address>/counts` then tells what was asked. Requests are counted by the text of their last message.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

Reply = Callable[[list[dict[str, str]]], str]
"""messages (system first, as {"role", "content"}) -> the completion."""

Fault = Callable[[str, int], str | None]
"""(text of the last message, how often it was asked before) -> name of a fault, or None."""

ERRORS: dict[str, tuple[int, str, str]] = {
    "rate_limited": (429, "rate_limit_error", "slow down"),
    "quota": (429, "insufficient_quota", "you exceeded your current quota"),
    "bad_request": (400, "invalid_request_error", "the context is too long"),
    "too_large": (413, "invalid_request_error", "the request is too large"),
    "unprocessable": (422, "invalid_request_error", "cannot be processed"),
    "server_error": (500, "server_error", "something broke"),
    "overloaded": (529, "overloaded_error", "overloaded"),
}
FAULTS = (*ERRORS, "hang", "drop", "malformed")
OPENAI_FIELDS = {"model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "seed"}
ANTHROPIC_FIELDS = {"model", "messages", "system", "max_tokens", "temperature", "top_p"}


def echo(messages: list[dict[str, str]]) -> str:
    """Reply with the last message."""
    return f"you said: {messages[-1]['content']}"


def never(_text: str, _nth: int) -> str | None:
    """No fault at all."""
    return None


def seeded(seed: int, **shares: float) -> Fault:
    """Faults in these shares of the requests, decided by seed, text and attempt, not by order."""
    unknown = set(shares) - set(FAULTS)
    if unknown:
        raise ValueError(f"unknown faults {sorted(unknown)}; there are {FAULTS}")

    def fault(text: str, nth: int) -> str | None:
        drawn = random.Random(f"{seed}|{text}|{nth}").random()
        for name, share in shares.items():
            drawn -= share
            if drawn < 0:
                return name
        return None

    return fault


def first(*faults: str | None) -> Fault:
    """These faults on the first attempts of every question, in turn; none after that."""
    return lambda _text, nth: faults[nth] if nth < len(faults) else None


def always(fault: str) -> Fault:
    """This fault every time."""
    return lambda _text, _nth: fault


@dataclass(frozen=True)
class Recorded:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class StubServer:
    """The server, in a thread of its own while the `with` block lasts."""

    def __init__(
        self,
        reply: Reply = echo,
        *,
        fault: Fault = never,
        models: tuple[str, ...] = ("stub",),
        api_key: str | None = None,
        latency: float = 0.0,
        retry_after: str = "1",
        port: int = 0,
    ) -> None:
        self.reply, self.fault, self.models, self.api_key = reply, fault, models, api_key
        self.latency, self.retry_after, self.port = latency, retry_after, port
        self.asked: Counter[str] = Counter()
        """How often each question arrived, whatever came of it."""
        self.replied: Counter[str] = Counter()
        """How often a whole, well-formed reply was sent (and would be billed)."""
        self.requests: list[Recorded] = []
        self.most_in_flight = 0
        self._in_flight = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        return self.url

    # ---- life -------------------------------------------------------------------------------------

    def __enter__(self) -> StubServer:
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(10)

    def _run(self, ready: threading.Event) -> None:
        self._loop.run_until_complete(self.serve(ready.set))
        self._loop.close()

    async def serve(self, when_ready: Callable[[], object]) -> None:
        """Serve until closed; `port` is the real one when `when_ready` is called."""
        self._closing = asyncio.Event()
        app = web.Application(client_max_size=1 << 28)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._openai),
                web.post("/v1/messages", self._anthropic),
                web.get("/v1/models", self._models),
                web.get("/counts", self._counts),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        when_ready()
        try:
            await self._closing.wait()
        finally:
            await runner.cleanup()

    # ---- requests ---------------------------------------------------------------------------------

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        body = await self._record(request)
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return self._error(401, "invalid_api_key", f"wrong key: {request.headers.get('Authorization')}")
        if extra := set(body) - OPENAI_FIELDS:
            return self._error(400, "invalid_request_error", f"unknown fields: {sorted(extra)}")
        return await self._answer(request, body, body["messages"], _openai_reply)

    async def _anthropic(self, request: web.Request) -> web.StreamResponse:
        body = await self._record(request)
        if self.api_key and request.headers.get("x-api-key") != self.api_key:
            return self._error(401, "authentication_error", f"wrong key: {request.headers.get('x-api-key')}")
        problem = _anthropic_problem(body, request.headers.get("anthropic-version", ""))
        if problem:
            return self._error(400, "invalid_request_error", problem)
        system = [{"role": "system", "content": body["system"]}] if "system" in body else []
        return await self._answer(request, body, system + body["messages"], _anthropic_reply)

    async def _answer(
        self,
        request: web.Request,
        body: dict[str, Any],
        messages: list[dict[str, str]],
        shape: Callable[[str, str, bool, int, int], dict[str, Any]],
    ) -> web.StreamResponse:
        text = messages[-1]["content"]
        nth = self.asked[text]
        self.asked[text] += 1
        if body["model"] not in self.models:
            return self._error(404, "not_found_error", f"The model `{body['model']}` does not exist")
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            await asyncio.sleep(self.latency)
            fault = self.fault(text, nth)
            if fault in ERRORS:
                return self._error(*ERRORS[fault])
            if fault == "hang":
                await self._closing.wait()
            words = self.reply(messages).split(" ")
        finally:
            self._in_flight -= 1
        limit = body.get("max_tokens", body.get("max_completion_tokens")) or len(words)
        num_prompt = sum(len(m["content"].split()) for m in messages)
        reply = shape(body["model"], " ".join(words[:limit]), len(words) > limit, num_prompt, len(words[:limit]))
        data = json.dumps(reply).encode()
        if fault == "drop":
            return await _drop(request, data)
        if fault == "malformed":
            return web.Response(body=data[: len(data) // 2], content_type="application/json")
        self.replied[text] += 1
        return web.Response(body=data, content_type="application/json")

    async def _record(self, request: web.Request) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(await request.read())
        self.requests.append(Recorded(request.method, request.path, dict(request.headers), body))
        return body

    def _error(self, status: int, kind: str, message: str) -> web.Response:
        headers = {"Retry-After": self.retry_after} if status == 429 and self.retry_after else {}
        error = {"type": kind, "code": kind, "message": message}
        return web.json_response({"error": error}, status=status, headers=headers)

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name} for name in self.models]})

    async def _counts(self, _: web.Request) -> web.Response:
        return web.json_response({"asked": self.asked, "replied": self.replied})


def _anthropic_problem(body: dict[str, Any], version: str) -> str:
    if not version:
        return "anthropic-version: header is required"
    if "max_tokens" not in body:
        return "max_tokens: Field required"
    if any(m["role"] == "system" for m in body["messages"]):
        return 'messages: Unexpected role "system"'
    fields = ANTHROPIC_FIELDS - ({"temperature", "top_p"} if version >= "2026-10-21" else set())
    extra = sorted(set(body) - fields)
    return f"{extra[0]}: Extra inputs are not permitted" if extra else ""


def _openai_reply(model: str, text: str, cut: bool, num_in: int, num_out: int) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "length" if cut else "stop",
    }
    usage = {"prompt_tokens": num_in, "completion_tokens": num_out, "total_tokens": num_in + num_out}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }


def _anthropic_reply(model: str, text: str, cut: bool, num_in: int, num_out: int) -> dict[str, Any]:
    return {
        "id": "1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "max_tokens" if cut else "end_turn",
        "usage": {"input_tokens": num_in, "output_tokens": num_out},
    }


async def _drop(request: web.Request, data: bytes) -> web.StreamResponse:
    reply = web.StreamResponse(headers={"Content-Length": str(len(data))})
    await reply.prepare(request)
    await reply.write(data[: len(data) // 2])
    if request.transport is not None:
        request.transport.close()
    return reply


def _load_reply(spec: str) -> Reply:
    path, _, name = spec.partition(":")
    module_spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    reply: Reply = getattr(module, name)
    return reply


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", default="", help="name=share,... of: " + ", ".join(FAULTS))
    parser.add_argument("--reply", type=_load_reply, default=echo, help="file.py:function")
    parser.add_argument("--models", default="stub", help="name,...")
    parser.add_argument("--api-key", default=None)
    parser.add_argument("--latency", type=float, default=0.0)
    args = parser.parse_args()
    shares = {n: float(s) for n, _, s in (word.partition("=") for word in args.faults.split(",") if word)}
    server = StubServer(
        args.reply,
        fault=seeded(args.seed, **shares),
        models=tuple(args.models.split(",")),
        api_key=args.api_key,
        latency=args.latency,
        port=args.port,
    )
    asyncio.run(server.serve(lambda: print(server.url, flush=True)))


if __name__ == "__main__":
    main()
