"""What a model costs: from the settings, or from the dated price list in the package genai-prices.

The list is data inside that package: nothing is fetched. An unknown price is None, never 0, and so is that of
a name that only resembles a known model's. Where a price depends on what is not known beforehand (the time of
day), the dearest is taken: costs are never understated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic.config import JsonDict

from tutelage.config import Group
from tutelage.errors import ConfigError
from tutelage.extras import is_installed
from tutelage.records import LongPromptPrice, Price

if TYPE_CHECKING:  # 0.4 s and 70 MB, mostly data: only a lookup pays for it
    from genai_prices.types import ModelInfo, ModelPrice, Provider

_BATCH = {"processing": "batch"}
_UNIT: JsonDict = {"runtime": True, "unit": "USD per million tokens"}
_OWN_ADDRESS = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
_UNLISTED = re.compile(r"https://(.*azure|[^/]*-aiplatform\.|aiplatform\.\w+\.rep\.)")
"""Azure's deployments are named by users, not after models; Vertex AI's regions have a surcharge."""
_WRITES_CACHE_UNASKED = "openai"  # and charges newer models for it; Anthropic only for messages marked so
_PAID, _CACHED, _WRITTEN, _OUTPUT = "input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok"
# What may follow a known beginning of a name: a date, a revision; ".5" or "-mini" is another model.
_VERSION = re.compile(r"([-@:]?(\d{8}|\d{4}(-\d{2}-\d{2})?|\d{2}-\d{2}|latest))?(-v\d+(:\d+)?)?")
USUAL_BATCH_DISCOUNT = 0.5
"""What OpenAI and Anthropic multiply the price by for what is asked in a batch, with few exceptions."""


class PriceOverride(Group):
    """Prices given in the settings. Both or neither of input and output, or it is a ConfigError."""

    input: float | None = Field(
        None, ge=0, description="what input tokens cost; null looks the model up", json_schema_extra=_UNIT
    )
    output: float | None = Field(
        None, ge=0, description="what output tokens cost; null looks the model up", json_schema_extra=_UNIT
    )
    cached_input: float | None = Field(
        None, ge=0, description="what cached input tokens cost; null is as much as others", json_schema_extra=_UNIT
    )

    @model_validator(mode="after")
    def _whole_or_nothing(self) -> Self:
        missing = "input" if self.input is None else "output" if self.output is None else None
        if missing and any(value is not None for value in self.model_dump().values()):
            raise ConfigError(
                f"price.{missing}: missing; give both price.input and price.output (USD per million tokens), "
                "or no price at all to have the model looked up"
            )
        return self


def price_of(
    provider: str, model: str, base_url: str | None, override: PriceOverride, when: datetime | None = None
) -> Price | None:
    """Return what `model` costs, or None if that is not known.

    Args:
        provider: whose wire format is spoken: openai, anthropic.
        base_url: where requests go, None for the provider's own address; other servers' prices are unknown.
        override: prices from the settings.
        when: the time of the requests; None is now.
    """
    if override.input is not None and override.output is not None:
        return Price(**override.model_dump(), source="price.input, price.output in the settings")
    address = base_url or _OWN_ADDRESS.get(provider)
    seller = _seller(address) if address and is_installed("genai_prices") else None
    found = _model(seller, model) if seller else None
    return _price(seller, found, (when or datetime.now(UTC)).astimezone(UTC)) if seller and found else None


def how_to_know(model: str) -> str:
    """Return the sentence for a `model` whose price is not known: why, and what to write."""
    why = "no price list is installed (pip install 'tutelage[prices]')"
    if is_installed("genai_prices"):
        why = f"genai-prices {version('genai-prices')} has none for this name at this address"
    return f"price of {model} unknown: {why}; give price.input and price.output (USD per million tokens)"


def cost(
    price: Price | None, input_tokens: int, output_tokens: int, cached_input_tokens: int = 0, batch: bool = False
) -> float | None:
    """Return US dollars, or None if the price is not known.

    Args:
        input_tokens: all tokens of the prompt, those from the cache among them.
        cached_input_tokens: how many of them the server had in its cache.
        batch: asked through a batch API; its discount is not taken on top of the cache's (OpenAI: not always).
    """
    if price is None:
        return None
    long = price.long_prompt
    per = long if long is not None and input_tokens > long.above else price
    discount = price.batch_discount if batch else 1.0
    fresh_price, cached = per.input * discount, min(cached_input_tokens, input_tokens)
    cached_price = fresh_price if per.cached_input is None else min(fresh_price, per.cached_input)
    fresh = (input_tokens - cached) * fresh_price
    return (fresh + cached * cached_price + output_tokens * per.output * discount) / 1e6


def _seller(address: str) -> Provider | None:
    """Return the provider at `address` by the list's own patterns, held to whole hosts."""
    parts = urlsplit(address)
    if parts.scheme != "https":  # a server of one's own; nobody sells in the open
        return None
    from genai_prices.data import providers  # as packaged; the package's own look-up may have been updated

    # Without dots in its path: a gateway's /proxy/generativelanguage.googleapis.com is no Google.
    url = f"{parts.scheme}://{parts.netloc}{parts.path.replace('.', '_')}"
    for provider in [] if _UNLISTED.match(url) else providers:
        match = re.match(provider.api_pattern, url)
        # Patterns match beginnings; api.openai.com.example.org is no OpenAI.
        if match and (match.group().endswith(("/", ".")) or url[match.end() : match.end() + 1] in ("", "/", ":")):
            return provider
    return None


