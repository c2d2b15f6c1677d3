"""A policy's completions + a baseline's -> the policy's win rate in the eyes of a judge."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from tutelage.config import Group, StageConfig
from tutelage.data.formats.item import Count, count_nothing
from tutelage.data.rows import COMPLETIONS, PROMPTS, read_completions, read_prompts
from tutelage.disk import dump_json, visible, write_atomically
from tutelage.errors import ConfigError, DataError
from tutelage.extras import require
from tutelage.generate.settings import Drawing, placeholders
from tutelage.inputs import Model, Prompts, Rows
from tutelage.measure.alpaca_eval import coverage, dataset_of, metrics
from tutelage.measure.annotations import ANNOTATIONS, annotations_of, read_annotations, write_annotations
from tutelage.measure.leaderboard import write_leaderboard
from tutelage.measure.paired import against_even, even_in_words
from tutelage.measure.win_rate import scores, win_rate
from tutelage.records import Completion, Pair, Prompt, Usage, Verdict, WinRate
from tutelage.stages.asking import Asking
from tutelage.stages.base import Plan, Stage
from tutelage.stages.judging import Critic, Judging, judge_pairs, judge_requests
from tutelage.stages.label import VERDICTS
from tutelage.store import Artifact, Made, Work

OUTPUTS, LEADERBOARD = "model_outputs.json", "leaderboard.csv"
"""What alpaca_eval calls the policy's completions, and the win rate."""


class Config(StageConfig, Asking):
    """Who judges and how, and how the policy's completions are drawn if it is a model."""

    judge: Critic = Field(description="the model that decides; better not the critic, whose taste was trained on")
    judging: Judging = Field(Judging(), description="how pairs are shown")
    drawing: Drawing = Field(Drawing(), description="how the policy's completions are drawn")


