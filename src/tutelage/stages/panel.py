"""verdicts of several critics -> one verdict a pair, and how far the critics agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import fsum
from typing import Any, Literal

from pydantic import Field

from tutelage.config import Group, StageConfig
from tutelage.data.formats.item import Count
from tutelage.data.rows import PROMPTS
from tutelage.disk import visible
from tutelage.errors import ConfigError
from tutelage.inputs import Several
from tutelage.measure.agreement import alpha_interval, kappa_interval, krippendorff_alpha, two_critics
from tutelage.progress import say
from tutelage.records import Order, Outcome, Pair, Prompt, Usage, Verdict
from tutelage.stages.base import Stage
from tutelage.stages.choosing import is_consistent
from tutelage.stages.label import VERDICTS
from tutelage.store import Artifact, Made, Work

_VOTE = {"LEFT": 1.0, "TIE": 0.5, "RIGHT": 0.0}
_OTHER_SIDE: dict[Outcome, Outcome] = {"LEFT": "RIGHT", "RIGHT": "LEFT", "TIE": "TIE", "INVALID": "INVALID"}
_OTHER_ORDER: dict[Order, Order] = {
    "left_first": "right_first",
    "right_first": "left_first",
    "left_alone": "right_alone",
    "right_alone": "left_alone",
    "unknown": "unknown",
}


class Config(StageConfig):
    """How one verdict is made of several."""

    rule: Literal["majority", "mean_probability"] = Field(
        "majority",
        description="majority: what more than half of the readable verdicts say, else a tie; the probability is "
        "their share, ties half. mean_probability: the mean of the probabilities; a verdict without one counts as "
        "sure, a tie as 0.5",
    )
    min_votes: int = Field(2, ge=1, description="a pair with fewer readable verdicts is INVALID")


class Inputs(Group):
    """Artifacts of label (or panel, or import), one for each critic."""

    verdicts: Several


@dataclass(frozen=True)
class Ballot:
    """A pair, and what each critic that judged it said, by the critic's place; all of this very pair."""

    pair: Pair
    verdicts: Mapping[int, Verdict]

    @property
    def votes(self) -> dict[int, Verdict]:
        """The readable ones."""
        return {place: v for place, v in self.verdicts.items() if v.outcome != "INVALID"}


def turned(verdict: Verdict) -> Verdict:
    """Return the same verdict on the pair given the other way round; left is right, and nothing else changes."""
    pair, p = verdict.pair, verdict.probability
    return Verdict(
        pair=Pair(left=pair.right, right=pair.left),
        orders=tuple(_OTHER_ORDER[order] for order in verdict.orders),
        outcome=_OTHER_SIDE[verdict.outcome],
        critic=verdict.critic,
        replies=verdict.replies,
        probability=None if p is None else 1 - p,
        usage=verdict.usage,
    )


def ballots_of(critics: Sequence[Sequence[Verdict]], count: Count) -> list[Ballot]:
    """Bring together what the critics said of each pair, in the order in which pairs are first met.

    Pairs are the same if their two completions are; where one critic was given them the other way round, its
    verdict is turned.
    """
    pairs: dict[frozenset[str], Pair] = {}
    found: dict[frozenset[str], dict[int, Verdict]] = {}
    for place, verdicts in enumerate(critics):
        for verdict in verdicts:
            key = frozenset((verdict.pair.left.id, verdict.pair.right.id))
            pair = pairs.setdefault(key, verdict.pair)
            if pair.id != verdict.pair.id:
                count("verdicts turned: the pair was given the other way round", 1)
                verdict = turned(verdict)
            said = found.setdefault(key, {})
            count("verdicts left out: another of the same artifact on the same pair", int(place in said))
            said.setdefault(place, verdict)
    count("pairs that not every critic judged", sum(len(each) < len(critics) for each in found.values()))
    return [Ballot(pair, found[key]) for key, pair in pairs.items()]


def panel_verdict(ballot: Ballot, config: Config, critic: str) -> Verdict:
    """Return the verdict of all critics together, with all their replies."""
    votes = ballot.votes.values()
    outcome: Outcome = "INVALID"
    probability = None
    if len(votes) >= config.min_votes:
        if config.rule == "majority":
            probability = fsum(_VOTE[v.outcome] for v in votes) / len(votes)
            most, num = Counter(v.outcome for v in votes).most_common(1)[0]
            outcome = most if 2 * num > len(votes) else "TIE"
        else:
            said = (_VOTE[v.outcome] if v.probability is None else v.probability for v in votes)
            probability = fsum(said) / len(votes)
            outcome = "TIE" if probability == 0.5 else "LEFT" if probability > 0.5 else "RIGHT"
    return Verdict(
        pair=ballot.pair,
        orders=tuple(order for v in ballot.verdicts.values() for order in v.orders),
        outcome=outcome,
        critic=critic,
        replies=tuple(reply for v in ballot.verdicts.values() for reply in v.replies),
        probability=probability,
        usage=Usage.total(v.usage for v in ballot.verdicts.values()),
    )


