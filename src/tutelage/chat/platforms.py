"""Models hosted by a cloud: Azure, Amazon Bedrock, Google Vertex AI. Their ways to sign in are the SDKs' business.

The very same JSON body goes out through the provider's own SDK, below its typed methods: what comes back is
raw, errors are statuses, and nothing is tried twice, so that journal, retries and reading stay as they are.
"""

from __future__ import annotations

import asyncio
import json
import os
from types import ModuleType
from typing import Any

from tutelage.chat.endpoint import Endpoint
from tutelage.chat.faults import clean
from tutelage.chat.transport import HttpReply, LostError, UnreachableError
from tutelage.errors import AuthenticationError, ConfigError, TutelageError
from tutelage.extras import require

_LONGEST_CONNECT_SECONDS = 10.0
_ONCE: dict[str, Any] = {"max_retries": 0, "follow_redirects": False}  # elsewhere would carry the key along
_SIGN_IN = {
    "azure": "sign in (az login), or name the variable that holds a key with api_key_env",
    "bedrock": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "vertex": "sign in (gcloud auth application-default login)",
}


class SdkTransport:
    """Connections to one endpoint through an SDK, within one event loop; stands where a `Transport` stands.

    Args:
        platform: azure, bedrock or vertex.
        endpoint: azure: `base_url` is the resource, `model` the deployment, `api_version` null its API without
            versions. Others: `base_url` is usually null; region and project come from the environment
            (AWS_REGION; CLOUD_ML_REGION and ANTHROPIC_VERTEX_PROJECT_ID).
        key: an Azure or Bedrock API key, or a Google access token. None signs in as the cloud's tools do.

    Raises:
        MissingExtraError: the SDK is not installed.
        ConfigError: an address, region or project is missing.
    """

    def __init__(self, platform: str, endpoint: Endpoint, key: str | None) -> None:
        self._platform, self._endpoint, self._key = platform, endpoint, key
        self._where = f"{endpoint.model} on {platform}"
        self._path = "/chat/completions" if platform == "azure" else "/v1/messages"
        self._credential: Any = None  # Entra's, which has connections of its own
        connect = {"azure": self._azure, "bedrock": self._bedrock, "vertex": self._vertex}
        try:
            self._sdk, self._client = connect[platform]()
        except TutelageError:
            raise
        except Exception as error:  # the SDKs say which setting or environment variable they miss
            raise ConfigError(f"{self._where}: {clean(str(error), key)}") from None

    async def post(self, body: bytes) -> HttpReply:
        """Post `body` once.

        Raises:
            LostError: no whole reply in time.
            UnreachableError: no connection.
            AuthenticationError: the SDK found no way to sign in.
        """
        import httpx2

        unreachable = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)
        sent, seconds = json.loads(body), self._endpoint.timeout_seconds
        if self._platform != "azure":  # here it is part of the body; the SDK's own would change with the SDK
            sent["anthropic_version"] = self._endpoint.version
        try:
            async with asyncio.timeout(seconds):  # the SDKs' own limit is per read, and a drip never ends
                reply = await self._client.post(self._path, cast_to=httpx2.Response, body=sent, options=_ONCE)
        except self._sdk.APIStatusError as error:
            reply = error.response
        except self._sdk.APIConnectionError as error:
            if isinstance(error.__cause__, unreachable):
                raise UnreachableError(f"no connection ({error.__cause__})") from None
            if isinstance(error, self._sdk.APITimeoutError):
                raise LostError(f"no reply within {seconds:g} s") from None
            raise LostError(f"the connection was lost ({type(error.__cause__).__name__})") from None
        except TimeoutError:
            raise LostError(f"no reply within {seconds:g} s") from None
        except Exception as error:  # before anything was sent; each cloud's library has classes of its own
            said = f"cannot sign in ({clean(f'{type(error).__name__}: {error}', self._key)})"
            raise AuthenticationError(f"{self._where}: {said}; {_SIGN_IN[self._platform]}") from None
        return HttpReply(reply.status_code, reply.headers, reply.content)

    async def models(self) -> bytes:
        """Return the list of models, or b'' if there is none; only Azure has one."""
        import httpx2

        if self._platform != "azure":
            return b""
        try:
            async with asyncio.timeout(_LONGEST_CONNECT_SECONDS):
                return bytes((await self._client.get("/models", cast_to=httpx2.Response, options=_ONCE)).content)
        except Exception:  # it is only a hint in an error that is told anyway
            return b""

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()
        if self._credential is not None:
            await self._credential.close()

    def _azure(self) -> tuple[ModuleType, Any]:
        require("azure", self._where, without=("azure.identity",) if self._key else ())
        if self._endpoint.base_url is None:
            raise ConfigError(f"{self._where}: give base_url=https://YOUR-RESOURCE.openai.azure.com")
        import openai

        resource = self._endpoint.base_url.removesuffix("/v1").removesuffix("/openai")
        entra = None if self._key else self._entra()
        if self._endpoint.api_version is None:
            url = f"{resource}/openai/v1"
            return openai, openai.AsyncOpenAI(api_key=self._key or entra, base_url=url, **self._limits())
        dated = {"azure_endpoint": resource, "api_version": self._endpoint.api_version, **self._limits()}
        return openai, openai.AsyncAzureOpenAI(api_key=self._key, azure_ad_token_provider=entra, **dated)

    def _entra(self) -> Any:
        from azure.identity import aio

        self._credential = aio.DefaultAzureCredential()
        return aio.get_bearer_token_provider(self._credential, "https://cognitiveservices.azure.com/.default")

    def _bedrock(self) -> tuple[ModuleType, Any]:
        has_key = self._key or os.environ.get("AWS_BEARER_TOKEN_BEDROCK")
        require("bedrock", self._where, without=("boto3",) if has_key else ())
        import anthropic

        url = self._endpoint.base_url
        return anthropic, anthropic.AsyncAnthropicBedrock(api_key=self._key, base_url=url, **self._limits())

    def _vertex(self) -> tuple[ModuleType, Any]:
        require("vertex", self._where, without=("google.auth",) if self._key else ())
        if not os.environ.get("ANTHROPIC_VERTEX_PROJECT_ID"):
            raise ConfigError(f"{self._where}: set the environment variable ANTHROPIC_VERTEX_PROJECT_ID")
        import anthropic

        url = self._endpoint.base_url
        return anthropic, anthropic.AsyncAnthropicVertex(access_token=self._key, base_url=url, **self._limits())

    def _limits(self) -> dict[str, Any]:
        import httpx2

        limit = httpx2.Timeout(self._endpoint.timeout_seconds, connect=_LONGEST_CONNECT_SECONDS)
        return {"timeout": limit, "max_retries": 0}
