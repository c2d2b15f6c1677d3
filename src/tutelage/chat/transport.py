"""The socket side of one client: connections, to one address or to several. Knows aiohttp.

aiohttp's many exceptions become two here: `LostError` (try again) and `UnreachableError` (nobody is there).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tutelage.chat.endpoint import Endpoint
from tutelage.chat.providers import ask_url, headers, models_url

_LONGEST_CONNECT_SECONDS = 10.0
_DOWN_SECONDS = 5.0
"""How long an address that refused a connection is left alone, if there are others."""

_JSON = {"Content-Type": "application/json"}


class LostError(Exception):
    """The request went out, but no whole reply came back."""


class UnreachableError(Exception):
    """No connection could be made."""


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
        self._addresses = [_Address(ask_url(endpoint, base)) for base in (endpoint.url, *endpoint.replicas)]
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # the client's pace is the limit
            headers=headers(endpoint, key),
            timeout=_timeout(endpoint.timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            # Proxies from the environment, as everybody's tools have it; never for a server on this machine.
            trust_env=urlsplit(endpoint.url).hostname not in ("localhost", "127.0.0.1", "::1"),
        )

    async def post(self, body: bytes) -> HttpReply:
        """Post `body` once, to the address with the fewest requests in flight among those that answer.

        Raises:
            LostError: no whole reply in time.
            UnreachableError: no connection, at none of the addresses.
        """
        while True:
            address = min(self._addresses, key=lambda a: (a.is_down(), a.in_flight))
            address.in_flight += 1
            try:
                reply = await self.request("POST", address.url, data=body, headers=_JSON)
            except UnreachableError:
                address.went_down()
                if all(a.is_down() for a in self._addresses):
                    raise
            else:
                address.down_until = 0.0
                return reply
            finally:
                address.in_flight -= 1

    async def request(self, method: str, url: str, **kwargs: Any) -> HttpReply:
        """Send one request and read the whole reply.

        Raises:
            LostError: no whole reply in time.
            UnreachableError: no connection.
        """
        try:
            async with self._session.request(method, url, allow_redirects=False, **kwargs) as reply:
                return HttpReply(reply.status, reply.headers, await reply.read())
        except aiohttp.ConnectionTimeoutError:
            raise UnreachableError("the connection timed out") from None
        except TimeoutError:
            raise LostError(f"no reply within {self._endpoint.timeout_seconds:g} s") from None
        except aiohttp.ClientConnectorError as error:
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
    in_flight: int = 0
    down_until: float = 0.0

    def is_down(self) -> bool:
        return self.down_until > time.monotonic()

    def went_down(self) -> None:
        self.down_until = time.monotonic() + _DOWN_SECONDS


def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, _LONGEST_CONNECT_SECONDS))
