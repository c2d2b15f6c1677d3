"""The socket side of one client: connections, how many at once, and pauses that hold for all. Knows aiohttp.

aiohttp's many exceptions become two here: `LostError` (try again) and `UnreachableError` (nobody is there).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from tutelage.chat.endpoint import Endpoint
from tutelage.chat.providers import ask_url, headers, models_url

_LONGEST_CONNECT_SECONDS = 10.0


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
    """Connections to one endpoint, within one event loop."""

    def __init__(self, endpoint: Endpoint, key: str | None) -> None:
        self._endpoint = endpoint
        self._slots = asyncio.Semaphore(endpoint.max_concurrency)
        self._paused_until = 0.0
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # the slots are the limit
            headers=headers(endpoint, key),
            timeout=_timeout(endpoint.timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            # Proxies from the environment, as everybody's tools have it; never for a server on this machine.
            trust_env=urlsplit(endpoint.url).hostname not in ("localhost", "127.0.0.1", "::1"),
        )

    def pause(self, seconds: float) -> None:
        """Let no request start for `seconds` from now, whichever task it belongs to."""
        self._paused_until = max(self._paused_until, asyncio.get_running_loop().time() + seconds)

    async def post(self, body: bytes) -> HttpReply:
        """Post `body` once, when a slot is free and no pause holds.

        Raises:
            LostError: no whole reply in time.
            UnreachableError: no connection.
        """
        loop = asyncio.get_running_loop()
        async with self._slots:
            while (left := self._paused_until - loop.time()) > 0:
                await asyncio.sleep(left)
            try:
                async with self._session.post(ask_url(self._endpoint), data=body, allow_redirects=False) as reply:
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
            async with self._session.get(
                models_url(self._endpoint), allow_redirects=False, timeout=_timeout(_LONGEST_CONNECT_SECONDS)
            ) as reply:
                return await reply.read() if reply.status == 200 else b""
        except (aiohttp.ClientError, OSError):
            return b""

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, _LONGEST_CONNECT_SECONDS))
