"""What a study will ask over APIs, and the most that it can cost.

Texts that are yet to be drawn are as long as they can be; a thousand prompts stand for all of them then, and one
seed for all seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from tutelage.chat import ChatRequest, Endpoint
from tutelage.chat.cache import REPLIES
from tutelage.chat.estimate import Estimate, estimate
from tutelage.data.formats.item import count_nothing
from tutelage.generate.settings import Drawing, placeholders
from tutelage.inputs import Rows
from tutelage.records import Pair, Prompt, digest
from tutelage.stages import evaluate, label, sample, teach
from tutelage.stages.asking import Asking
from tutelage.stages.judging import evaluator_of, judge_requests
from tutelage.stages.pairing import draw, pairs_between, pairs_within
from tutelage.study.costs import known_sum
from tutelage.study.design import ways
from tutelage.study.ground import Ground, endpoint_of, evaluated_prompts
from tutelage.study.tasks import Task

MOST = 1000
"""Prompts that stand for all of them, where texts are yet to be drawn."""
_NOWHERE = Path("no journal")
T = TypeVar("T")


@dataclass
class Role:
    """All that one teacher, critic or judge is asked for one purpose."""

    name: str
    endpoint: Endpoint
    tasks: dict[str, Task] = field(default_factory=dict)
    """Those that are not made, by key."""


class Foreseen:
    """What the tasks of a study ask."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.roles = _roles(ground)
        self._of_kind: dict[str, tuple[Estimate, Estimate]] = {}

    def estimates(self) -> list[Estimate]:
        """Return what each role is yet to be asked; replies that are kept, and what is asked twice, cost once."""
        return [found for role in self.roles if (found := self._of_role(role)).requests]

    def mode_of(self, name: str) -> str:
        """Return how a role is asked: live or batch."""
        task = next(task for role in self.roles if role.name == name for task in role.tasks.values())
        return task.config.mode if isinstance(task.config, Asking) else "live"

    def whole(self, task: Task) -> Estimate:
        """Return what one task that is not made asks, whatever other tasks ask too and whatever is kept."""
        config = task.config
        if isinstance(config, teach.Config):
            prompts = self.ground.asked_about(task)
            some = _some(prompts)
            requests = [request for _, _, request in teach.requests_of(config, some)]
            return times(estimate("", cast(Endpoint, config.teacher), requests, _NOWHERE), len(prompts) / len(some))
        if self._is_unseen(task):
            return together("", list(self._unseen(task)))
        return estimate("", cast(Endpoint, endpoint_of(task)), self._seen(task), _NOWHERE)

    def num_pairs(self, task: Task) -> int:
        """Return the most pairs that a task of label asks about."""
        config, drawn = cast(label.Config, task.config), cast(sample.Config, task.needs["completions"][1].config)
        prompts = self.ground.part(drawn)
        num = len(prompts) * len(_pairs(task, prompts[:1]))
        return num if config.max_pairs is None else min(num, config.max_pairs)

    def _of_role(self, role: Role) -> Estimate:
        known: list[ChatRequest] = []
        parts: list[Estimate] = []
        shared: dict[str, Estimate] = {}
        counted: set[str] = set()
        taught = [task for task in role.tasks.values() if task.stage == "teach"]
        if taught:  # shares of one order: the same prompts, once each
            prompts = {p.id: p for task in taught for p in self.ground.asked_about(task)}
            config = cast(teach.Config, taught[0].config)
            known += [request for _, _, request in teach.requests_of(config, list(prompts.values()))]
        for task in role.tasks.values():
            if task.stage == "teach":
                continue
            if not self._is_unseen(task):
                known += self._seen(task)
            elif (key := self._asks(task)) not in counted:
                counted.add(key)
                own, of_baseline = self._unseen(task)
                parts.append(own)
                shared[self._seed_sent(task)] = of_baseline
        journal = self.ground.graph.recipe.artifacts / REPLIES
        parts = [estimate(role.name, role.endpoint, known, journal), *parts, *shared.values()]
        return together(role.name, parts)

    def _is_unseen(self, task: Task) -> bool:
        """True if what is judged is yet to be drawn, or to be asked for."""
        texts = [needed for name, (_, needed) in task.needs.items() if name in ("completions", "against")]
        return any(needed.key not in self.ground.known for needed in texts) or (
            task.stage == "evaluate" and self.ground.opponent is None
        )

    def _seen(self, task: Task) -> Sequence[ChatRequest]:
        """Return what is asked about completions that are there."""
        drawn = Rows(path=str(self.ground.known[task.needs["completions"][1].key].path))
        if isinstance(task.config, label.Config):
            other = task.needs.get("against")
            against = None if other is None else Rows(path=str(self.ground.known[other[1].key].path))
            plan = label.plan(task.config, label.Inputs(completions=drawn, against=against))
        else:
            assert self.ground.opponent is not None
            prompts = evaluated_prompts(self.ground)
            inputs = evaluate.Inputs(completions=drawn, baseline=self.ground.opponent, prompts=prompts)
            plan = evaluate.plan(cast(evaluate.Config, task.config), inputs)
        return plan.requests if plan is not None else []

    def _asks(self, task: Task) -> str:
        """Tell apart tasks that ask something different: settings that only read replies do not count."""
        if isinstance(task.config, evaluate.Config):
            return task.key
        reads = {"on_flip", "max_invalid", "max_flip"}
        tree = task.config.model_dump(mode="json", exclude={"label", "artifacts", *reads})
        return digest([task.needs["completions"][1].key, tree])

    def _unseen(self, task: Task) -> tuple[Estimate, Estimate]:
        """Return what a task asks about completions to be drawn, and about the opponent's alone (same for all)."""
        drawn = cast(sample.Config, task.needs["completions"][1].config)
        tree = task.config.model_dump(mode="json", exclude={"seed", "label", "artifacts"})
        tree.get("judging", {}).pop("seed", None)  # all seeds are alike
        is_against = "against" in task.needs
        key = digest([task.stage, tree, list(drawn.share), drawn.num_samples, drawn.max_tokens, is_against])
        if key not in self._of_kind:
            of = self._evaluation if isinstance(task.config, evaluate.Config) else self._labelling
            self._of_kind[key] = of(task, drawn)
        return self._of_kind[key]

    def _labelling(self, task: Task, drawn: sample.Config) -> tuple[Estimate, Estimate]:
        config = cast(label.Config, task.config)
        assert config.critic is not None
        prompts = self.ground.part(drawn)
        pairs = _pairs(task, _some(prompts, min(MOST, config.max_pairs or MOST)))
        requests = judge_requests(config.critic, config, pairs, {p.id: p for p in prompts})[1]
        found = estimate("", config.critic, requests, _NOWHERE)
        return times(found, self.num_pairs(task) / len(pairs)), estimate("", config.critic, [], _NOWHERE)

    def _evaluation(self, task: Task, drawn: sample.Config) -> tuple[Estimate, Estimate]:
        config = cast(evaluate.Config, task.config)
        prompts = self.ground.evaluated
        some = _some(prompts)
        pairs, _ = evaluate.pairs_of(placeholders(some, drawn, 1), self.ground.baseline, count_nothing)
        asked, requests = judge_requests(config.judge, config.judging, pairs, {p.id: p for p in some})
        alone = {question.messages for question in asked if question.order == "right_alone"}
        parts = [[r for r in requests if (r.messages in alone) == is_alone] for is_alone in (False, True)]
        own, of_baseline = (
            times(estimate("", config.judge, part, _NOWHERE), len(prompts) / len(some)) for part in parts
        )
        return own, of_baseline

    def _seed_sent(self, task: Task) -> str:
        """Return what makes the same question another one: the run's seed, where the judge is sent one."""
        if not isinstance(task.config, evaluate.Config):
            return ""
        judge = task.config.judge
        sent = evaluator_of(judge, task.config.judging).seeded and judge.sends_seed and judge.provider != "anthropic"
        return str(task.config.judging.seed) if sent else ""


