"""YAML and merging by OmegaConf, minus its interpolation.

A `${...}` in a system message or a path is text like any other, and so is `???`. OmegaConf would look into them; a
character that stands for nothing, put between, keeps it from doing so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

_GUARD = "\ufdd0"
_GUARDS = re.compile(f"{_GUARD}({_GUARD}?)")
"""One is ours; two are one of the text's own."""


def guarded(value: Any) -> Any:
    """Return `value` with every text in it in a form that OmegaConf leaves alone."""
    if isinstance(value, str):
        return value.replace(_GUARD, 2 * _GUARD).replace("${", f"${_GUARD}{{").replace("???", f"?{_GUARD}??")
    if isinstance(value, Mapping):
        return {guarded(k): guarded(v) for k, v in value.items()}
    return [guarded(v) for v in value] if isinstance(value, list | tuple) else value


def _unguarded(value: Any) -> Any:
    if isinstance(value, str):
        return _GUARDS.sub(r"\1", value)
    if isinstance(value, dict):
        return {_unguarded(k): _unguarded(v) for k, v in value.items()}
    return [_unguarded(v) for v in value] if isinstance(value, list) else value


def container(config: Any) -> Any:
    """Return what an OmegaConf object holds, texts as they were before `guarded`."""
    return _unguarded(OmegaConf.to_container(config, resolve=False))


def parse_yaml(text: str) -> Any:
    """Read YAML as OmegaConf does (`1e-6` is a number), with nothing in it evaluated."""
    return container(OmegaConf.create(guarded(text)))
