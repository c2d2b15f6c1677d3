"""A chat server on loopback that does next to nothing, so that what is measured is the client.

    python benchmarks/chat/quick_server.py --latency 0.2

prints its address. It speaks just enough HTTP/1.1 (keep-alive, bodies with a Content-Length) to answer
`POST /v1/chat/completions` as OpenAI does and `POST /v1/messages` as Anthropic does. The body is not even
parsed: the reply is always the same text. `GET /counts` tells what was asked.

`tests/chat/stub_server.py` is the one that checks and misbehaves; it costs more than the clients measured here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
from typing import Any

VERDICT = "The first answer is complete and to the point, the second leaves out what was asked.\nVerdict: A"
OUTPUT_TOKENS = 24

_OPENAI, _ANTHROPIC, _COUNTS = b"POST /v1/chat/completions ", b"POST /v1/messages ", b"GET /counts "
_LENGTH = b"\r\ncontent-length:"
_LARGEST_HEAD = 1 << 16
# The token count is the one thing in a reply that differs; it is written over this mark.
_TOKENS_MARK = 1_234_567


def openai_reply(text: str, logprobs: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a chat completion that says `text`."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": logprobs,
        "finish_reason": "stop",
    }
    usage = {
        "prompt_tokens": _TOKENS_MARK,
        "completion_tokens": OUTPUT_TOKENS,
        "total_tokens": _TOKENS_MARK + OUTPUT_TOKENS,
    }
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "model": "stub",
        "choices": [choice],
        "usage": usage,
    }


def anthropic_reply(text: str) -> dict[str, Any]:
    """Return a message that says `text`."""
    return {
        "id": "msg_0",
        "type": "message",
        "role": "assistant",
        "model": "stub",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": _TOKENS_MARK, "output_tokens": OUTPUT_TOKENS},
    }


def one_letter_logprobs() -> dict[str, Any]:
    """Return what AlpacaEval's weighted annotators read: the odds of "m" against "M" as the only token."""
    odds = {"m": -0.35, "M": -1.25, " m": -6.0, "Model": -7.5, "The": -8.0}
    tokens = [{"token": t, "logprob": p, "bytes": list(t.encode())} for t, p in odds.items()]
    return {"content": [tokens[0] | {"top_logprobs": tokens}], "refusal": None}


def _rendered(reply: dict[str, Any]) -> tuple[bytes, ...]:
    """Cut the JSON of `reply` where the token counts go, once, and not for every request."""
    data = json.dumps(reply).encode()
    return tuple(
        data.replace(b"%d" % (_TOKENS_MARK + OUTPUT_TOKENS), b"%d" % _TOKENS_MARK).split(b"%d" % _TOKENS_MARK)
    )


class Server:
    """What all connections share: the replies, ready to be sent, and the counts."""

    def __init__(self, latency: float = 0.0, text: str = VERDICT) -> None:
        self.latency = latency
        self.openai = _rendered(openai_reply(text))
        self.letter = _rendered(openai_reply("m", one_letter_logprobs()))
        self.anthropic = _rendered(anthropic_reply(text))
        self.num_requests = self.num_connections = self.in_flight = self.most_in_flight = 0

    def counts(self) -> bytes:
        """Return what was asked, and the CPU time that answering took, as JSON."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        counts = {
            "requests": self.num_requests,
            "connections": self.num_connections,
            "most_in_flight": self.most_in_flight,
            "cpu_seconds": used.ru_utime + used.ru_stime,
        }
        return json.dumps(counts).encode()


class Connection(asyncio.Protocol):
    """One client's connection: requests are cut out of the stream and answered `latency` seconds later."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.loop = transport, asyncio.get_running_loop()
        self.server.num_connections += 1

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole by now."""
        self.buffer = self.buffer + data if self.buffer else data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            size = _content_length(head)
            if size is None:
                return self._refuse(b"411 Length Required")
            if len(self.buffer) < end + 4 + size:
                return None
            body, self.buffer = self.buffer[end + 4 : end + 4 + size], self.buffer[end + 4 + size :]
            self._request(head, body)
        if len(self.buffer) > _LARGEST_HEAD:
            self._refuse(b"431 Request Header Fields Too Large")
        return None

    def _request(self, head: bytes, body: bytes) -> None:
        server = self.server
        if head.startswith(_OPENAI):
            parts = server.letter if b'"logprobs"' in body else server.openai
        elif head.startswith(_ANTHROPIC):
            parts = server.anthropic
        elif head.startswith(_COUNTS):
            return self._send(server.counts())
        else:
            return self._refuse(b"404 Not Found")
        server.num_requests += 1
        server.in_flight += 1
        server.most_in_flight = max(server.most_in_flight, server.in_flight)
        reply = _filled(parts, len(body) // 4)
        if server.latency:
            self.loop.call_later(server.latency, self._reply, reply)
        else:
            self._reply(reply)
        return None

    def _reply(self, reply: bytes) -> None:
        self.server.in_flight -= 1
        self._send(reply)

    def _send(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)

    def _refuse(self, status: bytes) -> None:
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.transport.close()


def _content_length(head: bytes) -> int | None:
    """Return the length of the body, 0 for a GET, or None where it is not said."""
    head = head.lower()
    start = head.find(_LENGTH)
    if start < 0:
        return 0 if head.startswith(b"get ") else None
    return int(head[start + len(_LENGTH) :].split(b"\r\n", 1)[0])


def _filled(parts: tuple[bytes, ...], num_tokens: int) -> bytes:
    """Write the token counts into a reply: the input's, and the total where there is one."""
    if len(parts) == 2:
        return b"%s%d%s" % (parts[0], num_tokens, parts[1])
    return b"%s%d%s%d%s" % (parts[0], num_tokens, parts[1], num_tokens + OUTPUT_TOKENS, parts[2])


async def serve(server: Server, port: int) -> None:
    """Serve until cancelled; print the address as soon as connections are taken."""
    listening = await asyncio.get_running_loop().create_server(
        lambda: Connection(server), "127.0.0.1", port, backlog=4096
    )
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", flush=True)
    await listening.serve_forever()


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds from a request to its reply")
    parser.add_argument("--text", default=VERDICT, help="what every reply says")
    args = parser.parse_args()
    asyncio.run(serve(Server(args.latency, args.text), args.port))


if __name__ == "__main__":
    main()
