"""YAML presets + `key=value` words -> one frozen, validated object per stage.

A `Group` is a set of named settings; a group inside a group is reached with a dot (`loss.beta=0.05`).
A group that has presets (`presets/<group>/*.yaml`) is chosen by name (`teacher=openai`) and then changed
word by word (`teacher.model=gpt-5`). Merging and dotted keys are OmegaConf's, types and ranges pydantic's.
"""

from __future__ import annotations

import difflib
import os
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from tutelage.errors import ConfigError
from tutelage.plain_yaml import container, guarded, parse_yaml

Tree = dict[str, Any]


class Group(BaseModel):
    """A frozen set of settings; unknown keys are refused.

    A subclass that is chosen by name sets `preset_group`. One that is mostly one value sets `shorthand`,
    the field that a plain value stands for: `model=./folder` is `model.path=./folder`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False)
    preset_group: ClassVar[str | None] = None
    preset_optional: ClassVar[tuple[str, ...]] = ()
    """Settings of its presets that a group may lack: then they are left out."""
    shorthand: ClassVar[str | None] = None
    named_also: ClassVar[str] = ""
    """What `named` knows beside the presets, for the message about a name that is unknown."""

    @classmethod
    def named(cls, name: str) -> Tree | None:
        """Return the settings that `name` stands for though it is no preset; None: nothing is called so."""
        return None

    def identity(self) -> Tree:
        """Return what the result depends on: every field but those marked `runtime`."""
        tree: Tree = {}
        for name, field in type(self).model_fields.items():
            if not _extra(field).get("runtime"):
                value = getattr(self, name)
                tree[name] = value.identity() if isinstance(value, Group) else _plain(value)
        return tree


Folder = Annotated[Path, AfterValidator(lambda path: Path(os.path.expanduser(path)))]  # noqa: PTH111
"""A place to write to. ~ is the user's home, which a shell sees only where a word begins, and YAML nowhere.
Path's own expanduser raises where there is no such user."""


class StageConfig(Group):
    """What every stage takes."""

    label: str = Field(
        "run",
        pattern=r"^[\w.+-]{1,80}$",
        description="name of the artifact folder, for people; not part of its identity",
        json_schema_extra={"runtime": True},
    )
    artifacts: Folder = Field(
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


def entries_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the group class of the entries that `field` holds by names of the user's, or None if it holds none."""
    if typing.get_origin(field.annotation) is not dict:
        return None
    entry = typing.get_args(field.annotation)[1]
    return entry if isinstance(entry, type) and issubclass(entry, Group) else None


def fields_of(cls: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield (dotted key, field) of every plain setting in `cls`, groups opened; NAME stands for a user's name."""
    for name, field in cls.model_fields.items():
        if (inner := group_of(field)) is not None:
            yield from fields_of(inner, f"{prefix}{name}.")
        elif (entry := entries_of(field)) is not None:
            yield from fields_of(entry, f"{prefix}{name}.NAME.")
        else:
            yield prefix + name, field


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
    found = [p.name for p in folder.iterdir()] if group and folder.is_dir() else []
    return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))


def _preset(cls: type[BaseModel], name: object, key: str) -> Tree:
    group = getattr(cls, "preset_group", None)
    names = preset_names(group or "")
    if name not in names:
        also = cls.named(name) if issubclass(cls, Group) and isinstance(name, str) else None
        if also is not None:
            return also
        near = difflib.get_close_matches(str(name), names, 1)
        hint = f"; did you mean {key}={near[0]}?" if near else ""
        known = f"there are: {', '.join(names) or 'none'}{getattr(cls, 'named_also', '')}"
        raise ConfigError(f"{key}: no preset {_shown(name)}{hint} ({known})")
    text = (resources.files("tutelage") / "presets" / str(group) / f"{name}.yaml").read_text("utf-8")
    optional = set(getattr(cls, "preset_optional", ())) - cls.model_fields.keys()
    return {word: value for word, value in parse_yaml(text).items() if word not in optional}


