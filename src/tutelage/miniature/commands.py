"""`tutelage miniature build`, `tutelage miniature prompts` and `tutelage miniature pairs`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

from tutelage.config import Group
from tutelage.data.formats.item import count_nothing
from tutelage.disk import disk_errors, write_atomically
from tutelage.errors import StoreError
from tutelage.extras import require
from tutelage.miniature.world import make_prompts


class BuildConfig(Group):
    """Pre-train the base model from nothing."""

    out: Path = Field(Path("miniature-base"), description="folder to write")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the text and the weights")
    steps: int = Field(3500, ge=1, description="optimizer steps", json_schema_extra={"unit": "steps"})


class PromptsConfig(Group):
    """Write prompts of the miniature world to a file."""

    out: Path = Field(Path("prompts.jsonl"), description="file to write, one prompt a line")
    num: int = Field(1500, ge=1, description="how many", json_schema_extra={"unit": "prompts"})
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the draw")
    exclude: Path | None = Field(None, description="file of prompts that must not occur, for a disjoint set")


class PairsConfig(Group):
    """Write pairs of completions with the oracle's scores to a file, for an audit whose truth is known."""

    out: Path = Field(Path("pairs.jsonl"), description="file to write, one pair a line")
    num: int = Field(800, ge=1, description="how many", json_schema_extra={"unit": "pairs"})
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the prompts and the completions")


def build(config: BuildConfig) -> Path:
    """Build the base and return its folder."""
    require("train", "building the miniature's base")
    from tutelage.miniature.build import build as build_base

    with disk_errors(config.out):
        build_base(config.out, seed=config.seed, steps=config.steps)
    return config.out


def write_prompts(config: PromptsConfig) -> Path:
    """Write the prompts and return the file."""
    from tutelage.data.rows import read_prompts
    from tutelage.inputs import Prompts

    exclude: list[str] = []
    if config.exclude is not None:
        known = read_prompts(Prompts(path=str(config.exclude)), count_nothing)
        exclude = [p.text for p in known]
    save_prompts(config.out, make_prompts(config.num, config.seed, exclude))
    return config.out


def write_pairs(config: PairsConfig) -> Path:
    """Write the pairs and return the file."""
    from tutelage.miniature.pairs import make_pairs

    _save(config.out, make_pairs(config.num, config.seed))
    return config.out


def save_prompts(path: Path, prompts: list[str]) -> None:
    """Write prompts as the rows that teach, sample and evaluate read."""
    _save(path, [{"prompt": p} for p in prompts])


def _save(path: Path, rows: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.exists() and path.read_bytes() != text.encode():
        raise StoreError(f"{path}: is there already and holds something else; choose another name or remove it")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)


ACTIONS: dict[str, tuple[type[Any], Callable[[Any], Path]]] = {
    "build": (BuildConfig, build),
    "prompts": (PromptsConfig, write_prompts),
    "pairs": (PairsConfig, write_pairs),
}
