"""What a model accepts is data; settings that cannot work are refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tutelage.chat import Endpoint
from tutelage.chat.endpoint import read_key
from tutelage.config import build, fields_of
from tutelage.errors import AuthenticationError, ConfigError

LOCAL: dict[str, Any] = {"provider": "openai", "model": "m", "base_url": "http://localhost:8000/v1"}


def test_every_field_says_what_it_is() -> None:
    assert all(field.description for _, field in fields_of(Endpoint))


def test_limits_of_pace_and_the_name_of_the_key_do_not_change_what_a_result_is() -> None:
    changed = Endpoint(
        **LOCAL,
        max_concurrency=1,
        timeout_seconds=1,
        max_retries=0,
        api_key_env="A_KEY",
    )
    assert changed.identity() == Endpoint(**LOCAL).identity()
    assert changed.identity() != Endpoint(**LOCAL | {"model": "other"}).identity()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"base_url": None}, "api_key_env=OPENAI_API_KEY"),
        ({"base_url": "localhost:8000"}, "http://localhost:8000/v1"),
        ({"base_url": "http://host:99999/v1"}, "http://localhost:8000/v1"),
        ({"api_version": "2023-06-01"}, "openai has none"),
        ({"provider": "anthropic", "sends_temperature": True}, "sends_temperature=false"),
        (
            {
                "provider": "anthropic",
                "sends_temperature": False,
                "max_tokens_field": "max_completion_tokens",
            },
            "only max_tokens",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_with_what_to_write(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Endpoint.model_validate(LOCAL | settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key_env": "hf_aVeryRealKey0123"},
        {"api_key_env": "sk-aVeryRealKey0123"},
        {"base_url": "http://me:aVeryRealKey0123@host/v1"},
        {"base_url": "http://host/v1?key=aVeryRealKey0123"},
    ],
)
def test_a_key_pasted_into_the_settings_is_refused_and_not_shown(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Endpoint, LOCAL | settings, "tutelage label")
    assert "aVeryRealKey0123" not in str(caught.value)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="api_key"):
        Endpoint.model_validate(LOCAL | {"api_key": "x"})


def test_an_older_anthropic_version_may_take_a_temperature() -> None:
    endpoint = Endpoint(provider="anthropic", model="m", api_key_env="A_KEY", api_version="2023-06-01")
    assert (endpoint.version, endpoint.sends_temperature) == ("2023-06-01", True)


@pytest.mark.parametrize(("value", "says"), [(None, "not set"), (" \n", "empty"), ("a\nb", "characters")])
def test_an_unusable_key_is_an_error_that_names_its_variable(
    value: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv("SOME_KEY", raising=False)
    else:
        monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(AuthenticationError, match=f"SOME_KEY.*{says}"):
        read_key(Endpoint(**LOCAL, api_key_env="SOME_KEY"))