def _expand(cls: type[BaseModel], value: Any, key: str) -> Any:
    """Replace preset names and shorthands by the settings they stand for, in groups at any depth."""
    group, shorthand = getattr(cls, "preset_group", None), getattr(cls, "shorthand", None)
    if isinstance(value, str):
        if not shorthand or (group and value in preset_names(group)):
            return _expand(cls, _preset(cls, value, key), key)
        value = {shorthand: value}
    if type(value) is int and shorthand and cls.model_fields[shorthand].annotation is int:
        return {shorthand: value}  # lora: 16, in a recipe
    if isinstance(value, list) and shorthand and typing.get_origin(cls.model_fields[shorthand].annotation) is tuple:
        return {shorthand: value}  # verdicts=[a,b]
    if not isinstance(value, dict):
        return value
    if shorthand and _is_of(group_of(cls.model_fields[shorthand]), cls, value):
        value = {shorthand: value}  # weak: {preset: openai, model: NAME}, of a teacher who is an endpoint
    tree: Tree = dict(value)
    if "preset" in tree and "preset" not in cls.model_fields:
        base = _expand(cls, _preset(cls, tree.pop("preset"), key), key)
        tree = container(OmegaConf.merge(guarded(base), guarded(tree)))
    for name, field in cls.model_fields.items():
        inner = group_of(field)
        if inner is not None and tree.get(name) is not None:
            tree[name] = _expand(inner, tree[name], f"{key}.{name}" if key else name)
        entry = entries_of(field)
        if entry is not None and isinstance(tree.get(name), dict):
            where = f"{key}.{name}" if key else name
            tree[name] = {each: _expand(entry, value, f"{where}.{each}") for each, value in tree[name].items()}
    return tree


def _is_of(inner: type[BaseModel] | None, outer: type[BaseModel], tree: Tree) -> bool:
    """True if `tree` has settings of the group `inner` and none of the group `outer` around it."""
    return (
        inner is not None
        and not tree.keys() & outer.model_fields
        and bool(tree.keys() & {"preset", *inner.model_fields})
    )


# ---- words ------------------------------------------------------------------------------------------

_KEY = re.compile(r"\w[\w-]*(\.\w[\w-]*)*")


def split_word(word: str) -> tuple[str, Any]:
    """Split `key=value`. `null`, `[...]` and `{...}` are read as YAML; the rest stays text for its field."""
    key, equals, raw = word.partition("=")
    if not equals or not _KEY.fullmatch(key):
        raise ConfigError(f"{_shown(word)} is not of the form key=value, for example seed=1")
    if any("\ud800" <= c <= "\udfff" for c in raw):
        raise ConfigError(f"{key}: {_shown(raw)} is not UTF-8")
    if raw == "null":
        return key, None
    if raw[:1] in ("[", "{"):
        try:
            read = parse_yaml(f"value: {raw}")
        except Exception as error:  # the YAML library's own errors have many classes
            raise ConfigError(f"{key}: cannot read {_shown(raw)} as a list or mapping: {_one_line(error)}") from None
        return key, read["value"]
    return key, raw


