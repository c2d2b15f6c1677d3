"""YAML presets + `key=value` words -> one frozen, validated object per stage.

A `Group` is a set of named settings; a group inside a group is reached with a dot (`loss.beta=0.05`).
A group that has presets (`presets/<group>/*.yaml`) is chosen by name (`teacher=openai`) and then changed
word by word (`teacher.model=gpt-5`). Merging and dotted keys are OmegaConf's, types and ranges pydantic's.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from tutelage.errors import ConfigError

Tree = dict[str, Any]


class Group(BaseModel):
    """A frozen set of settings; unknown keys are refused.

    A subclass that is chosen by name sets `preset_group`. One that is mostly one value sets `shorthand`,
    the field that a plain value stands for: `model=./folder` is `model.path=./folder`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)
    preset_group: ClassVar[str | None] = None
    shorthand: ClassVar[str | None] = None

    def identity(self) -> Tree:
        """Return what the result depends on: every field but those marked `runtime`."""
        tree: Tree = {}
        for name, field in type(self).model_fields.items():
            if not _extra(field).get("runtime"):
                value = getattr(self, name)
                tree[name] = value.identity() if isinstance(value, Group) else _plain(value)
        return tree


class StageConfig(Group):
    """What every stage takes."""

    label: str = Field(
        "run",
        pattern=r"^[\w.+-]{1,80}$",
        description="name of the artifact folder, for people; not part of its identity",
        json_schema_extra={"runtime": True},
    )
    artifacts: Path = Field(
        Path("artifacts"),
        description="folder that holds all artifacts",
        json_schema_extra={"runtime": True},
    )


AnyGroup = TypeVar("AnyGroup", bound=BaseModel)


def _extra(field: FieldInfo) -> Mapping[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def group_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the group class that `field` holds, or None if it is a plain setting."""
    annotation = field.annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [a for a in typing.get_args(annotation) if a is not type(None)]
        annotation = members[0] if len(members) == 1 else None
    if isinstance(annotation, type) and issubclass(annotation, Group):
        return annotation
    return None


def fields_of(cls: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield (dotted key, field) of every plain setting in `cls`, groups opened."""
    for name, field in cls.model_fields.items():
        inner = group_of(field)
        if inner is None:
            yield prefix + name, field
        else:
            yield from fields_of(inner, f"{prefix}{name}.")


def runtime_keys(cls: type[BaseModel]) -> set[str]:
    """Return the dotted keys that do not change the result."""
    return {key for key, field in fields_of(cls) if _extra(field).get("runtime")}


def unit_of(field: FieldInfo) -> str:
    """Return the unit a field is given in, or ''."""
    return str(_extra(field).get("unit", ""))


# ---- presets ----------------------------------------------------------------------------------------


def preset_names(group: str) -> list[str]:
    """Return the names of the presets of `group` that come with the package."""
    folder = resources.files("tutelage") / "presets" / group
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir()) if folder.is_dir() else []


def _preset(group: str, name: str) -> Tree:
    text = (resources.files("tutelage") / "presets" / group / f"{name}.yaml").read_text("utf-8")
    return typing.cast(Tree, OmegaConf.to_container(OmegaConf.create(text)))


def _expand(cls: type[BaseModel], value: Any, key: str) -> Any:
    """Replace preset names and shorthands by the settings they stand for, in groups at any depth."""
    group, shorthand = getattr(cls, "preset_group", None), getattr(cls, "shorthand", None)
    if isinstance(value, str):
        names = preset_names(group) if group else []
        if value in names:
            return _expand(cls, _preset(str(group), value), key)
        if shorthand:
            return {shorthand: value}
        near = difflib.get_close_matches(value, names, 1)
        hint = f"; did you mean {key}={near[0]}?" if near else ""
        raise ConfigError(f"{key}: no preset {value!r}{hint} (there are: {', '.join(names) or 'none'})")
    if not isinstance(value, dict):
        return value
    tree: Tree = dict(value)
    if "preset" in tree and "preset" not in cls.model_fields:
        base = _expand(cls, str(tree.pop("preset")), key)
        tree = typing.cast(Tree, OmegaConf.to_container(OmegaConf.merge(base, tree)))
    for name, field in cls.model_fields.items():
        inner = group_of(field)
        if inner is not None and tree.get(name) is not None:
            tree[name] = _expand(inner, tree[name], f"{key}.{name}" if key else name)
    return tree


