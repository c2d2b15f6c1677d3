"""A key goes to its server and nowhere else: no file, no message; no stranger between us and the server."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from asking import MakeClient, Serve, question
from running import command, narrating
from stub_faults import ApiError, HttpError
from stub_send import Call
from stub_server import StubServer
from tutelage.chat import ChatReply, ask
from tutelage.errors import ConfigError, UnavailableError

KEY = "sk-live/0123456789+abcdef/very-secret="
ASKER = Path(__file__).with_name("asker.py")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


class Telltale(StubServer):
    """Repeats the key wherever it can: in replies, in errors, in headers, and in what is no reply."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(self.answer, api_key=KEY, **settings)

    def answer(self, messages: list[dict[str, str]]) -> str:
        text = messages[-1]["content"]
        nth = self.asked[text]
        if "refused" in text and len(text) < 50:  # a prompt, and no question to a critic that quotes it
            raise HttpError(ApiError(400, "invalid", None, "invalid_request_error", f"{KEY} may not ask that"))
        if nth == 1:
            raise HttpError(ApiError(500, "server_error", KEY, "api_error", f"broke down over {KEY}"), KEY)
        return f"Your key is {KEY}. Verdict: A. {len(self.billed)}"

    async def _chat(self, call: Call) -> web.StreamResponse:
        reply = await super()._chat(call)
        if isinstance(reply, web.Response) and isinstance(reply.body, bytes) and len(self.billed) % 2:
            reply.body = reply.body.replace(b"/", b"\\/")  # as other JSON writers have it
        return reply

    async def _prepared(self, request: web.Request, response: web.StreamResponse) -> None:
        await super()._prepared(request, response)
        response.headers["x-api-key"] = response.headers["WWW-Authenticate"] = KEY


def run(folder: Path, *words: object, key: str = KEY) -> subprocess.CompletedProcess[str]:
    keys = {"OPENAI_API_KEY": key, "ANTHROPIC_API_KEY": key}
    return subprocess.run(
        command(*words), cwd=folder, capture_output=True, text=True, timeout=60, env=narrating() | keys
    )


def prompts(folder: Path, *texts: str) -> None:
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))


