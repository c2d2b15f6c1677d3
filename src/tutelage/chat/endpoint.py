"""Where a model is reached and what it accepts. All of it is data, so a new model needs no new code."""

from __future__ import annotations

import os
import re
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic.config import JsonDict

from tutelage.chat.prices import PriceOverride, price_of
from tutelage.config import Group
from tutelage.errors import AuthenticationError, ConfigError
from tutelage.records import Price

Provider = Literal["openai", "anthropic", "miniature"]

OWN_BASE_URL: dict[Provider, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "miniature": "this process",
}
ANTHROPIC_VERSION = "2026-10-21"
"""The version sent if none is set. From this one on, Anthropic refuses temperature and top_p at any value."""

_RUNTIME: JsonDict = {"runtime": True}


class Endpoint(Group):
    """A model behind an API, chosen by preset (`teacher=openai`) and then named (`teacher.model=...`).

    The key is named here, never held: see `read_key`.

    Raises:
        ConfigError: settings that cannot work together, or something that is not what its field says.
    """

    preset_group: ClassVar[str | None] = "api"
    provider: Provider = Field(
        description="wire format: openai (and every compatible server: vLLM, SGLang, Ollama) or anthropic; "
        "miniature: the programs of the miniature world, in this process"
    )
    model: str = Field(min_length=1, description="name of the model, as the server knows it")
    base_url: str | None = Field(
        None,
        description="address of the server (openai: usually ends in /v1); null is the provider's own",
    )
    replicas: tuple[str, ...] = Field(
        (),
        description="further addresses that serve the same model; requests go where the fewest are in flight",
        json_schema_extra=_RUNTIME,
    )
    platform: Literal["azure", "bedrock", "vertex"] | None = Field(
        None,
        description="who authenticates, through the official SDK: azure (openai; base_url is the resource), "
        "bedrock or vertex (anthropic); null: the key alone",
    )
    api_key_env: str | None = Field(
        None,
        description="NAME of the environment variable that holds the key; null sends no key",
        json_schema_extra=_RUNTIME,
    )
    api_version: str | None = Field(
        None,
        pattern=r"^\d{4}-\d{2}-\d{2}(-preview)?$",
        description=f"anthropic-version to send; null is {ANTHROPIC_VERSION} (openai has none; on azure null is the "
        "API without versions)",
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens",
        description="what the limit on tokens is called; newer OpenAI models want max_completion_tokens",
    )
    sends_temperature: bool = Field(
        True, description="false for models that refuse temperature and top_p; then neither is sent"
    )
    sends_seed: bool = Field(True, description="false for servers that refuse a seed (anthropic is sent none)")
    offers_logprobs: bool = Field(True, description="false for models that give no log-probabilities")
    offers_json_schema: bool = Field(True, description="false for models that cannot be held to a JSON schema")
    price: PriceOverride = Field(PriceOverride(), description="what it costs, if the kept price list is wrong")
    timeout_seconds: float = Field(
        120.0,
        gt=0,
        description="longest wait for one attempt; then it is tried again",
        json_schema_extra={"runtime": True, "unit": "seconds"},
    )
    deadline_seconds: float = Field(
        1800.0,
        gt=0,
        description="longest time for one request with all its retries, from when it first left",
        json_schema_extra={"runtime": True, "unit": "seconds"},
    )
    max_concurrency: int = Field(
        64,
        ge=1,
        le=1024,
        description="most requests in flight at once; fewer at first, and while the server says it is too much",
        json_schema_extra=_RUNTIME,
    )
    requests_per_minute: float | None = Field(
        None, gt=0, description="the provider's limit, if you know it", json_schema_extra=_RUNTIME
    )
    tokens_per_minute: float | None = Field(
        None,
        gt=0,
        description="the provider's limit on input and output together, if you know it",
        json_schema_extra=_RUNTIME,
    )
    max_batch_requests: int | None = Field(
        None,
        ge=1,
        description="most requests in one batch (mode=batch); null is the provider's limit",
        json_schema_extra=_RUNTIME,
    )
    max_retries: int = Field(
        6,
        ge=0,
        description="most attempts after the first, for one request; one that is told to slow down (429) does "
        "not count, the deadline does",
        json_schema_extra=_RUNTIME,
    )

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        # Raised as ours and not as a ValueError: pydantic would show the value, and it may be a key.
        if value is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,99}", value):
            raise ConfigError(
                "api_key_env: expected the NAME of an environment variable in capitals, such as "
                "OPENAI_API_KEY, not the key itself (what was given is not shown here)"
            )
        return value

    @field_validator("replicas")
    @classmethod
    def _are_addresses(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(cls._address(value, "replicas") for value in values)

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        return None if value is None else cls._address(value, "base_url")

    @staticmethod
    def _address(value: str, field: str) -> str:
        try:
            parts = urlsplit(value)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        # Also raised as ours: an address with a password in it would be shown otherwise.
        if usable and (parts.username or parts.password or parts.query or parts.fragment):
            raise ConfigError(
                f"{field}: expected an address without user, password, ? or #; "
                "a key comes from the environment (api_key_env)"
            )
        if not usable:
            raise ConfigError(f"{field}: expected an address such as http://localhost:8000/v1")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _can_work(self) -> Self:
        if self.provider == "miniature":
            return self
        self._check_platform()
        if self.base_url is None and self.api_key_env is None and self.platform is None:
            raise ConfigError(
                f"api_key_env: {OWN_BASE_URL[self.provider]} needs a key; give the name of the environment "
                f"variable that holds it, such as api_key_env={self.provider.upper()}_API_KEY"
            )
        if self.provider == "openai" and self.api_version is not None and self.platform is None:
            raise ConfigError("api_version: openai has none; leave it out")
        if self.provider == "anthropic" and self.max_tokens_field != "max_tokens":
            raise ConfigError("max_tokens_field: anthropic knows only max_tokens; leave it out")
        if self.provider == "anthropic" and self.sends_temperature and self.version >= ANTHROPIC_VERSION:
            raise ConfigError(
                f"sends_temperature: anthropic-version {self.version} refuses temperature and top_p; set "
                "sends_temperature=false, or api_version=2023-06-01 for an older model that takes them"
            )
        return self

    def _check_platform(self) -> None:
        if self.platform == "azure" and (self.provider != "openai" or not self.base_url):
            raise ConfigError(
                "platform: azure needs provider=openai and base_url=https://YOUR-RESOURCE.openai.azure.com"
            )
        if self.platform in ("bedrock", "vertex") and self.provider != "anthropic":
            raise ConfigError(f"platform: {self.platform} needs provider=anthropic; others: leave platform out")
        if self.platform is not None and self.replicas:
            raise ConfigError("replicas: not with a platform; its SDK knows one address")

    def is_same_model(self, other: Endpoint) -> bool:
        """True if both ask one model, wherever and however."""
        return (self.provider, self.model) == (other.provider, other.model)

    @property
    def url(self) -> str:
        """The address of the server, without a slash at the end."""
        return self.base_url or OWN_BASE_URL[self.provider]

    @property
    def version(self) -> str:
        """The API version that is sent; '' where the wire format has none."""
        return self.api_version or (ANTHROPIC_VERSION if self.provider == "anthropic" else "")

    def known_price(self) -> Price | None:
        """Return what the model costs, from the settings or the kept list; None if that is not known."""
        # A cloud that resells a model has prices of its own, though we know no address.
        address = self.base_url or (f"{self.platform}:" if self.platform else None)
        return price_of(self.provider, self.model, address, self.price)


def read_key(endpoint: Endpoint) -> str | None:
    """Return the key from the environment, or None if the endpoint uses none.

    Raises:
        AuthenticationError: the variable is not set, empty, or holds what no HTTP header can carry.
    """
    name = endpoint.api_key_env
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise AuthenticationError(
            f"{endpoint.model} at {endpoint.url} needs a key, but the environment variable {name} is "
            f"{'empty' if name in os.environ else 'not set'}; set it with: export {name}=..."
        )
    if not (key.isascii() and key.isprintable()):
        raise AuthenticationError(
            f"the environment variable {name} holds characters that no key has (a line break, or non-ASCII); "
            "copy the key again"
        )
    return key


def key_hint(endpoint: Endpoint) -> str:
    """Return what to do about a key that was refused."""
    if endpoint.api_key_env is None:
        return "no key was sent; name the environment variable that holds it with api_key_env"
    return f"check the key in the environment variable {endpoint.api_key_env}"
