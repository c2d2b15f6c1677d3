"""What else asks the same prompts: `aiohttp` (a bare loop) and the providers' SDKs, `openai` and `anthropic`.

Every one of them makes the body, reads the reply and takes the text out of it. None keeps anything on disk. The
SDKs are as their READMEs use them: one async client, here with room for as many connections as are wanted, and
no retries. `openai-aiohttp` and `anthropic-aiohttp` are the same with the transport the SDKs offer for speed.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from argparse import Namespace
from collections.abc import Awaitable, Callable
from typing import Any

from measured import Measured, arguments
from texts import prompts

MAX_TOKENS = 256

Ask = Callable[[str], Awaitable[str]]


async def asked(ask: Ask, num: int, connections: int) -> int:
    """Ask `num` prompts, `connections` at once; return how many replies said something."""
    texts, num_replies = prompts(num), 0

    async def work() -> None:
        nonlocal num_replies
        for text in texts:
            said = await ask(text)
            num_replies += bool(said)

    await asyncio.gather(*(work() for _ in range(connections)))
    return num_replies


async def with_aiohttp(aiohttp: Any, args: Namespace) -> int:
    """Ask over a bare aiohttp session: about the least that Python can do with a general HTTP client."""
    url = f"{args.url}/v1/chat/completions"
    headers = {"Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def ask(text: str) -> str:
            body = {"model": "stub", "messages": _messages(text), "max_tokens": MAX_TOKENS}
            data = json.dumps(body, ensure_ascii=False).encode()
            async with session.post(url, data=data) as reply:
                said: str = json.loads(await reply.read())["choices"][0]["message"]["content"]
                return said

        return await asked(ask, args.num, args.connections)


async def with_openai(openai: Any, args: Namespace) -> int:
    """Ask with AsyncOpenAI."""
    http_client = openai.DefaultAioHttpClient() if args.what.endswith("-aiohttp") else None
    async with openai.AsyncOpenAI(
        base_url=f"{args.url}/v1", api_key="none", max_retries=0, http_client=http_client
    ) as client:

        async def ask(text: str) -> str:
            reply = await client.chat.completions.create(
                model="stub", messages=_messages(text), max_tokens=MAX_TOKENS
            )
            said: str = reply.choices[0].message.content
            return said

        return await asked(ask, args.num, args.connections)


async def with_anthropic(anthropic: Any, args: Namespace) -> int:
    """Ask with AsyncAnthropic."""
    http_client = anthropic.DefaultAioHttpClient() if args.what.endswith("-aiohttp") else None
    async with anthropic.AsyncAnthropic(
        base_url=args.url, api_key="none", max_retries=0, http_client=http_client
    ) as client:

        async def ask(text: str) -> str:
            reply = await client.messages.create(model="stub", messages=_messages(text), max_tokens=MAX_TOKENS)
            said: str = reply.content[0].text
            return said

        return await asked(ask, args.num, args.connections)


def _messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def main() -> None:
    """Run one client and report."""
    args = arguments(__doc__)
    package = args.what.partition("-")[0]
    run = {"aiohttp": with_aiohttp, "openai": with_openai, "anthropic": with_anthropic}[package]
    library: Any = importlib.import_module(package)
    if package != "aiohttp":
        # Both import their resources when they are first used. That is importing, and not asking.
        importlib.import_module(f"{package}.resources")
    if args.what.endswith("-aiohttp"):
        importlib.import_module("aiohttp")
    measured = Measured()
    num_replies = asyncio.run(run(library, args))
    measured.report(num_replies, **{package: library.__version__})


if __name__ == "__main__":
    main()