def shown(folder: Path, *done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return where the key, or a part of it that nobody writes by chance, is to be seen."""
    part = b"0123456789+abcdef"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    found = [str(path) for path in files if part in path.read_bytes() or part.decode() in path.name]
    return found + [text for d in done for text in (d.stdout, d.stderr) if part.decode() in text]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_key_that_the_server_repeats_everywhere_is_in_no_file_and_no_message(provider: str, tmp_path: Path) -> None:
    with Telltale() as server:
        url = server.openai_url if provider == "openai" else server.anthropic_url
        prompts(tmp_path, *[f"question {i}" for i in range(6)], "refused")
        about = (f"={provider}", ".model=stub", f".base_url={url}", ".max_retries=3")
        teacher, critic = ([f"{who}{word}" for word in about] for who in ("teacher", "critic"))
        taught = run(tmp_path, "teach", "prompts=prompts.jsonl", "num_completions=2", "max_failures=0.5", *teacher)
        assert taught.returncode == 0, taught.stderr
        [made] = (tmp_path / "artifacts" / "1-teach").iterdir()
        labelled = run(tmp_path, "label", f"completions={made}", "max_invalid=1", *critic)
        assert labelled.returncode == 0, labelled.stderr
        failed = run(tmp_path, "teach", "prompts=prompts.jsonl", "max_failures=0", "seed=7", *teacher)
        assert failed.returncode == 2
        assert "[key] may not ask that" in failed.stderr
        assert any("[key]" in json.loads(line)["text"] for line in (made / "completions.jsonl").open())
    with StubServer(api_key="another") as server:  # its refusal quotes what it was sent
        url = server.openai_url if provider == "openai" else server.anthropic_url
        refused = run(tmp_path, "teach", "prompts=prompts.jsonl", *teacher[:2], f"teacher.base_url={url}")
        assert refused.returncode == 2
        assert "wrong key" in refused.stderr
    assert shown(tmp_path, taught, labelled, failed, refused) == []


# ---- proxies ----------------------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment, with none of the proxies that the machine may need itself."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def test_a_remote_server_is_reached_through_the_proxy(
    serve: Serve, client: MakeClient, environment: pytest.MonkeyPatch
) -> None:
    proxy = serve()
    environment.setenv("HTTP_PROXY", proxy.url)
    [reply] = ask(client("http://model.invalid/v1"), [question("Hi")])
    assert isinstance(reply, ChatReply), reply
    assert reply.text == "you said: Hi"
    assert [r.headers["Host"] for r in proxy.requests] == ["model.invalid"]


def test_no_proxy_comes_between_us_and_a_server_on_this_machine_or_one_that_is_exempt(
    serve: Serve, client: MakeClient, environment: pytest.MonkeyPatch
) -> None:
    server = serve()
    environment.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    [reply] = ask(client(server), [question("Hi")])
    assert isinstance(reply, ChatReply), reply
    environment.setenv("NO_PROXY", "model.invalid")
    with pytest.raises(UnavailableError, match=r"nothing answers at http://model\.invalid"):
        ask(client("http://model.invalid/v1", max_retries=0), [question("Hello")], max_consecutive_failures=1)


def test_each_replica_has_the_proxy_that_its_address_needs(
    serve: Serve, client: MakeClient, environment: pytest.MonkeyPatch
) -> None:
    proxy, local = serve(latency=0.05), serve(latency=0.05)
    environment.setenv("HTTP_PROXY", proxy.url)
    ask(client("http://model.invalid/v1", replicas=[local.openai_url]), [question(f"{i}") for i in range(20)])
    assert {r.headers["Host"] for r in proxy.requests} == {"model.invalid"}
    assert {r.headers["Host"] for r in local.requests} == {local.url.removeprefix("http://")}


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_netrc_neither_breaks_a_request_nor_adds_a_password_to_it(
    provider: str, serve: Serve, client: MakeClient, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login me password hidden\n")
    environment.setenv("NETRC", str(tmp_path / "netrc"))
    environment.setenv("STUB_KEY", KEY)
    proxy = serve(api_key=KEY)
    environment.setenv("HTTP_PROXY", proxy.url)
    url = "http://model.invalid/v1" if provider == "openai" else "http://model.invalid"
    [reply] = ask(client(url, provider, api_key_env="STUB_KEY"), [question("Hi")])
    assert isinstance(reply, ChatReply), reply
    assert proxy.requests[0].headers.get("Authorization") == (f"Bearer {KEY}" if provider == "openai" else None)


def test_over_https_a_proxy_sees_the_address_and_not_the_key(
    client: MakeClient, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("STUB_KEY", KEY)
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def refuse() -> None:
            connection, _ = proxy.accept()
            with connection:
                seen.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        environment.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        asker = client("https://model.invalid/v1", api_key_env="STUB_KEY")
        with pytest.raises(UnavailableError, match=r"nothing answers at https://model\.invalid.*403"):
            ask(asker, [question("Hi")], max_consecutive_failures=1)
        thread.join(10)
    assert seen[0].startswith(b"CONNECT model.invalid:443 ")
    assert KEY.encode() not in seen[0]
    assert asker.bill().lost.requests == 0  # it never left


def test_a_proxy_that_does_not_speak_http_is_named_without_its_password(
    client: MakeClient, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HTTP_PROXY", "socks5://me:hidden@127.0.0.1:1080")
    with pytest.raises(ConfigError, match=r"HTTP_PROXY: only proxies that speak HTTP") as caught:
        ask(client("http://model.invalid/v1"), [question("Hi")])
    assert "hidden" not in str(caught.value)


# ---- certificates -----------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as a model does, and notes the headers it was sent."""

    seen: list[dict[str, str]]

    def do_POST(self) -> None:
        self.seen.append(dict(self.headers))
        self.rfile.read(int(self.headers["Content-Length"]))
        choice = {"message": {"content": "you said: question 0"}, "finish_reason": "stop"}
        body = json.dumps({"choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def write_certificate(key_file: Path, certificate_file: Path) -> None:
    """Write a key, and a certificate for 127.0.0.1 that nobody but itself has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).add_extension(address, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    made = builder.not_valid_after(now + datetime.timedelta(days=2)).sign(key, hashes.SHA256())
    certificate_file.write_bytes(made.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@contextlib.contextmanager
def self_signed(folder: Path) -> Iterator[tuple[str, Path, list[dict[str, str]]]]:
    """A server with a certificate of its own making; yields address, certificate, and the headers it was sent."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    write_certificate(key, certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    seen: list[dict[str, str]] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Noting", (Handler,), {"seen": seen}))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}/v1", certificate, seen
    finally:
        server.shutdown()
        server.server_close()


def test_a_server_whose_certificate_is_not_trusted_gets_no_key_and_one_that_is_does(
    client: MakeClient, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("STUB_KEY", KEY)
    with self_signed(tmp_path) as (url, certificate, seen):
        with pytest.raises(
            UnavailableError, match=r"certificate is not trusted at https.*self.signed.*SSL_CERT_FILE"
        ):
            ask(client(url, api_key_env="STUB_KEY"), [question("Hi")], max_consecutive_failures=1)
        assert seen == []
        trusting = {**os.environ, "SSL_CERT_FILE": str(certificate)}
        words = [sys.executable, str(ASKER), url, str(tmp_path / "r.jsonl"), "1", "1"]
        done = subprocess.run(words, env=trusting, capture_output=True, text=True, timeout=60)
        assert (done.stdout.strip(), len(seen)) == ("1", 1), done.stderr