def _model(seller: Provider, model: str) -> ModelInfo | None:
    """Return the entry that is about `model`: named exactly, or by a beginning and a version."""
    name = model.lower()
    for entry in seller.models:
        if name == entry.id.lower() or ("equals", name) in _clauses(entry.match):
            return entry
    base = re.sub(r"^(ft:[^:]*):.*", r"\1", name)  # a fine-tuned model: ft:BASE:organization:name:id
    for entry in seller.models:
        if entry.is_match(base) and any(_is_version_of(base, *clause) for clause in _clauses(entry.match)):
            return entry
    return None


def _clauses(match: Any) -> Iterator[tuple[str, str]]:
    """Yield (kind, text in lower case) of every clause of the list's rule for a model's names."""
    for kind, value in vars(match).items():
        if isinstance(value, str):
            yield kind, value if kind == "regex" else value.lower()
        for inner in value if isinstance(value, list) else ():
            yield from _clauses(inner)


def _is_version_of(name: str, kind: str, text: str) -> bool:
    if kind == "regex":  # whole names only; others match too much
        return text.startswith("^") and text.endswith("$") and re.search(text, name) is not None
    return name.startswith(text) and _VERSION.fullmatch(name[len(text) :]) is not None


def _price(seller: Provider, model: ModelInfo, when: datetime) -> Price | None:
    # A stage may take hours, and prices that change with the hour do so on the half hour.
    prices = [model.get_prices(when.replace(hour=n // 2, minute=n % 2 * 30)) for n in range(48)]
    paid, output = _dearest(prices, _PAID), _dearest(prices, _OUTPUT)
    if not paid or not output:  # not by tokens, or for nothing while it lasts
        return None
    writes = seller.id == _WRITES_CACHE_UNASKED
    written = (_dearest(prices, _WRITTEN) if writes else None) or 0.0
    notes = [f"genai-prices {version('genai-prices')} for {seller.id} {model.id} on {when.date()}"]
    if any(price != prices[0] for price in prices):
        notes.append("at the dearest time of day")
    if written > paid:
        notes.append("input as if written to the cache")
    return Price(
        input=max(paid, written),
        output=output,
        cached_input=_dearest(prices, _CACHED),
        long_prompt=_long_prompt(prices, writes),
        batch_discount=_batch_discount(model, when, paid, output),
        source=", ".join(notes),
    )


def _long_prompt(prices: list[ModelPrice], writes: bool) -> LongPromptPrice | None:
    """Return the price of long prompts, if they have one: the highest tier's from where the lowest begins."""
    of_all = [getattr(price, key) for price in prices for key in (_PAID, _OUTPUT)]
    starts = [tier.start for value in of_all if hasattr(value, "tiers") for tier in value.tiers]
    if not starts:
        return None
    paid, written = _dearest(prices, _PAID, True), _dearest(prices, _WRITTEN, True) if writes else None
    return LongPromptPrice(
        above=min(starts),
        input=max(paid or 0.0, written or 0.0),
        output=_dearest(prices, _OUTPUT, True) or 0.0,
        cached_input=_dearest(prices, _CACHED, True),
    )


def _dearest(prices: list[ModelPrice], key: str, long: bool = False) -> float | None:
    """Return the highest price under `key`, for prompts of usual length or `long` ones; None if there is none."""
    found: list[Any] = []
    for value in (getattr(price, key) for price in prices):
        has_tiers = hasattr(value, "tiers")
        found += [tier.price for tier in value.tiers] if has_tiers and long else [value.base if has_tiers else value]
    return max((float(p) for p in found if p is not None), default=None)


def _batch_discount(model: ModelInfo, when: datetime, paid: float, output: float) -> float:
    published = [v.constraint for v in model.price_variants or () if v.when == _BATCH]
    if not any(constraint is None or constraint.active(when) for constraint in published):
        return USUAL_BATCH_DISCOUNT
    batch = [model.get_prices(when, _BATCH)]
    return max((_dearest(batch, _PAID) or paid) / paid, (_dearest(batch, _OUTPUT) or output) / output)
