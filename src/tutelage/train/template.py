"""Chat templates: where they come from, and what has to be settled in one before a model is trained on it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from tutelage.config import nearest
from tutelage.disk import read_text
from tutelage.errors import ModelError

_NO_THOUGHT = "{%- set enable_thinking = false -%}"
_ONE_DAY = "{%- macro strftime_now(format) -%}26 Jul 2024{%- endmacro -%}"
"""The date that Llama's templates have where no clock is at hand."""


def chat_template(name_or_path: str) -> str:
    """Return a chat format that comes with the package, or the text of a .jinja file.

    Raises:
        ModelError: there is no such format.
        DataError: there is no such file.
    """
    path = Path(name_or_path)
    if path.suffix == ".jinja":
        return read_text(path)
    folder = resources.files("tutelage") / "presets" / "chat_format"
    names = [p.name.removesuffix(".jinja") for p in folder.iterdir()]
    if name_or_path not in names:
        raise ModelError(
            f"chat_format {name_or_path!r}: unknown{nearest(name_or_path, names)} "
            f"(there are: {', '.join(sorted(names))}, or a .jinja file)"
        )
    return (folder / f"{name_or_path}.jinja").read_text("utf-8")


def settled(template: str) -> tuple[str, list[str]]:
    """Return a model's own chat template with its choices made, and what was chosen, in words.

    A template that can ask for thought (Qwen3, SmolLM3) asks for it unless told otherwise, and then a sampled
    completion is a thought and seldom more. One that writes today's date (Llama 3.2) would encode the same prompt
    differently tomorrow. Both are settled in the template itself, so that every server that loads the
    trained checkpoint writes what it was trained on.
    """
    said = []
    if "enable_thinking" in template and _NO_THOUGHT not in template:
        template = _NO_THOUGHT + template
        said.append("its chat template can ask for thought before the completion; it is told not to")
    if "strftime_now" in template and _ONE_DAY not in template:
        template = _ONE_DAY + template
        said.append("its chat template writes today's date; it always writes the same one now")
    return template, said
