"""Prices: from the settings, or from a dated list; unknown is None and never 0, near a name is not the name."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from tutelage import extras
from tutelage.chat.prices import PriceOverride, cost, how_to_know, price_of
from tutelage.config import build, fields_of, runtime_keys, unit_of
from tutelage.errors import ConfigError
from tutelage.records import LongPromptPrice, Price

NONE = PriceOverride()
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def known(provider: str, model: str, base_url: str | None = None, when: datetime = NOW) -> Price:
    price = price_of(provider, model, base_url, NONE, when)
    assert price is not None, (model, base_url)
    return price


@pytest.mark.parametrize(
    ("provider", "model", "paid", "output"),
    [
        ("openai", "gpt-4-0314", 30, 60),
        ("openai", "gpt-3.5-turbo-0301", 1.5, 2),
        ("openai", "text-davinci-003", 20, 20),
        ("openai", "gpt-4.1", 2, 8),
        ("openai", "gpt-4.1-2025-04-14", 2, 8),
        ("openai", "gpt-5", 1.25, 10),
        ("openai", "ft:gpt-4o-mini-2024-07-18:an-org::abc", 0.3, 1.2),
        ("anthropic", "claude-v1", 8, 24),
        ("anthropic", "claude-2", 8, 24),
        ("anthropic", "claude-3-opus-20240229", 15, 75),
        ("anthropic", "claude-sonnet-4-6", 3, 15),
    ],
)
def test_models_of_then_and_now_cost_what_the_list_says(
    provider: str, model: str, paid: float, output: float
) -> None:
    price = known(provider, model)
    assert (price.input, price.output, price.batch_discount) == (paid, output, 0.5)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4.1-turbo"),
        ("openai", "gpt-5-nano-plus"),
        ("openai", "gpt-4-0315"),
        ("openai", "ft:gpt-4-0613:an-org::abc"),  # the list says what gpt-4 costs; tuned, it cost more
        ("openai", "my-gpt-4o"),
        ("openai", "text-moderation-gpt"),
        ("openai", "mistral-large-latest"),
        ("anthropic", "claude-sonnet-4-50"),
        ("anthropic", "claude-2.1"),
        ("anthropic", "claude-3-opus-mini"),
        ("anthropic", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("miniature", "oracle"),
    ],
)
def test_a_name_that_only_resembles_a_known_one_has_no_price(provider: str, model: str) -> None:
    assert price_of(provider, model, None, NONE, NOW) is None


@pytest.mark.parametrize(
    ("model", "address"),
    [
        ("gpt-4o", "https://api.openai.com/v1"),
        ("openai/gpt-4o", "https://openrouter.ai/api/v1"),
        ("mistral-large-latest", "https://api.mistral.ai/v1"),
        ("llama-3.3-70b-versatile", "https://api.groq.com/openai/v1"),
        ("deepseek-chat", "https://api.deepseek.com"),
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", "https://api.together.xyz/v1"),
        ("gemini-2.5-flash", "https://generativelanguage.googleapis.com/v1beta/openai"),
    ],
)
def test_a_known_sellers_address_has_its_own_prices(model: str, address: str) -> None:
    assert known("openai", model, address).output > 0


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:8000/v1",
        "https://gateway.example.org/v1",
        "https://api.openai.com.example.org/v1",
        "https://gateway.example.org/api.openai.com/v1",
        "https://gateway.example.org/proxy.googleapis.com/v1",
        "http://api.openai.com/v1",
        "https://my-resource.openai.azure.com",  # a deployment may be called gpt-4o and be another model
    ],
)
@pytest.mark.parametrize("model", ["gpt-4o", "gemini-2.5-flash"])
def test_at_any_other_address_nothing_has_a_price(address: str, model: str) -> None:
    assert price_of("openai", model, address, NONE, NOW) is None


def test_regions_of_vertex_ai_cost_more_than_the_list_says_so_they_have_no_price() -> None:
    assert price_of("anthropic", "claude-sonnet-4-6", "https://us-east5-aiplatform.googleapis.com/v1", NONE) is None
    assert known("anthropic", "claude-sonnet-4-6", "https://aiplatform.googleapis.com/v1").input == 3


def test_every_model_of_the_list_is_found_under_its_own_name_and_no_other() -> None:
    from genai_prices.data import providers

    from tutelage.chat.prices import _model

    wrong = [
        (seller.id, entry.id)
        for seller in providers
        for entry in seller.models
        if _model(seller, entry.id) is not entry
    ]
    assert wrong == []
    assert sum(len(seller.models) for seller in providers) > 1000


def test_a_long_prompt_has_its_own_price_where_the_list_says_so() -> None:
    price = known("anthropic", "claude-sonnet-4-5")
    assert (price.input, price.output, price.cached_input) == (3, 15, 0.3)
    assert price.long_prompt == LongPromptPrice(above=200_000, input=6, output=22.5, cached_input=0.6)
    assert cost(price, 200_000, 1_000_000) == pytest.approx(0.6 + 15)
    assert cost(price, 200_001, 1_000_000) == pytest.approx(6 * 0.200001 + 22.5)
    assert known("anthropic", "claude-sonnet-4-6").long_prompt is None


def test_a_price_that_depends_on_the_hour_is_the_highest_of_the_day_at_any_hour_and_says_so() -> None:
    day = [known("openai", "deepseek-chat", "https://api.deepseek.com", NOW.replace(hour=h)) for h in range(24)]
    assert {(p.input, p.output, p.cached_input) for p in day} == {(0.27, 1.1, 0.07)}
    assert "time of day" in day[0].source


def test_input_that_openai_writes_into_its_cache_unasked_is_priced_as_written() -> None:
    price = known("openai", "gpt-6-sol")
    assert price.input == 2.5  # 2 per million, 1.25 times that when written
    assert price.long_prompt is not None
    assert price.long_prompt.input == 5
    assert "written to the cache" in price.source
    assert "cache" not in known("anthropic", "claude-sonnet-4-6").source


def test_the_source_names_the_list_its_version_the_entry_and_the_day() -> None:
    assert known("openai", "gpt-4.1-2025-04-14").source == "genai-prices 0.2.3 for openai gpt-4.1 on 2026-11-25"


def test_a_price_is_that_of_its_day() -> None:
    before, after = (known("openai", "o3", when=datetime(2025, month, 1, tzinfo=UTC)) for month in (5, 7))
    assert (before.input, after.input) == (10, 2)


def test_a_model_without_a_discount_for_batches_gets_none() -> None:
    assert known("openai", "gpt-3.5-turbo-1106").batch_discount == 1.0
    assert known("openai", "gpt-3.5-turbo-1106", when=datetime(2026, 1, 1, tzinfo=UTC)).batch_discount == 0.5


def test_prices_in_the_settings_count_more_than_the_list_and_need_none() -> None:
    override = PriceOverride(input=0.0, output=3, cached_input=1)
    for address in (None, "http://localhost:8000/v1"):
        price = price_of("openai", "gpt-4.1", address, override)
        assert price is not None
        assert (price.input, price.output, price.cached_input) == (0, 3, 1)
        assert price.source == "price.input, price.output in the settings"


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"input": 1}, "price.output"),
        ({"output": 1}, "price.input"),
        ({"cached_input": 1}, "price.input"),
        ({"input": 0, "cached_input": 0}, "price.output"),
    ],
)
def test_half_a_price_is_refused_with_what_to_write(given: dict[str, Any], missing: str) -> None:
    with pytest.raises(ConfigError, match=f"^{missing}: missing; give both price.input and price.output"):
        build(PriceOverride, given, "tutelage label")


def test_a_negative_price_is_refused() -> None:
    with pytest.raises(ConfigError, match="input"):
        build(PriceOverride, {"input": -1, "output": 1}, "tutelage label")


def test_prices_change_no_result_and_say_their_unit() -> None:
    fields = dict(fields_of(PriceOverride))
    assert runtime_keys(PriceOverride) == fields.keys()
    assert PriceOverride(input=1, output=2).identity() == {}
    assert all(unit_of(field) == "USD per million tokens" and field.description for field in fields.values())


def test_costs_add_up() -> None:
    price = Price(input=2, output=8, cached_input=0.5, source="here")
    assert cost(price, 1_000_000, 500_000) == pytest.approx(6)
    assert cost(price, 1_000_000, 500_000, cached_input_tokens=400_000) == pytest.approx(1.2 + 0.2 + 4)
    assert cost(price, 1_000_000, 500_000, batch=True) == pytest.approx(3)
    # in a batch a cached token costs the lower of the two prices, not their product
    assert cost(price, 1_000_000, 0, 1_000_000, batch=True) == pytest.approx(0.5)
    assert cost(price, 10, 0, cached_input_tokens=20) == cost(price, 10, 0, cached_input_tokens=10)
    assert cost(price, 0, 0) == 0


def test_cached_tokens_without_a_price_of_their_own_cost_as_much_as_others() -> None:
    price = Price(input=2, output=8, source="here")
    assert cost(price, 1000, 10, cached_input_tokens=900) == cost(price, 1000, 10)


def test_an_unknown_price_makes_an_unknown_cost() -> None:
    assert cost(None, 1, 1) is None


def test_without_the_list_no_price_is_known_but_that_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "genai-prices 0.2.3 has none" in how_to_know("m")
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert price_of("openai", "gpt-4.1", None, NONE) is None
    assert price_of("openai", "gpt-4.1", None, PriceOverride(input=1, output=2)) is not None
    assert "pip install 'tutelage[prices]'" in how_to_know("m")
    assert "price.input and price.output" in how_to_know("m")


OFFLINE = """
import socket, sys, threading
def refuse(*_, **__):
    raise AssertionError("the network was used")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from tutelage.chat.prices import PriceOverride, price_of
assert "genai_prices" not in sys.modules
price_of("openai", "gpt-4.1", "http://localhost:8000/v1", PriceOverride(input=1, output=2))
assert "genai_prices" not in sys.modules, "settings need no list"
assert price_of("openai", "gpt-4.1", None, PriceOverride()).input == 2
assert "genai_prices" in sys.modules
assert threading.active_count() == 1, threading.enumerate()
"""


def test_the_list_is_loaded_only_when_needed_and_nothing_is_fetched() -> None:
    subprocess.run([sys.executable, "-c", OFFLINE], check=True, timeout=60)