def agreement_of(ballots: Sequence[Ballot], names: Sequence[str]) -> dict[str, Any]:
    """Return how far every two critics agree, and all of them: on readable verdicts, ties included."""
    two = []
    for i, j in combinations(range(len(names)), 2):
        both: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for ballot in ballots:
            if i in (votes := ballot.votes) and j in votes:
                both[ballot.pair.prompt_id].append((votes[i].outcome, votes[j].outcome))
        found = asdict(two_critics([labels for group in both.values() for labels in group]))
        two.append({"critics": [names[i], names[j]], **found, "kappa_interval": kappa_interval(both)})
    units: defaultdict[str, list[list[str]]] = defaultdict(list)
    for ballot in ballots:
        units[ballot.pair.prompt_id].append([v.outcome for v in ballot.votes.values()])
    return {
        "agreement": two,
        "krippendorff_alpha": krippendorff_alpha(unit for group in units.values() for unit in group),
        "alpha_interval": alpha_interval(units),
    }


def table(summary: Mapping[str, Any], num_critics: int) -> list[str]:
    """Return what `agreement_of` found as lines for people."""

    def shown(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    def ends(interval: tuple[float, float] | None) -> str:
        return "-" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"

    lines = [f"  {'pairs':>7} {'agree':>7} {'kappa':>6} {'95 % interval':>14}"]
    for row in summary["agreement"]:
        agreed, kappa = shown(row["agreement"], ".1%"), shown(row["kappa"], ".2f")
        one, other = map(visible, row["critics"])
        between = ends(row["kappa_interval"])
        lines.append(f"  {row['num_pairs']:>7,} {agreed:>7} {kappa:>6} {between:>14}  {one} and {other}")
    alpha = shown(summary["krippendorff_alpha"], ".2f")
    return [*lines, f"  Krippendorff's alpha of all {num_critics}: {alpha} ({ends(summary['alpha_interval'])})"]


def _names(artifacts: Sequence[Artifact]) -> list[str]:
    """How the critics sign; those that sign alike are numbered."""
    critics = [str(artifact.record.summary["critic"]) for artifact in artifacts]
    return [
        f"{critic} #{critics[:place].count(critic) + 1}" if critics.count(critic) > 1 else critic
        for place, critic in enumerate(critics)
    ]


def _members(config: Config, inputs: Inputs) -> list[Artifact]:
    members = [each.require("label", "panel", "import") for each in inputs.verdicts.each()]
    if config.min_votes > len(members):
        raise ConfigError(f"min_votes: found {config.min_votes}, but there are only {len(members)} critics")
    known: dict[str, Artifact] = {}
    for member in members:
        same = known.setdefault(member.record.fingerprint, member)
        if same is not member:
            raise ConfigError(
                f"verdicts: {same.path} and {member.path} are the same artifact; each critic votes once"
            )
    return members


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write prompts.jsonl and verdicts.jsonl; say how far the critics agree."""
    members = _members(config, inputs)
    names = _names(members)
    heard = [member.rows(VERDICTS, Verdict) for member in members]
    ballots = ballots_of(heard, work.count)
    critic = f"panel({', '.join(names)})"
    verdicts = [panel_verdict(ballot, config, critic) for ballot in ballots]
    prompts = {prompt.id: prompt for member in members for prompt in member.rows(PROMPTS, Prompt)}
    work.write(PROMPTS, prompts.values())
    work.write(VERDICTS, verdicts)
    work.count("verdicts", len(verdicts))
    work.count("pairs with fewer than min_votes readable verdicts", sum(v.outcome == "INVALID" for v in verdicts))
    for outcome in ("LEFT", "RIGHT", "TIE", "INVALID"):
        work.count(outcome, sum(v.outcome == outcome for v in verdicts))
    each_in_both_orders = all(
        member.record.summary.get("both_orders", True) and is_consistent(verdict)
        for member, said in zip(members, heard, strict=True)
        for verdict in said
    )
    summary = agreement_of(ballots, names)
    say(f"panel: how far {len(names)} critics agree (unreadable verdicts left out)")
    for line in table(summary, len(names)):
        say(line)
    return Made(
        usage=Usage.total(v.usage for v in verdicts),
        summary={"critic": critic, "both_orders": each_in_both_orders, **summary},
    )


STAGE = Stage("panel", Config, Inputs, body)
run = STAGE.run