# ---- words ------------------------------------------------------------------------------------------


def split_word(word: str) -> tuple[str, Any]:
    """Split `key=value`. `null`, `[...]` and `{...}` are read as YAML; the rest stays text for its field."""
    key, equals, raw = word.partition("=")
    if not equals or not key:
        raise ConfigError(f"{word!r} is not of the form key=value, for example seed=1")
    if raw == "null":
        return key, None
    if raw[:1] in "[{" and raw:
        try:
            return key, OmegaConf.to_container(OmegaConf.create(f"value: {raw}"))["value"]  # type: ignore[index,call-overload]
        except Exception as error:  # the YAML library's own errors have many classes
            raise ConfigError(f"{key}: cannot read {raw!r} as a list or mapping: {error}") from None
    return key, raw


def _group_at(cls: type[BaseModel], key: str) -> type[BaseModel] | None:
    inner: type[BaseModel] | None = cls
    for part in key.split("."):
        if inner is None or part not in inner.model_fields:
            return None
        inner = group_of(inner.model_fields[part])
    return inner


def merge_words(cls: type[BaseModel], tree: Tree, words: Sequence[str]) -> Tree:
    """Return `tree` with `words` laid over it: first those that choose a group, then single settings."""
    pairs = [split_word(word) for word in words]
    groups = [(k, v, g) for k, v in pairs if (g := _group_at(cls, k)) is not None]
    merged = OmegaConf.create(_expand(cls, tree, ""))
    try:
        for key, value, group in sorted(groups, key=lambda p: p[0].count(".")):
            OmegaConf.update(merged, key, _expand(group, value, key), merge=False)
        for key, value in pairs:
            if _group_at(cls, key) is None:
                OmegaConf.update(merged, key, value, merge=False)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{key}: {str(error).splitlines()[0]}") from None
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None
    return typing.cast(Tree, OmegaConf.to_container(merged, resolve=False))


def load_yaml(path: Path) -> Tree:
    """Read a recipe.

    Raises:
        ConfigError: the file is missing, is not YAML, or is not a mapping; names the line where known.
    """
    try:
        loaded = OmegaConf.to_container(OmegaConf.create(path.read_text("utf-8")), resolve=False)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a recipe, for example recipe.yaml") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # yaml's errors are no common class of ours; their text names line and column
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: expected `key: value` lines, found a {type(loaded).__name__}")
    return typing.cast(Tree, loaded)


def build(cls: type[AnyGroup], tree: Tree, where: str, also: Sequence[str] = ()) -> AnyGroup:
    """Validate `tree` into `cls`.

    Args:
        where: what is being configured, for the message: "tutelage dpo".
        also: further keys that exist beside those of `cls`, offered when a key is mistyped.

    Raises:
        ConfigError: every problem at once, one line each.
    """
    try:
        return cls.model_validate(_expand(cls, tree, ""))
    except ValidationError as error:
        known = [key for key, _ in fields_of(cls)] + _group_keys(cls) + list(also)
        lines = [_problem(dict(item), known, cls) for item in error.errors()]
        raise ConfigError("\n  ".join([f"{where}: {len(lines)} problem(s) in the settings", *lines])) from None


def _group_keys(cls: type[BaseModel]) -> list[str]:
    return [name for name, field in cls.model_fields.items() if group_of(field)]


def nearest(key: str, known: Sequence[str]) -> str:
    """Return "; did you mean X?" for the known key nearest to `key`, or ''."""
    near = difflib.get_close_matches(key, known, 1, cutoff=0.55)
    if not near:  # a setting named without its group: beta for loss.beta
        near = [k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2]]
    return f"; did you mean {near[0]}?" if near else ""


def _problem(item: Tree, known: Sequence[str], cls: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown key{nearest(key, known)}"
    field = dict(fields_of(cls)).get(key)
    says = f" ({field.description})" if field is not None and field.description else ""
    if item["type"] == "missing":
        example = f"; give {key}=..." if key else ""
        return f"{key}: required, but not given{says}{example}"
    message = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return f"{key}: found {item['input']!r}: {message}{says}"
