"""Clouds through their SDKs, over real HTTP: what arrives is the cloud's, what comes back is raw, nothing twice."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from stub_server import Recorded
from tutelage import extras
from tutelage.chat import Endpoint
from tutelage.chat.platforms import SdkTransport
from tutelage.chat.transport import HttpReply, LostError, UnreachableError
from tutelage.errors import AuthenticationError, ConfigError, MissingExtraError

KEY = "sk-very-secret-0123456789"
TEXT = 'Ünïcode 😀, "quotes" and \x01'
PLATFORMS = ("azure", "bedrock", "vertex")


class Recorder:
    """A server that takes any request, keeps it, and answers with `status`, `headers` and `body`."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, b'{"any": "thing"}', {"X-Kept": "yes"}
        self.hangs = self.drops = self.drips = False
        self.requests: list[Recorded] = []

    def __enter__(self) -> Recorder:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(10)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await self._closing.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Recorded(request.method, request.raw_path, headers, await request.read()))
        if self.hangs:
            await self._closing.wait()
        if self.drops or self.drips:
            reply = web.StreamResponse(headers={"Content-Length": "1000"})
            await reply.prepare(request)
            for _ in range(100 if self.drips else 1):
                await reply.write(b" ")
                await asyncio.sleep(0.05)
            assert request.transport is not None
            request.transport.close()
            return reply
        return web.Response(status=self.status, body=self.body, headers=self.headers)


