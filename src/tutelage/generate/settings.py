"""How completions are drawn. Imports no torch: `--help` reads it."""

from __future__ import annotations

from pydantic import Field

from tutelage.config import Group


class Drawing(Group):
    """Defaults are the original's."""

    temperature: float = Field(0.7, ge=0, description="0: the most likely token always")
    top_p: float = Field(0.9, gt=0, le=1, description="nucleus: the fewest tokens that have this probability")
    max_tokens: int = Field(256, ge=1, description="limit of a completion", json_schema_extra={"unit": "tokens"})
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the draws")
    batch_size: int = Field(
        64,
        ge=1,
        description="completions drawn at once; another size draws other completions",
        json_schema_extra={"unit": "completions"},
    )