def _roles(ground: Ground) -> list[Role]:
    """Return who is asked for what, in the order of the road; tasks that are made are left out."""
    graph = ground.graph
    named: dict[tuple[str, str], Role] = {}
    by_name = {way.name: way for way in ways(graph.recipe)}

    def add(name: str, task: Task) -> None:
        endpoint = endpoint_of(task)
        if endpoint is not None and not ground.is_made(task):
            named.setdefault((name, endpoint.model), Role(name, endpoint)).tasks[task.key] = task

    if graph.baseline is not None:
        add(f"opponent {graph.recipe.evaluation.teacher}", graph.baseline)
    for purpose in ("teach", "label", "evaluate", "agree"):
        for (arm, _), run in graph.runs.items():
            for name, task in run.items():
                what, _, judge = name.partition(":")
                if what == purpose:
                    way = by_name[arm]
                    add(f"{purpose} {judge or (way.arm.teacher if purpose == 'teach' else way.critic_name)}", task)
    return list(named.values())


def _pairs(task: Task, prompts: Sequence[Prompt]) -> list[Pair]:
    """Return all pairs of stand-ins for what is to be drawn, or asked for, for some prompts."""
    config, drawn = cast(label.Config, task.config), cast(sample.Config, task.needs["completions"][1].config)
    stand_ins = placeholders(prompts, drawn, drawn.num_samples)
    if "against" in task.needs:
        asked = cast(teach.Config, task.needs["against"][1].config)
        others = placeholders(prompts, Drawing(max_tokens=asked.max_tokens), asked.num_completions)
        others = [c.model_copy(update={"text": f"t {c.text}"}) for c in others]  # the same text would be no pair
        every = pairs_between(stand_ins, others, count_nothing, config.pairing)
    else:
        every = pairs_within(stand_ins, count_nothing, config.pairing)
    return draw(every, config.model_copy(update={"max_pairs": None}), config.seed, count_nothing)


def together(name: str, parts: Sequence[Estimate]) -> Estimate:
    """Return the sum of estimates of one model."""
    outputs = [e.output_tokens for e in parts]
    return parts[0].model_copy(
        update={
            "stage": name,
            "requests": sum(e.requests for e in parts),
            "kept": sum(e.kept for e in parts),
            "input_tokens": sum(e.input_tokens for e in parts),
            "output_tokens": known_sum(outputs),
            "live": known_sum([e.live for e in parts]),
            "batch": known_sum([e.batch for e in parts]),
        }
    )


def times(one: Estimate, factor: float) -> Estimate:
    """Return what `factor` times as many requests of the same kind take."""

    def more(num: int | None) -> int | None:
        return None if num is None else math.ceil(round(num * factor, 6))

    return one.model_copy(
        update={
            "requests": round(one.requests * factor),
            "input_tokens": more(one.input_tokens),
            "output_tokens": more(one.output_tokens),
            "live": None if one.live is None else one.live * factor,
            "batch": None if one.batch is None else one.batch * factor,
        }
    )


def _some(prompts: Sequence[T], most: int = MOST) -> list[T]:
    """Return at most so many of the prompts, evenly spread."""
    return list(prompts[:: max(1, math.ceil(len(prompts) / most))])
