"""prompts -> teacher completions: asked from an API model, or imported from a file."""

from __future__ import annotations

from pydantic import Field

from tutelage.chat import ChatReply, ChatRequest, Endpoint
from tutelage.config import Group, StageConfig
from tutelage.data.formats.item import count_nothing
from tutelage.data.rows import COMPLETIONS, PROMPTS, read_completions, read_prompts
from tutelage.data.share import OfPrompts
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Prompts, Rows
from tutelage.records import Bill, Completion, Message, Prompt, Sampling, Usage
from tutelage.stages.asking import Asking, ask_about
from tutelage.stages.base import Plan, Stage
from tutelage.store import Made, Work

NOBODY = (
    "tutelage teach: give prompts=FILE and teacher=PRESET (for example teacher=openai teacher.model=NAME), "
    "or completions=FILE to import"
)


class Config(StageConfig, Asking, OfPrompts):
    """Who teaches, how it is asked, and about which part of the prompts."""

    teacher: Endpoint | None = Field(None, description="the model that writes the completions; null: import")
    system: str | None = Field(None, description="system message before every prompt")
    num_completions: int = Field(1, ge=1, le=1000, description="completions per prompt")
    temperature: float | None = Field(None, ge=0, description="null: not sent, the model's own default")
    top_p: float | None = Field(None, gt=0, le=1, description="null: not sent")
    max_tokens: int = Field(1024, ge=1, description="limit of a completion", json_schema_extra={"unit": "tokens"})
    seed: int = Field(0, ge=0, le=2**31 - 1, description="sent if the model takes one; other seeds are other draws")


class Inputs(Group):
    """Prompts to ask about, or completions to import (with `prompts`: only those for them)."""

    prompts: Prompts | None = None
    completions: Rows | None = None


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write prompts.jsonl and completions.jsonl."""
    bill = None
    if inputs.completions is not None:
        if config.teacher is not None:
            raise ConfigError("tutelage teach: give teacher= to ask a model or completions= to import, not both")
        prompts, completions = _import(config, inputs, work)
    else:
        if config.teacher is None or inputs.prompts is None:
            raise ConfigError(NOBODY)
        prompts = config.part_of(read_prompts(inputs.prompts, work.count), inputs.prompts.path, work.count)
        completions, bill = _ask(config, config.teacher, prompts, work)
    if not completions:
        raise DataError(f"tutelage teach: no completion is left: {work.counts}")
    kept = {c.prompt_id for c in completions}
    work.write(PROMPTS, [p for p in prompts if p.id in kept])
    work.write(COMPLETIONS, completions)
    work.count("completions", len(completions))
    return Made(usage=Usage.total(c.usage for c in completions), bill=bill)


def plan(config: Config, inputs: Inputs) -> Plan | None:
    """Return what `body` will ask; None if it imports."""
    if inputs.completions is not None:
        return None
    if config.teacher is None or inputs.prompts is None:
        raise ConfigError(NOBODY)
    prompts = config.part_of(read_prompts(inputs.prompts, count_nothing), inputs.prompts.path, count_nothing)
    return Plan(config.teacher, [request for _, _, request in requests_of(config, prompts)])


def _import(config: Config, inputs: Inputs, work: Work) -> tuple[list[Prompt], list[Completion]]:
    assert inputs.completions is not None
    prompts, completions = read_completions(inputs.completions, work.count, known_author=True)
    path = inputs.completions.path
    if inputs.prompts is not None:
        prompts, path = read_prompts(inputs.prompts, work.count), inputs.prompts.path
    wanted = config.part_of(prompts, path, work.count)
    ids = {p.id for p in wanted}
    kept = [c for c in completions if c.prompt_id in ids]
    for what, num in (
        ("skipped: completions of other prompts", len(completions) - len(kept)),
        ("prompts without a completion", len(ids - {c.prompt_id for c in kept})),
    ):
        if num:
            work.count(what, num)
    return wanted, kept


def _sampling(config: Config, index: int) -> Sampling:
    """Every draw has a seed of its own: a server that honours seeds would repeat itself otherwise."""
    return Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        max_tokens=config.max_tokens,
        seed=config.seed * 1000 + index,
    )


def requests_of(config: Config, prompts: list[Prompt]) -> list[tuple[Prompt, int, ChatRequest]]:
    """Return (prompt, index of the completion, what is asked) for every completion wanted."""
    before = (Message(role="system", content=config.system),) if config.system else ()
    return [
        (
            prompt,
            index,
            ChatRequest(messages=before + prompt.messages, sampling=_sampling(config, index), sample_index=index),
        )
        for prompt in prompts
        for index in range(config.num_completions)
    ]


def _ask(
    config: Config, teacher: Endpoint, prompts: list[Prompt], work: Work
) -> tuple[list[Completion], Bill | None]:
    asked = requests_of(config, prompts)
    answer = ask_about(teacher, [request for _, _, request in asked], config, work)
    completions = []
    for (prompt, index, _), reply in zip(asked, answer.replies, strict=True):
        if not isinstance(reply, ChatReply):
            continue  # counted by ask_about
        if reply.stop_reason == "filtered" or not reply.text.strip():
            why = "refused or filtered" if reply.stop_reason == "filtered" else "empty"
            work.count(f"skipped: the completion is {why}", 1)
            continue
        if reply.stop_reason == "length":
            work.count("cut at max_tokens", 1)
        completions.append(
            Completion(
                prompt_id=prompt.id,
                author=answer.author,
                text=reply.text,
                stop_reason=reply.stop_reason,
                sampling=reply.sampling,
                index=index,
                usage=reply.usage,
            )
        )
    return completions, answer.bill


STAGE = Stage("teach", Config, Inputs, body, plan)
run = STAGE.run