@pytest.fixture
def server() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions and a project, and nothing of whoever runs the tests."""
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_PROFILE", "ANTHROPIC_CUSTOM_HEADERS", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-west-9")
    monkeypatch.setenv("CLOUD_ML_REGION", "us-east5")
    monkeypatch.setenv("ANTHROPIC_VERTEX_PROJECT_ID", "a-project")


def endpoint(platform: str, url: str | None, **settings: object) -> Endpoint:
    given: dict[str, object] = {"provider": "anthropic", "sends_temperature": False}
    if platform == "azure":
        given = {"provider": "openai"}
    given |= {"model": "a-model", "base_url": url, "api_key_env": "A_KEY", "timeout_seconds": 5.0}
    # Built as it is: what else must hold for an Endpoint is that class's matter.
    return Endpoint.model_construct(**{n: f.default for n, f in Endpoint.model_fields.items()} | given | settings)


def post(transport: SdkTransport) -> HttpReply:
    body = {"model": "a-model", "messages": [{"role": "user", "content": TEXT}], "max_tokens": 7}

    async def run() -> HttpReply:
        try:
            return await transport.post(json.dumps(body, ensure_ascii=False).encode())
        finally:
            await transport.close()

    return asyncio.run(run())


def arrived(server: Recorder) -> tuple[str, dict[str, object]]:
    [request] = server.requests
    assert request.method == "POST"
    body = json.loads(request.body)
    assert body.pop("messages") == [{"role": "user", "content": TEXT}]
    assert body.pop("max_tokens") == 7
    return request.path, body


# ---- what arrives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["", "/openai", "/openai/v1"])
def test_azure_without_a_version_is_asked_at_its_v1(server: Recorder, address: str) -> None:
    post(SdkTransport("azure", endpoint("azure", server.url + address), KEY))
    assert arrived(server) == ("/openai/v1/chat/completions", {"model": "a-model"})
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_azure_with_a_version_is_asked_at_the_deployment(server: Recorder) -> None:
    post(SdkTransport("azure", endpoint("azure", server.url, api_version="2024-10-21"), KEY))
    path = "/openai/deployments/a-model/chat/completions?api-version=2024-10-21"
    assert arrived(server) == (path, {"model": "a-model"})
    assert server.requests[0].headers["api-key"] == KEY
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("version", [None, "2024-10-21"])
def test_azure_without_a_key_sends_the_token_of_microsoft_entra(
    server: Recorder, version: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "azure" / "identity"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "aio.py").write_text(
        "class DefaultAzureCredential:\n"
        "    closed = 0\n"
        "    async def close(self):\n        DefaultAzureCredential.closed += 1\n"
        "def get_bearer_token_provider(credential, scope):\n"
        "    async def token():\n        return 'token-for-' + scope\n"
        "    return token\n"
    )
    for name in ("azure", "azure.identity", "azure.identity.aio"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "somebody-elses")
    post(SdkTransport("azure", endpoint("azure", server.url, api_version=version), None))
    sent = server.requests[0].headers
    assert sent["authorization"] == "Bearer token-for-https://cognitiveservices.azure.com/.default"
    assert "api-key" not in sent
    assert sys.modules["azure.identity.aio"].DefaultAzureCredential.closed == 1


def test_bedrock_gets_the_model_in_the_path_and_the_version_in_the_body(server: Recorder) -> None:
    post(SdkTransport("bedrock", endpoint("bedrock", server.url), KEY))
    assert arrived(server) == ("/model/a-model/invoke", {"anthropic_version": "2026-10-21"})
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_bedrock_without_a_key_is_signed_with_the_credentials_of_the_environment(
    server: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3", reason="it signs, and is too large for every development environment")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    post(SdkTransport("bedrock", endpoint("bedrock", server.url), None))
    signed = server.requests[0].headers["authorization"]
    assert signed.startswith("AWS4-HMAC-SHA256 Credential=AKIATEST/")
    assert "/eu-west-9/bedrock/aws4_request" in signed
    assert KEY not in str(server.requests[0].headers)


def test_vertex_gets_project_region_and_model_in_the_path_and_the_version_in_the_body(server: Recorder) -> None:
    post(SdkTransport("vertex", endpoint("vertex", f"{server.url}/v1"), KEY))
    path = "/v1/projects/a-project/locations/us-east5/publishers/anthropic/models/a-model:rawPredict"
    assert arrived(server) == (path, {"anthropic_version": "2026-10-21"})
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("platform", ["bedrock", "vertex"])
def test_a_version_in_the_settings_is_the_one_that_is_sent(platform: str, server: Recorder) -> None:
    post(SdkTransport(platform, endpoint(platform, server.url, api_version="2023-06-01"), KEY))
    assert arrived(server)[1] == {"anthropic_version": "2023-06-01"}


@pytest.mark.parametrize("platform", ["bedrock", "vertex"])
def test_the_version_sent_if_none_is_set_is_the_sdks_own(platform: str, server: Recorder) -> None:
    import anthropic._constants

    post(SdkTransport(platform, endpoint(platform, server.url), KEY))
    assert arrived(server)[1] == {"anthropic_version": anthropic._constants.ANTHROPIC_API_VERSION}


# ---- what comes back -------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_body_comes_back_byte_for_byte_whatever_it_is(platform: str, server: Recorder) -> None:
    server.body = b'{ "odd"  : 1.50,\n"odd": "\\ud800"} \xff\x00 not even JSON'
    reply = post(SdkTransport(platform, endpoint(platform, server.url), KEY))
    assert (reply.status, reply.body, reply.headers.get("x-kept")) == (200, server.body, "yes")


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("status", [307, 400, 401, 404, 408, 409, 429, 500, 503, 529])
def test_a_refusal_is_a_reply_with_its_status_after_one_request(platform: str, status: int, server: Recorder) -> None:
    server.status, server.body = status, b'{"error": {"type": "t", "message": "why"}}'
    server.headers = {"Retry-After": "7", "x-should-retry": "true"}
    if status == 307:
        server.headers["Location"] = f"{server.url}/elsewhere"
    reply = post(SdkTransport(platform, endpoint(platform, server.url), KEY))
    assert (reply.status, reply.body, reply.headers.get("Retry-After")) == (status, server.body, "7")
    assert len(server.requests) == 1


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("how", ["hangs", "drips"])
def test_a_server_that_does_not_finish_in_time_has_lost_the_request(
    platform: str, how: str, server: Recorder
) -> None:
    setattr(server, how, True)
    transport = SdkTransport(platform, endpoint(platform, server.url, timeout_seconds=0.5), KEY)
    begin = time.monotonic()
    with pytest.raises(LostError, match=r"no reply within 0\.5 s"):
        post(transport)
    assert time.monotonic() - begin < 3
    assert len(server.requests) == 1


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_connection_cut_in_the_middle_of_a_reply_has_lost_the_request(platform: str, server: Recorder) -> None:
    server.drops = True
    with pytest.raises(LostError, match="connection was lost"):
        post(SdkTransport(platform, endpoint(platform, server.url), KEY))
    assert len(server.requests) == 1


@pytest.mark.parametrize("platform", PLATFORMS)
def test_nobody_listening_is_unreachable(platform: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(UnreachableError, match="no connection"):
        post(SdkTransport(platform, endpoint(platform, url), KEY))


def test_only_azure_lists_models_and_a_list_that_fails_is_none(server: Recorder) -> None:
    def models(platform: str) -> bytes:
        async def run() -> bytes:
            transport = SdkTransport(platform, endpoint(platform, server.url), KEY)
            try:
                return await transport.models()
            finally:
                await transport.close()

        return asyncio.run(run())

    assert [models(platform) for platform in PLATFORMS] == [server.body, b"", b""]
    assert [(r.method, r.path) for r in server.requests] == [("GET", "/openai/v1/models")]
    server.status = 500
    assert models("azure") == b""


# ---- what is missing -------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_cloud_that_is_not_installed_says_how_to_install_it(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"a-model on {platform} .*pip install 'tutelage\[{platform}\]'"):
        SdkTransport(platform, endpoint(platform, "http://localhost:1"), KEY)


@pytest.mark.parametrize(
    ("platform", "without", "says"),
    [
        ("azure", "", "base_url=https://"),
        ("bedrock", "AWS_REGION", "AWS_REGION"),
        ("vertex", "CLOUD_ML_REGION", "CLOUD_ML_REGION"),
        ("vertex", "ANTHROPIC_VERTEX_PROJECT_ID", "ANTHROPIC_VERTEX_PROJECT_ID"),
    ],
)
def test_a_missing_address_region_or_project_is_named(
    platform: str, without: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in filter(None, [without, "AWS_DEFAULT_REGION"]):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=f"a-model on {platform}: .*{says}"):
        SdkTransport(platform, endpoint(platform, None), KEY)


def test_failing_to_sign_in_says_why_and_how_without_the_key(
    server: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import anthropic

    async def fail(_self: object, _request: object) -> None:
        raise RuntimeError(f"no\ncredentials behind {KEY}")

    monkeypatch.setattr(anthropic.AsyncAnthropicBedrock, "_prepare_request", fail)
    with pytest.raises(AuthenticationError) as caught:
        post(SdkTransport("bedrock", endpoint("bedrock", server.url), KEY))
    assert str(caught.value) == (
        "a-model on bedrock: cannot sign in (RuntimeError: no credentials behind [key]); "
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )
    assert server.requests == []
