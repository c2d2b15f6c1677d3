"""The socket side of one client: connections, to one address or to several. Knows aiohttp.

aiohttp's many exceptions become two here: `LostError` (try again) and `UnreachableError` (nobody is there).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from tutelage.chat.endpoint import Endpoint
from tutelage.chat.providers import ask_url, headers, models_url
from tutelage.errors import ConfigError

_LONGEST_CONNECT_SECONDS = 10.0
_DOWN_SECONDS = 5.0
"""How long an address that is of no use is left alone, if there are others."""

_MANY_FAILURES = 3
"""An address that failed so often in a row (5xx, connections lost, no reply in time) is of no use for now."""

_JSON = {"Content-Type": "application/json"}


class LostError(Exception):
    """The request went out, but no whole reply came back."""


class UnreachableError(Exception):
    """No connection could be made."""

    what, hint = "nothing answers", "start the server, or check base_url"


class UntrustedError(UnreachableError):
    """Somebody answers, who cannot prove to be the one that was asked for."""

    what, hint = "the certificate is not trusted", "trust an authority of your own with SSL_CERT_FILE=FILE"


@dataclass(frozen=True)
class HttpReply:
    """What came back: status, headers (case does not matter) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Connections to one endpoint (and its replicas), within one event loop."""

    def __init__(self, endpoint: Endpoint, key: str | None) -> None:
        self._endpoint = endpoint
        bases = (endpoint.url, *endpoint.replicas)
        self._addresses = [_Address(ask_url(endpoint, base), proxy_for(base)) for base in bases]
        # With every request: those of a session aiohttp sends to a proxy too, which may keep them.
        self._headers = headers(endpoint, key)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # the client's pace is the limit
            timeout=_timeout(endpoint.timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def post(self, body: bytes) -> HttpReply:
        """Post `body` once, to the address with the fewest requests in flight among those that answer.

        Raises:
            LostError: no whole reply in time.
            UnreachableError: no connection, at none of the addresses.
        """
        addresses = self._addresses
        while True:
            address = min(addresses, key=lambda a: (a.is_down(), a.in_flight))
            address.in_flight += 1
            try:
                reply = await self.request("POST", address.url, proxy=address.proxy, data=body, headers=_JSON)
            except UnreachableError:
                address.went_down()
                # Each is tried once: by the time the last one timed out, the first is no longer taken for down.
                addresses = [a for a in addresses if a is not address]
                if all(a.is_down() for a in addresses):
                    raise
            except LostError:
                address.failed()
                raise
            else:
                if reply.status >= 500:
                    address.failed()
                else:
                    address.answered()
                return reply
            finally:
                address.in_flight -= 1

    async def request(self, method: str, url: str, **kwargs: Any) -> HttpReply:
        """Send one request and read the whole reply.

        Raises:
            LostError: no whole reply in time.
            UnreachableError: no connection.
        """
        kwargs.setdefault("proxy", self._addresses[0].proxy)
        kwargs["headers"] = self._headers | kwargs.get("headers", {})
        try:
            async with self._session.request(method, url, allow_redirects=False, **kwargs) as reply:
                return HttpReply(reply.status, reply.headers, await reply.read())
        except aiohttp.ConnectionTimeoutError:
            raise UnreachableError("the connection timed out") from None
        except TimeoutError:
            raise LostError(f"no reply within {self._endpoint.timeout_seconds:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", error.certificate_error)
            raise UntrustedError(str(why)) from None
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError) as error:
            raise UnreachableError(str(error)) from None
        except (aiohttp.ClientError, OSError) as error:
            raise LostError(f"the connection was lost ({type(error).__name__}: {error})") from None

    async def models(self) -> bytes:
        """Return the server's list of models, or b'' if it gives none."""
        try:
            reply = await self.request("GET", models_url(self._endpoint), timeout=_timeout(_LONGEST_CONNECT_SECONDS))
        except (LostError, UnreachableError):
            return b""
        return reply.body if reply.status == 200 else b""

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


@dataclass
class _Address:
    """One of several servers of the same model."""

    url: str
    proxy: str | None
    in_flight: int = 0
    down_until: float = 0.0
    num_failures: int = 0
    """In a row."""

    def is_down(self) -> bool:
        return self.down_until > time.monotonic()

    def went_down(self) -> None:
        self.down_until = time.monotonic() + _DOWN_SECONDS

    def failed(self) -> None:
        # One that fails at once has always the fewest in flight: it would draw all requests, and lose them.
        self.num_failures += 1
        if self.num_failures >= _MANY_FAILURES:
            self.went_down()

    def answered(self) -> None:
        self.num_failures, self.down_until = 0, 0.0


def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, _LONGEST_CONNECT_SECONDS))


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for `url`, as everybody's tools have it; none on this machine.

    aiohttp could look itself, but then reads ~/.netrc too, and fails if that has an entry for the host.

    Raises:
        ConfigError: it is none that speaks HTTP.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("localhost", "::1") or host.startswith("127.") or proxy_bypass(host):
        return None
    proxy = getproxies().get(parts.scheme)
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        name = f"{parts.scheme.upper()}_PROXY"
        raise ConfigError(f"{name}: only proxies that speak HTTP can be used; for none, set NO_PROXY={host}")
    return proxy
