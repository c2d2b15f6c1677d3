"""A judge on loopback whose verdicts depend on nothing but what it is shown, for two tools to ask the same.

It answers in the form the request calls for: a tool call, the odds of "m" against "M", a ranking, or
"Output (a)". Some replies are unreadable, contradictory or empty, as they are in life.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from aiohttp import web


def draw(body: dict[str, Any]) -> float:
    """Return a number from 0 to 1 that depends on the messages alone."""
    shown = json.dumps(body["messages"], sort_keys=True)
    return int(hashlib.sha256(shown.encode()).hexdigest()[:12], 16) / 16**12


def ranking(number: float, first: str, second: str) -> list[dict[str, Any]]:
    """Return a ranking; one in thirty gives a rank that is none."""
    ranks = (1, 2) if number < 0.5 else (2, 1)
    return [
        {"model": first, "rank": 3 if number > 0.97 else ranks[0]},
        {"model": second, "rank": ranks[1]},
    ]


def reply(body: dict[str, Any]) -> dict[str, Any]:
    """Return the choice that answers `body`."""
    number = draw(body)
    message: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    choice: dict[str, Any] = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    text = body["messages"][-1]["content"]
    if body.get("tools"):
        ordered = {"ordered_models": ranking(number, "m", "M")} if number > 0.02 else {"reason": "none"}
        function = {"name": body["tools"][0]["function"]["name"], "arguments": json.dumps(ordered)}
        message["tool_calls"] = [{"id": "call_0", "type": "function", "function": function}]
        choice["finish_reason"] = "tool_calls"
    elif body.get("logprobs"):
        odds = {"m": math.log(0.01 + 0.98 * number), "M": math.log(0.99 - 0.98 * number), "The": -9.0}
        if number < 0.05:
            del odds["m"]
        if number < 0.02:
            del odds["M"]
        tokens = [{"token": t, "logprob": p, "bytes": None} for t, p in odds.items()]
        message["content"] = tokens[0]["token"]
        choice["logprobs"] = {"content": [tokens[0] | {"top_logprobs": tokens}], "refusal": None}
        choice["finish_reason"] = "length"
    elif "Output (a)" in text:
        odd = {0: "", 1: "Output (a)\nOutput (b)", 2: "**Output (a)**", 3: "Neither."}
        place = int(number * 100)
        message["content"] = odd.get(place, "Output (a)" if number < 0.5 else "Output (b)")
    else:
        message["content"] = str(ranking(number, "model_1", "model_2")) if number > 0.02 else "I cannot rank them."
    return choice


async def chat(request: web.Request) -> web.Response:
    """Answer one request."""
    body = await request.json()
    usage = {"prompt_tokens": len(str(body)) // 4, "completion_tokens": 10, "total_tokens": len(str(body)) // 4 + 10}
    return web.json_response(
        {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [reply(body)],
            "usage": usage,
        }
    )


def make_app() -> web.Application:
    """Return the server."""
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/chat/completions", chat)
    return app


async def main() -> None:
    """Serve until the process ends; print the address."""
    import asyncio

    runner = web.AppRunner(make_app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    import asyncio

    asyncio.run(main())
