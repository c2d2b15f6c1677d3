"""`tutelage <stage> --help`: every key, with the default that it really has."""

from __future__ import annotations

import re

import pytest

from tutelage import stages
from tutelage.config import fields_of, preset_names
from tutelage.help import group_help, stage_help
from tutelage.pipeline import Recipe
from tutelage.study.recipe import StudyRecipe


def keys_in(text: str) -> list[str]:
    return re.findall(r"^ [ ~]([a-z][\w.]*)=", text, re.MULTILINE)


def line_of(text: str, key: str) -> str:
    """The key's line and its continuation, white space evened out."""
    found = re.search(rf"^ [ ~]{re.escape(key)}=.*(\n {{40}}.*)*", text, re.MULTILINE)
    assert found is not None, key
    return " ".join(found[0].split())


@pytest.mark.parametrize("name", stages.WHAT)
def test_every_key_of_a_stage_is_listed_once(name: str) -> None:
    stage = stages.get(name)
    listed = keys_in(stage_help(stage))
    assert len(listed) == len(set(listed))
    assert {key for cls in (stage.inputs, stage.config) for key, _ in fields_of(cls)} <= set(listed)
    assert stages.WHAT[name] in stage_help(stage)


@pytest.mark.parametrize("name", stages.WHAT)
def test_the_defaults_shown_are_those_that_words_are_laid_over(name: str) -> None:
    """Feeding the shown defaults back as words changes nothing."""
    stage = stages.get(name)
    text = stage_help(stage)
    given = {"teach": ["teacher=miniature_weak"], "evaluate": ["judge=miniature_critic"]}
    words = given.get(name, ["critic=miniature_critic"] if name in ("label", "audit") else [])
    chosen = tuple(word.partition("=")[0] + "." for word in words)
    value = "[x,y]" if name == "panel" else "x"
    inputs = [f"{key}={value}" for key, field in stage.inputs.model_fields.items() if field.is_required()]
    before = stage.configure([*words, *inputs])[0]
    shown = []
    for key, _ in fields_of(stage.config):
        if not key.startswith(chosen):
            default = re.match(r"[~ ]*[\w.]+=(\S+)", line_of(text, key))
            assert default is not None
            shown.append(f"{key}={default[1]}")
    assert stage.configure([*words, *shown, *inputs])[0] == before
    assert shown


def test_units_kinds_choices_and_meanings_are_shown() -> None:
    text = stage_help(stages.get("sft"))
    assert line_of(text, "max_length").startswith("max_length=512 integer [tokens]: prompt and completion together;")
    assert line_of(text, "optimizer").startswith("optimizer=rmsprop rmsprop|adamw: ")
    assert line_of(text, "share").startswith("share=[0,1] [number, number]: ")
    assert line_of(text, "lr").startswith("lr=1e-06 number: ")
    assert line_of(stage_help(stages.get("teach")), "top_p").startswith("top_p=null number or null: ")


def test_what_does_not_change_the_result_is_marked() -> None:
    text = stage_help(stages.get("sft"))
    marked = set(re.findall(r"^ ~([\w.]+)=", text, re.MULTILINE))
    of_speed = {"micro_batch_tokens", "rows", "activation_checkpointing", "compile", "devices", "shard_over"}
    of_files = {"label", "artifacts", "save_every_seconds", "checkpoint_every", "keep_checkpoints"}
    assert marked == of_speed | of_files | {"trackers", "project"}


def test_groups_say_whether_they_are_needed_and_name_their_presets() -> None:
    text = stage_help(stages.get("teach"))
    assert line_of(text, "teacher").startswith("teacher=null the model that writes the completions")
    assert ", ".join(preset_names("api")) in line_of(text, "teacher")
    assert line_of(text, "teacher.model").startswith("teacher.model=(required)")
    assert line_of(text, "teacher.sends_temperature").startswith("teacher.sends_temperature=true")
    assert line_of(text, "prompts").startswith("prompts=null ")
    assert line_of(stage_help(stages.get("dpo")), "loss").endswith(f"Presets: {', '.join(preset_names('loss'))}.")
    assert line_of(stage_help(stages.get("dpo")), "model").startswith("model=(required) ")
    assert line_of(stage_help(stages.get("dpo")), "model.path").startswith("model.path=(required) ")


def test_a_stages_own_default_is_shown_and_not_the_shared_one() -> None:
    assert line_of(stage_help(stages.get("dpo")), "lr").startswith("lr=1e-07 ")
    assert line_of(stage_help(stages.get("sft")), "lr").startswith("lr=1e-06 ")
    assert line_of(stage_help(stages.get("reward")), "epochs").startswith("epochs=1 ")


@pytest.mark.parametrize("cls", [Recipe, StudyRecipe])
def test_the_help_of_a_group_lists_all_its_keys_in_a_width_for_terminals(cls: type[Recipe]) -> None:
    text = group_help(cls, "title")
    wanted = {re.sub(r"\.NAME\..*", ".NAME", key) for key, _ in fields_of(cls)}  # entries of one kind are one line
    assert wanted <= set(keys_in(text))
    assert text.startswith("title\n")
    assert max(map(len, text.splitlines())) <= 110
    assert "PydanticUndefined" not in text