class Inputs(Group):
    """The policy (a model to draw from, or completions), the baseline's completions, and the prompts.

    Without `prompts`, all prompts of the baseline. An evaluate artifact can be a baseline: head to head.
    """

    model: Model | None = None
    completions: Rows | None = None
    baseline: Rows
    prompts: Prompts | None = None


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write prompts.jsonl, completions.jsonl (the policy's) and verdicts.jsonl (left is the policy).

    Beside them what alpaca_eval writes: model_outputs.json, annotations.json and leaderboard.csv.
    """
    prompts, by_prompt = read_baseline(inputs, work.count)
    policy = list(_one_each(_policy_completions(config, inputs, prompts, work), "policy").values())
    work.count("prompts without a completion of the policy", len(prompts) - len(policy))
    asked, same = pairs_of(policy, by_prompt, work.count)
    by_id = {p.id: p for p in prompts}
    judged = judge_pairs(config.judge, config.judging, config, asked, by_id, work)
    verdicts = judged.verdicts + [_tie(pair, judged.critic) for pair in same]
    work.write(PROMPTS, prompts)
    work.write(VERDICTS, verdicts)
    wanted = len(prompts) + work.counts["prompts without a baseline completion"]
    rate = win_rate(verdicts, _author(policy), _author(list(by_prompt.values())), judged.critic, wanted)
    work.count("prompts judged", len(verdicts))
    _write_as_alpaca_eval(work, policy, verdicts, by_id, rate)
    return Made(
        usage=Usage.total(v.usage for v in verdicts),
        bill=judged.bill,
        win_rate=rate,
        summary={"mean_words": sum(len(c.text.split()) for c in policy) / len(policy)},
    )


def in_words(made: Artifact) -> list[str]:
    """Return what an evaluation found, for people: the row, what it does not cover, and what may be said of it."""
    rate = made.record.win_rate
    assert rate is not None, "evaluate always states one"
    rows = read_annotations(made.path)
    lines = [
        f"win rate {rate.rate:.2f} % ± {rate.standard_error or 0:.2f} against {rate.baseline}, judge {rate.judge}: "
        f"{rate.wins} wins, {rate.losses} losses, {rate.ties} ties, {rate.invalid} unreadable, {rate.missing} missing"
    ]
    if rate.invalid + rate.missing:
        low, high = rate.bounds
        lines.append(f"between {low:.1f} % and {high:.1f} %, if all that is unreadable or missing were lost, or won")
    covered = coverage(rows)
    if covered.num_present:
        lines.append(f"coverage: {covered}")
    found = against_even(scores(made.rows(VERDICTS, Verdict)))
    return [visible(line) for line in [*lines, even_in_words(found, rate.policy, rate.baseline, rate.judge)]]


def _write_as_alpaca_eval(
    work: Work, policy: list[Completion], verdicts: list[Verdict], prompts: Mapping[str, Prompt], rate: WinRate
) -> None:
    outputs = [{"instruction": prompts[c.prompt_id].text, "output": c.text, "generator": rate.policy} for c in policy]
    write_atomically(work.path / OUTPUTS, dump_json(outputs, indent=2) + "\n")
    rows = annotations_of(verdicts, prompts, rate.baseline, rate.policy, dataset_of)
    write_annotations(work.path / ANNOTATIONS, rows)
    write_leaderboard(work.path / LEADERBOARD, {rate.policy: metrics(rows)})


def plan(config: Config, inputs: Inputs) -> Plan:
    """Return what `body` will ask; completions that are yet to be drawn are taken as long as they can be."""
    prompts, by_prompt = read_baseline(inputs, count_nothing)
    if inputs.completions is not None:
        found = read_completions(inputs.completions, count_nothing, keep_empty=True, known_author=True)[1]
        policy = list(_one_each(_firsts(found, set(by_prompt), "policy", count_nothing), "policy").values())
    else:
        policy = placeholders(prompts, config.drawing, 1)
    asked, _ = pairs_of(policy, by_prompt, count_nothing)
    return Plan(config.judge, judge_requests(config.judge, config.judging, asked, {p.id: p for p in prompts})[1])


def read_baseline(inputs: Inputs, count: Count) -> tuple[list[Prompt], dict[str, Completion]]:
    """Return the prompts that are evaluated, and the baseline's completion of each.

    Raises:
        DataError: the baseline has none for any of the prompts, or several for one.
    """
    prompts, baseline = read_completions(inputs.baseline, count, keep_empty=True, known_author=True)
    if inputs.prompts is not None:
        prompts = read_prompts(inputs.prompts, count)
    wanted = {p.id for p in prompts}
    baseline = _firsts(baseline, wanted, "baseline", count)
    count("prompts without a baseline completion", len(wanted - {c.prompt_id for c in baseline}))
    by_prompt = _one_each(baseline, "baseline")
    prompts = [p for p in prompts if p.id in by_prompt]
    if not prompts:
        raise DataError(f"{inputs.baseline.path}: has a completion for none of the prompts")
    return prompts, by_prompt


def pairs_of(
    policy: list[Completion], by_prompt: dict[str, Completion], count: Count
) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs to ask about (left is the policy), and those whose two texts are the same.

    Raises:
        DataError: there is no pair.
    """
    pairs = [Pair(left=c, right=by_prompt[c.prompt_id]) for c in policy if c.id != by_prompt[c.prompt_id].id]
    count("skipped: policy and baseline are one completion", len(policy) - len(pairs))
    if not policy:
        raise DataError("tutelage evaluate: the policy has a completion for none of the prompts")
    if not pairs:
        raise DataError("tutelage evaluate: policy and baseline are the same completions")
    same = [p for p in pairs if p.left.text == p.right.text]
    count("ties without asking: the same text", len(same))
    return [p for p in pairs if p.left.text != p.right.text], same


def _firsts(completions: list[Completion], wanted: set[str], whose: str, count: Count) -> list[Completion]:
    """Return the first completion of each wanted prompt; counts the others."""
    of_wanted = [c for c in completions if c.prompt_id in wanted]
    first = [c for c in of_wanted if c.index == 0]
    count(f"not judged: completions of the {whose} for other prompts", len(completions) - len(of_wanted))
    count(f"not judged: further completions of the {whose}", len(of_wanted) - len(first))
    return first


def _one_each(completions: list[Completion], whose: str) -> dict[str, Completion]:
    """Return the completions by prompt.

    Raises:
        DataError: there are several for a prompt, so that it is unclear which one is judged.
    """
    one = {c.prompt_id: c for c in completions}
    if len(one) < len(completions):
        raise DataError(
            f"tutelage evaluate: the {whose} has {len(completions)} completions for {len(one)} prompts, by "
            f"{_author(completions)}; give a file with one author"
        )
    return one


def _tie(pair: Pair, judge: str) -> Verdict:
    """Two equal texts are a tie, as in alpaca_eval; no judge needs to be paid to say so."""
    reply = "the same text; not asked"
    return Verdict(pair=pair, orders=("left_first",), outcome="TIE", critic=judge, replies=(reply,))


def _author(completions: list[Completion]) -> str:
    return ", ".join(sorted({c.author for c in completions}))


def _policy_completions(config: Config, inputs: Inputs, prompts: list[Prompt], work: Work) -> list[Completion]:
    """Read the policy's completions, or draw them; drawn ones stay if the judge fails afterwards."""
    if (inputs.model is None) == (inputs.completions is None):
        raise ConfigError("tutelage evaluate: give model= (to draw from) or completions=, one of them")
    if inputs.completions is not None:
        wanted = {p.id for p in prompts}
        found = read_completions(inputs.completions, work.count, keep_empty=True, known_author=True)[1]
        kept = _firsts(found, wanted, "policy", work.count)
    else:
        require("train", "tutelage evaluate")
        from tutelage.generate.sample import sample

        assert inputs.model is not None
        kept = sample(inputs.model, prompts, config.drawing, 1, work)
    work.write(COMPLETIONS, kept)
    return kept


STAGE = Stage("evaluate", Config, Inputs, body, plan)
run = STAGE.run
