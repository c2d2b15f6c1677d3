"""How a reply goes out: whole, slowly, in part, as something else, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
import struct
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from stub_faults import INSTEAD, LOST, HttpError
from stub_ledger import Entry, Log
from stub_wire import Json, Wire

DRIP_SECONDS, DRIP_PIECES = 0.3, 10
_LOOK_SECONDS = 0.05
"""How often a hanging call looks whether its client is still there."""

_PAGE = "<html><head><title>Welcome</title></head><body>Sign in to use this network</body></html>"


@dataclass
class Call:
    """One request on its way through the server."""

    request: web.Request
    wire: Wire
    body: Any
    id: str
    entry: Entry
    log: Log
    closing: asyncio.Event
    """Set when the server stops."""
    noted: bool = False

    def note(self, status: int | None) -> None:
        """Write the call into the log, unless that was done."""
        if not self.noted:
            self.noted, self.entry.status = True, status
            self.log.write(self.entry)

    @property
    def connected(self) -> bool:
        """Whether the client is still there."""
        transport = self.request.transport
        return transport is not None and not transport.is_closing()

    def delivers(self, fault: str | None) -> bool:
        """Say whether a whole, well-formed reply will be sent."""
        return self.connected and fault not in (*INSTEAD, *LOST, "empty_choices")


async def send(call: Call, fault: str | None, data: bytes, content_type: str) -> web.StreamResponse:
    """Send `data` as `fault` has it."""
    call.entry.delivered = call.delivers(fault)
    if fault in ("hang", "reset"):
        call.note(None)
        if fault == "hang":
            await _hang(call)
        return _reset(call)
    if fault == "wrong_type":
        return web.Response(text=_PAGE, content_type="text/html")
    if fault == "malformed":
        return web.Response(body=data[: len(data) // 2], content_type=content_type)
    if fault == "drop":
        return await _drop(call, data, content_type)
    if fault == "drip":
        return await _drip(call, data, content_type)
    return web.Response(body=data, content_type=content_type)


def refuse(call: Call, refusal: HttpError) -> web.Response:
    """Return an error in the provider's shape."""
    status, body = call.wire.error(refusal.error, call.id)
    headers = {"Retry-After": refusal.retry_after} if refusal.retry_after else {}
    return web.json_response(body, status=status, headers=headers)


async def _hang(call: Call) -> None:
    # A client that is gone is not waited for: it would count as in flight until the server stops.
    while call.connected and not call.closing.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(call.closing.wait(), _LOOK_SECONDS)


def _reset(call: Call) -> web.Response:
    transport = call.request.transport
    if transport is not None:
        # With no time to linger, the kernel sends a reset and not the end of a stream.
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()  # which aiohttp finds it cannot send


async def _begin(call: Call, data: bytes, content_type: str) -> web.StreamResponse:
    reply = web.StreamResponse(headers={"Content-Length": str(len(data)), "Content-Type": content_type})
    await reply.prepare(call.request)
    return reply


async def _drop(call: Call, data: bytes, content_type: str) -> web.StreamResponse:
    reply = await _begin(call, data, content_type)
    await reply.write(data[: len(data) // 2])
    if call.request.transport is not None:
        call.request.transport.close()
    return reply


async def _drip(call: Call, data: bytes, content_type: str) -> web.StreamResponse:
    reply = await _begin(call, data, content_type)
    size = max(1, math.ceil(len(data) / DRIP_PIECES))
    with contextlib.suppress(ConnectionError):
        for start in range(0, len(data), size):
            await reply.write(data[start : start + size])
            await asyncio.sleep(DRIP_SECONDS / DRIP_PIECES)
    return reply


def as_json(payload: Any) -> bytes:
    """Return `payload` as the bytes of a body."""
    return json.dumps(payload).encode()


async def parts(request: web.Request) -> Json:
    """Return the fields of a multipart form by name; a file is its name, its type and its content."""
    found: Json = {}
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            found[name] = value.filename, value.content_type, value.file.read()
            value.file.seek(0)  # the handler reads it too
        else:
            found[name] = value
    return found
