"""completions -> verdicts: a critic says which of two completions of one prompt is better."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations, product

from pydantic import Field

from tutelage.config import Group, StageConfig
from tutelage.data.rows import PROMPTS, Count, read_completions
from tutelage.errors import DataError
from tutelage.inputs import Rows
from tutelage.records import Completion, Pair, Prompt, Usage
from tutelage.stages.asking import Asking
from tutelage.stages.base import Plan, Stage
from tutelage.stages.judging import Critic, Judging, judge_pairs, judge_requests
from tutelage.store import Made, Work

VERDICTS = "verdicts.jsonl"


class Config(StageConfig, Asking, Judging):
    """Who the critic is and how it is asked."""

    critic: Critic = Field(description="the model that judges pairs, or an evaluator of alpaca_eval")


class Inputs(Group):
    """Completions to compare among themselves, or with those of another author."""

    completions: Rows
    against: Rows | None = None


def pairs_within(completions: list[Completion], count: Count) -> list[Pair]:
    """Pair every two completions of a prompt; identical texts are dropped and counted."""
    return _pairs([(group, None) for group in _by_prompt(completions).values()], count)


def pairs_between(left: list[Completion], right: list[Completion], count: Count) -> list[Pair]:
    """Pair every completion of `left` with every one of `right` for the same prompt."""
    others = _by_prompt(right)
    groups = _by_prompt(left)
    missing = len(groups.keys() - others.keys())
    if missing:
        count("prompts without a completion to compare with", missing)
    return _pairs([(group, others[pid]) for pid, group in groups.items() if pid in others], count)


def _by_prompt(completions: list[Completion]) -> dict[str, list[Completion]]:
    groups: defaultdict[str, list[Completion]] = defaultdict(list)
    for completion in completions:
        groups[completion.prompt_id].append(completion)
    return groups


def _pairs(groups: list[tuple[list[Completion], list[Completion] | None]], count: Count) -> list[Pair]:
    pairs = []
    seen: set[frozenset[str]] = set()
    for group, others in groups:
        for left, right in combinations(group, 2) if others is None else product(group, others):
            both = frozenset((left.id, right.id))
            if left.text == right.text:
                count("skipped: both completions are the same text", 1)
            elif both in seen:
                count("skipped: the same pair again", 1)
            else:
                seen.add(both)
                pairs.append(Pair(left=left, right=right))
    return pairs


def read_pairs(config: Config, inputs: Inputs, count: Count) -> tuple[dict[str, Prompt], list[Pair]]:
    """Return the prompts by id, and the pairs to judge.

    Raises:
        DataError: there is nothing to compare.
    """
    prompts, completions = read_completions(inputs.completions, None, count)
    if inputs.against is None:
        pairs = pairs_within(completions, count)
    else:
        pairs = pairs_between(completions, read_completions(inputs.against, None, count)[1], count)
    if not pairs:
        raise DataError(
            f"{inputs.completions.path}: nothing to compare: no prompt has two different completions "
            "(sample with num_samples=2, or give against=)"
        )
    return {p.id: p for p in prompts}, pairs


def plan(config: Config, inputs: Inputs) -> Plan:
    """Return what `body` will ask."""
    prompts, pairs = read_pairs(config, inputs, lambda what, num: None)
    return Plan(config.critic, judge_requests(config.critic, config, pairs, prompts)[1])


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write prompts.jsonl and verdicts.jsonl."""
    prompts, pairs = read_pairs(config, inputs, work.count)
    judged = judge_pairs(config.critic, config, config, pairs, prompts, work)
    verdicts = judged.verdicts
    if not verdicts:
        raise DataError(f"{judged.critic}: not one pair was judged; every request failed")
    ids = {v.pair.prompt_id for v in verdicts}
    work.write(PROMPTS, [p for p in prompts.values() if p.id in ids])
    work.write(VERDICTS, verdicts)
    work.count("verdicts", len(verdicts))
    for outcome in ("LEFT", "RIGHT", "TIE", "INVALID"):
        work.count(outcome, sum(v.outcome == outcome for v in verdicts))
    return Made(usage=Usage.total(v.usage for v in verdicts), bill=judged.bill, summary={"critic": judged.critic})


STAGE = Stage("label", Config, Inputs, body, plan)
run = STAGE.run
