"""`tutelage <stage> --help`: every field with its default, unit and meaning, read off the settings themselves."""

from __future__ import annotations

import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tutelage.config import entries_of, group_of, preset_names, unit_of
from tutelage.stages import WHAT
from tutelage.stages.base import Stage


def stage_help(stage: Stage[Any, Any]) -> str:
    """Return the help text of `stage`."""
    lines = [f"tutelage {stage.name} [key=value ...]", f"  {WHAT[stage.name]}", "", "inputs"]
    lines += _fields(stage.inputs)
    lines += ["", "settings (those marked ~ do not change the result)"]
    lines += _fields(stage.config)
    return "\n".join(lines)


def group_help(cls: type[BaseModel], title: str) -> str:
    """Return the help text of a group that is no stage."""
    return "\n".join([title, "", *_fields(cls)])


def _fields(cls: type[BaseModel], prefix: str = "", base: BaseModel | None = None) -> Iterator[str]:
    for name, field in cls.model_fields.items():
        default = getattr(base, name) if base is not None else field.get_default(call_default_factory=True)
        inner = group_of(field)
        key = prefix + name
        if (entry := entries_of(field)) is not None:
            says = f"{(field.description or '').rstrip('.')}. Each has: {', '.join(entry.model_fields)}."
            yield from _wrap(f"  {key}.NAME=...", says)
            continue
        if inner is None:
            yield from _line(key, field, default)
            continue
        presets = preset_names(group) if (group := getattr(inner, "preset_group", None)) else []
        says = (field.description or (inner.__doc__ or "").split("\n")[0]).rstrip(".") + "."
        says += f" Presets: {', '.join(presets)}." if presets else ""
        shown = "(required)" if field.is_required() else "null" if default is None else "..."
        yield from _wrap(f"  {key}={shown}", says)
        yield from _fields(inner, f"{key}.", default if isinstance(default, BaseModel) else None)


def _line(key: str, field: FieldInfo, default: Any) -> Iterator[str]:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    mark = "~" if extra.get("runtime") else " "
    shown = "(required)" if default is PydanticUndefined else _show(default)
    unit = f" [{unit_of(field)}]" if unit_of(field) else ""
    yield from _wrap(f" {mark}{key}={shown}", f"{_kind(field.annotation)}{unit}: {field.description or ''}")


def _show(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ",".join(_show(v) for v in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _kind(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return "|".join(str(a) for a in typing.get_args(annotation))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " or ".join("null" if a is type(None) else _kind(a) for a in typing.get_args(annotation))
    if typing.get_origin(annotation) is tuple:
        kinds = [_kind(a) for a in typing.get_args(annotation)]
        return f"[{kinds[0]}, ...]" if kinds[1:] == ["..."] else "[" + ", ".join(kinds) + "]"
    names = {...: "...", str: "text", int: "integer", float: "number", bool: "true|false", Path: "path"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _wrap(head: str, says: str) -> Iterator[str]:
    lines = textwrap.wrap(says, 68) or [""]
    if len(head) > 38:
        yield head
        head = ""
    yield f"{head:<39} {lines[0]}"
    yield from (" " * 40 + line for line in lines[1:])
