"""What we send is what the providers' own SDKs send for the same call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asking import MakeClient, Serve
from stub_server import Recorded, StubServer
from tutelage.chat import ChatRequest, HttpClient
from tutelage.records import Message, Sampling

SYSTEM = "Be brief.\n"
TEXT = 'Ünïcode 😀, "quotes" and \x01'
KEY = "sk-test-0123456789abcdef"


def ask_once(client: HttpClient, sampling: Sampling) -> None:
    request = ChatRequest(
        messages=(Message(role="system", content=SYSTEM), Message(role="user", content=TEXT)),
        sampling=sampling,
    )

    async def run() -> None:
        await client.complete(request)
        await client.close()

    asyncio.run(run())


def two(server: StubServer, *header_names: str) -> list[tuple[Any, ...]]:
    """Return method, path, body and the named headers of the two requests the server got."""

    def seen(r: Recorded) -> tuple[Any, ...]:
        sent = {name.lower(): value for name, value in r.headers.items()}
        return r.method, r.path, r.body, *[sent.get(name.lower()) for name in header_names]

    return [seen(r) for r in server.requests]


def test_openai_gets_what_its_sdk_sends(serve: Serve, client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    openai = pytest.importorskip("openai", reason="the openai SDK is the oracle of this test")
    monkeypatch.setenv("STUB_KEY", KEY)
    server = serve(api_key=KEY)
    sampling = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "seed": 3}
    ask_once(client(server, api_key_env="STUB_KEY"), Sampling(**sampling))
    sdk = openai.OpenAI(api_key=KEY, base_url=server.openai_url)
    reply = sdk.chat.completions.create(
        model="stub",
        messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": TEXT}],
        **sampling,
    )
    assert reply.choices[0].message.content == f"you said: {TEXT}"
    ours, theirs = two(server, "Authorization", "Content-Type")
    assert ours == theirs


def test_anthropic_gets_what_its_sdk_sends(serve: Serve, client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    anthropic = pytest.importorskip("anthropic", reason="the anthropic SDK is the oracle of this test")
    monkeypatch.setenv("STUB_KEY", KEY)
    server = serve()
    ask_once(client(server, "anthropic", api_key_env="STUB_KEY"), Sampling(max_tokens=7))
    # SDK 2 sends the key as Authorization: Bearer by default; the API takes x-api-key in all its versions.
    sdk = anthropic.Anthropic(api_key=KEY, base_url=server.anthropic_url, default_headers={"x-api-key": KEY})
    reply = sdk.messages.create(
        model="stub", max_tokens=7, system=SYSTEM, messages=[{"role": "user", "content": TEXT}]
    )
    assert reply.content[0].text == f"you said: {TEXT}"
    ours, theirs = two(server, "x-api-key", "anthropic-version", "Content-Type")
    assert ours == theirs
