"""A real HTTP server on loopback that speaks both wire formats and can misbehave, for tests.

In a test, as a thread:

    with StubServer(lambda messages: "Verdict: A") as server:
        Endpoint(provider="openai", model="stub", base_url=server.openai_url)

From anywhere, as a process that prints its address (`--reply` names a function in a file):

    python tests/chat/stub_server.py --seed 1 --faults rate_limited=0.05,hang=0.01 --reply my.py:reply

`GET <address>/counts` then tells what was asked and billed, and `--log` keeps every request in a file.
Requests are counted by the text of their last message. One that must call a tool is answered with a call of it,
whose arguments are what the model says.

The parts: `stub_faults` (what can go wrong), `stub_wire` (the two formats), `stub_model` (who answers),
`stub_ledger` (bills and logs), `stub_send` (how replies go out), `stub_batches_*` (files and batches).
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web

from stub_batches_anthropic import AnthropicBatches
from stub_batches_openai import OpenAIBatches
from stub_faults import (
    BATCH_FAULTS,
    ERRORS,
    FAULTS,
    HTTP_FAULTS,
    INSTEAD,
    ApiError,
    Fault,
    HttpError,
    HttpFault,
    always,
    first,
    invalid,
    known,
    never,
    seeded,
    wrong_key,
)
from stub_ledger import Billed, Bucket, Log, Recorded, read_log
from stub_model import Latency, Model, Reply, echo
from stub_options import options
from stub_send import Call, as_json, parts, refuse, send
from stub_wire import ANTHROPIC, OPENAI, Json, Wire, new_id

__all__ = [
    "BATCH_FAULTS",
    "ERRORS",
    "FAULTS",
    "HTTP_FAULTS",
    "Billed",
    "Fault",
    "HttpFault",
    "Recorded",
    "Reply",
    "StubServer",
    "always",
    "echo",
    "first",
    "never",
    "read_log",
    "seeded",
]

CALL = web.RequestKey("call", Call)

Handler = Callable[[Call], Awaitable[Json | bytes]]
Served = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StubServer(Model):
    """The server, in a thread of its own while the `with` block lasts.

    Args:
        reply: what the model says.
        fault: what goes wrong with which request; `FAULTS` are the names.
        models: the names of the models there are.
        api_key: the key that is asked for; None takes any, or none.
        latency: seconds until a reply, or their range; drawn by `seed`, question and attempt.
        retry_after: sent with `rate_limited` as it is; '' leaves the header out of every reply.
        port: 0 is any that is free.
        seed: of latency, log probabilities and the order of batch results.
        log: a file that gets a JSON line for every request; see `Entry` and `read_log`.
        record: False keeps no `requests`, for runs so long that they would fill the memory.
        requests_per_minute: more than this in the long run, and `burst` at once, are refused with a 429.
        burst: None is what a second allows, at least 1.
        max_in_flight: more than this at the same time are refused with a 429 that does not say how long to wait.
        cached_tokens: how many input tokens of a request come from a cache, at most.
        batch_seconds: how long a batch takes.
        batch_limit: most requests in one batch.
        batch_fault: what becomes of which line of a batch; `BATCH_FAULTS` are the names.
        http_fault: what goes wrong with which call about files and batches; `HTTP_FAULTS` are the names. Errors,
            reset and wrong_type come before anything is done, the others after: what was asked for then exists.
    """

    def __init__(
        self,
        reply: Reply = echo,
        *,
        fault: Fault = never,
        models: tuple[str, ...] = ("stub",),
        api_key: str | None = None,
        latency: Latency = 0.0,
        retry_after: str = "1",
        port: int = 0,
        seed: int = 0,
        log: Path | str | None = None,
        record: bool = True,
        requests_per_minute: float | None = None,
        burst: int | None = None,
        max_in_flight: int | None = None,
        cached_tokens: int = 0,
        batch_seconds: float = 0.2,
        batch_limit: int = 50_000,
        batch_fault: Fault = never,
        http_fault: HttpFault = lambda _method, _path, _nth: None,
    ) -> None:
        super().__init__(
            reply,
            fault=fault,
            batch_fault=batch_fault,
            models=models,
            seed=seed,
            latency=latency,
            cached_tokens=cached_tokens,
        )
        self.api_key, self.retry_after, self.port = api_key, retry_after, port
        self.log_path, self.record, self.max_in_flight = log, record, max_in_flight
        self.batch_seconds, self.batch_limit, self.http_fault = batch_seconds, batch_limit, http_fault
        self.bucket = None if requests_per_minute is None else Bucket(requests_per_minute, burst)
        self.requests: list[Recorded] = []
        self.most_in_flight = 0
        self.rejected = 0
        """How many requests were more than `requests_per_minute` or `max_in_flight` allow."""
        self.called: Counter[tuple[str, str]] = Counter()
        """How often each method and path of files and batches was called."""
        self._in_flight = 0
        self._jobs: set[asyncio.Task[None]] = set()

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
        self.log = Log(None if self.log_path is None else Path(self.log_path))
        app = web.Application(client_max_size=1 << 28)
        app.on_response_prepare.append(self._prepared)
        app.add_routes(
            [
                web.post(OPENAI.chat_path, self._route(OPENAI, self._chat)),
                web.post(ANTHROPIC.chat_path, self._route(ANTHROPIC, self._chat)),
                web.get("/v1/models", self._models),
                web.get("/counts", self._counts),
            ]
        )
        for batches in (OpenAIBatches(self), AnthropicBatches(self)):
            app.add_routes(
                web.route(method, path, self._route(batches.wire, self._with_faults(handler)))
                for method, path, handler in batches.routes()
            )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=1024)
        await site.start()
        self.port = runner.addresses[0][1]
        when_ready()
        try:
            await self._closing.wait()
        finally:
            for job in self._jobs:
                job.cancel()
            await runner.cleanup()
            self.log.close()

    def start_job(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` in the background while the server lasts."""
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._job_done)

    def _job_done(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        if not job.cancelled() and (error := job.exception()) is not None:
            # Else a batch would just never end, and nobody would know why.
            job.get_loop().call_exception_handler({"message": "a batch of the stub broke", "exception": error})

    # ---- requests ---------------------------------------------------------------------------------

    def _route(self, wire: Wire, handle: Callable[[Call], Awaitable[web.StreamResponse]]) -> Served:
        async def served(request: web.Request) -> web.StreamResponse:
            call = await self._receive(request, wire)
            if self.record:
                body = await parts(request) if request.content_type.startswith("multipart/") else call.body
                self.requests.append(Recorded(request.method, request.path, dict(request.headers), body))
            try:
                self._authorize(call)
                return await handle(call)
            except HttpError as refusal:
                return refuse(call, refusal)

        return served

    async def _receive(self, request: web.Request, wire: Wire) -> Call:
        body = None
        if not request.content_type.startswith("multipart/"):
            try:
                body = await request.json()
            except ValueError:
                body = None  # which no call that needs one accepts
        entry = self.new_entry(request.method, request.path, body)
        request[CALL] = call = Call(request, wire, body, new_id("req_"), entry, self.log, self._closing)
        return call

    def _authorize(self, call: Call) -> None:
        headers = call.request.headers
        if self.api_key and not call.wire.accepts(headers, self.api_key):
            call.entry.authorized = False
            raise HttpError(wrong_key(f"wrong key: {call.wire.sent_key(headers)}"))
        if not call.wire.version(headers):
            raise HttpError(invalid("anthropic-version: header is required"))

    async def _chat(self, call: Call) -> web.StreamResponse:
        nth = self.meet(call.wire, call.body, call.wire.version(call.request.headers), call.entry)
        if isinstance(nth, ApiError):
            raise HttpError(nth)
        text = call.entry.text or ""
        self._admit()
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            await asyncio.sleep(self.seconds(text, nth))
            call.entry.fault = fault = known(self.fault(text, nth))
            self._fail_early(fault)
            data = b""
            if fault not in INSTEAD:
                done, reply = self.make(call.wire, call.body, fault)
                data = as_json(reply)
                self.bill(call.entry, done, call.delivers(fault))
            if fault == "hang":
                return await send(call, fault, data, "application/json")
        finally:
            self._in_flight -= 1
        return await send(call, fault, data, "application/json")

    def _admit(self) -> None:
        """Refuse what is more than the limits allow."""
        if self.max_in_flight is not None and self._in_flight >= self.max_in_flight:
            self.rejected += 1
            raise HttpError(ERRORS["rate_limited_silent"])
        if self.bucket is not None and (seconds := self.bucket.take()):
            self.rejected += 1
            raise HttpError(ERRORS["rate_limited"], str(seconds) if self.retry_after else "")

    def _fail_early(self, fault: str | None) -> None:
        if fault in ERRORS:
            raise HttpError(ERRORS[fault], self.retry_after if fault in ("rate_limited", "quota") else "")

    def _with_faults(self, handle: Handler) -> Callable[[Call], Awaitable[web.StreamResponse]]:
        """Return `handle` as a call that `http_fault` may befall."""

        async def handled(call: Call) -> web.StreamResponse:
            method, path = call.request.method, call.request.path
            nth = self.called[method, path]
            self.called[method, path] += 1
            call.entry.fault = fault = known(self.http_fault(method, path, nth), HTTP_FAULTS)
            self._fail_early(fault)
            payload: Json | bytes = b"" if fault in INSTEAD else await handle(call)
            if isinstance(payload, bytes):
                return await send(call, fault, payload, call.wire.file_type)
            return await send(call, fault, as_json(payload), "application/json")

        return handled

    async def _prepared(self, request: web.Request, response: web.StreamResponse) -> None:
        """Give every reply its id, and write it into the log before it is on the wire."""
        call = request.get(CALL)
        if call is None:  # /counts, or a path that there is not
            response.headers[OPENAI.request_id_header] = new_id("req_")
            self.log.write(replace(self.new_entry(request.method, request.path), status=response.status))
            return
        response.headers[call.wire.request_id_header] = call.id
        if self.bucket is not None and request.path == call.wire.chat_path:
            limit, left = call.wire.limit_headers
            response.headers[limit] = str(int(self.bucket.per_minute))
            response.headers[left] = str(self.bucket.left)
        call.note(response.status)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        call = await self._receive(request, ANTHROPIC if "anthropic-version" in request.headers else OPENAI)
        try:
            self._authorize(call)
        except HttpError as refusal:
            return refuse(call, refusal)
        return await send(call, None, as_json(call.wire.models(self.models)), "application/json")

    async def _counts(self, _: web.Request) -> web.Response:
        names = ("input_tokens", "output_tokens")
        billed = {"requests": len(self.billed)} | dict(zip(names, self.billed_tokens(), strict=True))
        lost = {"requests": sum(not b.delivered for b in self.billed)}
        lost |= dict(zip(names, self.billed_tokens(delivered=False), strict=True))
        counts = {"asked": self.asked, "replied": self.replied, "rejected": self.rejected}
        return web.json_response(counts | {"billed": billed, "billed_in_vain": lost})


def main() -> None:
    """Serve as the command line says, until killed."""
    assert __doc__ is not None
    # A process of its own is there for long runs, and nobody can look at its `requests`.
    server = StubServer(record=False, **options(__doc__))
    asyncio.run(server.serve(lambda: print(server.url, flush=True)))


if __name__ == "__main__":
    main()
