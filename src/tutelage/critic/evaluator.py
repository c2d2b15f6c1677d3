"""How a critic is asked and read: a template, a parser, and the decoding that goes with them. All of it is data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tutelage.config import Group, Tree, build
from tutelage.critic import alpaca_eval
from tutelage.critic.parse import VERDICT_SCHEMA, Parser, letters, score, structured, verdict
from tutelage.critic.template import Template
from tutelage.errors import ConfigError
from tutelage.plain_yaml import parse_yaml

OrderRule = Literal["both", "random", "fixed"]
SHIPPED = ("pairwise", "structured", "rubric", "letter", "pointwise")
DEFAULT = "pairwise"


class Settings(Group):
    """What a template's `[settings]` may say."""

    parser: Literal["verdict", "structured", "letter", "score"] = Field(
        "verdict",
        description='how a reply is read: verdict ("Verdict: A" as its last line), structured (JSON with a verdict), '
        'letter (the odds between the tokens A and B), score ("Score: 7", pointwise)',
    )
    max_tokens: int = Field(256, ge=1, description="limit of a reply", json_schema_extra={"unit": "tokens"})
    temperature: float | None = Field(0.0, ge=0, description="of the critic; null: not sent")
    top_logprobs: int | None = Field(None, ge=1, le=20, description="how many of the likeliest tokens to ask for")


_PARSERS: dict[str, Parser] = {
    "verdict": verdict,
    "structured": structured,
    "letter": letters("A", "B"),
    "score": score,
}


@dataclass(frozen=True)
class Evaluator:
    """A way to ask and to read. `seeded` is false where alpaca_eval would send no seed."""

    name: str
    template: Template
    parser: Parser
    identity: Tree
    """What the verdicts depend on, as JSON: the template's text, the parser's name and settings, the decoding."""
    max_tokens: int
    temperature: float | None
    top_p: float | None = None
    top_logprobs: int | None = None
    json_schema: dict[str, Any] | None = None
    tool: dict[str, Any] | None = None
    order: OrderRule = "both"
    seeded: bool = True
    model: str | None = None
    """Which model an evaluator of alpaca_eval stands for; asked through another, it is another judge."""


def load(name_or_path: str) -> Evaluator:
    """Return one that comes with tutelage (`pairwise`, ...), a .txt file, or an evaluator of alpaca_eval.

    Raises:
        ConfigError: there is none of that name, or it is broken; says what is.
    """
    if name_or_path in SHIPPED:
        text = (resources.files("tutelage.critic") / "templates" / f"{name_or_path}.txt").read_text("utf-8")
        return _from_text(name_or_path, text)
    folder = alpaca_eval.folder_of(name_or_path)
    if folder is not None:
        return _from_alpaca_eval(folder)
    return _from_text(Path(name_or_path).stem, _read(name_or_path))


def _read(name_or_path: str) -> str:
    try:
        return Path(name_or_path).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"critic template {name_or_path}: not UTF-8 (byte {error.start})") from None
    except FileNotFoundError:
        named = re.fullmatch(r"[\w-]+", name_or_path)
        raise ConfigError(
            f"critic template {name_or_path!r}: no such file, and no template of that name comes with tutelage (it "
            f"has {', '.join(SHIPPED)}); give one of them or a path such as my-template.txt"
            + (f"; {alpaca_eval.HOW_TO_GET_IT}" if named else "")
        ) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", error)
        raise ConfigError(f"critic template {name_or_path[:200]!r}: cannot be read ({why})") from None


def _from_text(name: str, text: str) -> Evaluator:
    template, header = Template.parse(name, text.replace("\r\n", "\n"))
    where = f"critic template {name!r}, [settings]"
    try:
        stated = parse_yaml(header) if header.strip() else {}
    except Exception as error:  # the YAML library's own errors have many classes
        raise ConfigError(f"{where}: not readable as YAML: {' '.join(str(error).split())[:200]}") from None
    settings = build(Settings, stated, where)
    if (settings.parser == "score") != template.is_pointwise:
        raise ConfigError(
            f"{where}: parser {settings.parser} does not fit the fields; a template with {{completion}} takes "
            "parser: score, one with {first} and {second} takes one of the others"
        )
    if settings.parser == "letter" and settings.top_logprobs is None:
        raise ConfigError(f"{where}: parser letter needs top_logprobs, such as 20")
    return Evaluator(
        name,
        template,
        _PARSERS[settings.parser],
        {"parts": [list(part) for part in template.parts], **settings.identity()},
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_logprobs=settings.top_logprobs,
        json_schema=VERDICT_SCHEMA if settings.parser == "structured" else None,
    )


def _from_alpaca_eval(folder: Path) -> Evaluator:
    config = alpaca_eval.read_config(folder)
    template = alpaca_eval.read_template(folder, config)
    return Evaluator(
        folder.name,
        template,
        alpaca_eval.parser_of(folder, config),
        {"parts": [list(part) for part in template.parts], "config": str(config)},
        order="random" if config.get("is_randomize_output_order", True) else "fixed",
        seeded=False,
        model=str(config["completions_kwargs"].get("model_name")),
        **alpaca_eval.decoding(config),
    )