def _group_at(cls: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the group that `key` names, or None if it is a single setting or unknown.

    Raises:
        ConfigError: `key` goes into a single setting as if it were a group.
    """
    inner: type[BaseModel] | None = cls
    entry: type[BaseModel] | None = None
    parts = key.split(".")
    for place, part in enumerate(parts):
        if entry is not None:  # the part is a name of the user's
            inner, entry = entry, None
            continue
        if inner is None:
            raise ConfigError(f"{key}: unknown key; {'.'.join(parts[:place])} is a single setting")
        if part not in inner.model_fields:
            return None
        field = inner.model_fields[part]
        inner, entry = group_of(field), entries_of(field)
    return inner


def merge_words(cls: type[BaseModel], tree: Tree, words: Sequence[str]) -> Tree:
    """Return `tree` with `words` laid over it: first those that choose a group, then single settings.

    A key that is given twice has its last value, so a word can be added to a line from a script.
    """
    pairs = [(key, value, _group_at(cls, key)) for key, value in map(split_word, words)]
    groups = [(key, value, group) for key, value, group in pairs if group is not None]
    key = ""
    try:
        merged = OmegaConf.create(guarded(_expand(cls, tree, "")))
        for key, value, group in sorted(groups, key=lambda p: p[0].count(".")):
            chosen = _expand(group, value, key)
            if not isinstance(chosen, dict | None):
                raise ConfigError(f"{key}: found {_shown(value)}; expected {_expected(group)}")
            OmegaConf.update(merged, key, guarded(chosen), merge=False)
        for key, value, maybe in pairs:
            if maybe is None:
                OmegaConf.update(merged, key, guarded(value), merge=False)
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        raise ConfigError(f"{key}: {_one_line(error)}") from None
    return typing.cast(Tree, container(merged))


def load_yaml(path: Path) -> Tree:
    """Read a recipe.

    Raises:
        ConfigError: the file is missing, is not YAML, or is not a mapping; names the line where known.
    """
    try:
        loaded = parse_yaml(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a recipe, for example recipe.yaml") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # yaml's errors are no common class of ours; their text names line and column
        raise ConfigError(f"{path}: not readable as YAML: {_one_line(error)}") from None
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
        known = [*_with_groups(key for key, _ in fields_of(cls)), *_with_groups(also)]
        lines = [_problem(dict(item), known, cls) for item in error.errors()]
        raise ConfigError("\n  ".join([f"{where}: {len(lines)} problem(s) in the settings", *lines])) from None


def _with_groups(keys: Iterable[str]) -> list[str]:
    """Return dotted `keys` and every group on their way: loss.beta -> loss, loss.beta."""
    parts = [key.split(".") for key in keys]
    return list(dict.fromkeys(".".join(p[:end]) for p in parts for end in range(1, len(p) + 1)))


def nearest(key: str, known: Sequence[str]) -> str:
    """Return "; did you mean X?" for the known key nearest to `key`, or ''."""
    near = difflib.get_close_matches(key, known, 1, cutoff=0.55)
    if not near:  # a setting named without its group: beta for loss.beta
        near = [k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2]]
    return f"; did you mean {near[0]}?" if near else ""


def _problem(item: Tree, known: Sequence[str], cls: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    parent = key.rpartition(".")[0]
    found = f"found {_shown(item['input'])}"
    if item["type"] == "invalid_key":
        return f"{parent or 'settings'}: {found} as a key; a key is a text"
    if item["type"] == "extra_forbidden":
        if any("." in str(part) for part in item["loc"]):
            return f"{key}: unknown key; dots are for the command line, in a file a group is nested under its name"
        return f"{key}: unknown key{nearest(key, known)}"
    if not item["loc"]:  # a rule about several settings at once
        return f"{_said(item)}"
    if isinstance(item["loc"][-1], int):  # a place within a list
        return f"{parent}: {found}: {_said(item)}{_meaning(cls, parent)}"
    if item["type"] == "missing":
        return f"{key}: required, but not given{_meaning(cls, key)}; give {_example(cls, key)}"
    if item["type"] == "model_type" and (group := _group_at(cls, key)):
        return f"{key}: {found}: expected {_expected(group)}"
    return f"{key}: {found}: {_said(item)}{_meaning(cls, key)}"


def _example(cls: type[BaseModel], key: str) -> str:
    parent = key.rpartition(".")[0]
    for group_key in (key, parent) if parent else (key,):
        if names := preset_names(getattr(_group_at(cls, group_key), "preset_group", None) or ""):
            return f"{key}=..., or choose {group_key}=PRESET ({', '.join(names)})"
    return f"{key}=..."


def _said(item: Tree) -> str:
    return "too few values" if item["type"] == "missing" else re.sub("^(Value error, |Input )", "", str(item["msg"]))


def _meaning(cls: type[BaseModel], key: str) -> str:
    field: FieldInfo | None = None
    inner: type[BaseModel] | None = cls
    entry: type[BaseModel] | None = None
    for part in key.split("."):
        if entry is not None:  # the part is a name of the user's
            inner, entry = entry, None
            continue
        field = inner.model_fields.get(part) if inner else None
        inner, entry = (group_of(field), entries_of(field)) if field else (None, None)
    return f" ({field.description})" if field is not None and field.description else ""


def _expected(group: type[BaseModel]) -> str:
    """What a group can be given as, in words."""
    ways = []
    if names := preset_names(getattr(group, "preset_group", None) or ""):
        ways.append(f"a preset ({', '.join(names)})")
    if shorthand := getattr(group, "shorthand", None):
        ways.append(f"a {shorthand}")
    return " or ".join([*ways, f"its settings ({', '.join(group.model_fields)})"])


def _shown(value: object) -> str:
    """`value` as in code, cut: it may be a whole file by mistake."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
