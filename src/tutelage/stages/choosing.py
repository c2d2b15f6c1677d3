"""Verdicts -> preferences, pure: which verdicts count, what they say of the texts, and how many are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from tutelage.config import Group
from tutelage.data.formats.item import Count
from tutelage.disk import visible
from tutelage.errors import ConfigError
from tutelage.records import Completion, Preference, Verdict, digest


class Choosing(Group):
    """Which verdicts count, and what is made of them. The steps are taken in this order."""

    consistent_only: bool = Field(
        False,
        description="keep only verdicts that do not depend on the order: both orders were asked and agreed, or each "
        "completion was shown alone",
    )
    min_probability: float | None = Field(
        None,
        ge=0.5,
        le=1,
        description="keep only verdicts that give the chosen completion at least this probability; null: all",
    )
    strategy: Literal["all", "best_vs_worst"] = Field(
        "all",
        description="all: each decided pair; best_vs_worst: of each prompt, the completion with the most wins "
        "(less its losses) against the one with the fewest; then the mean probability decides, then `seed`",
    )
    max_per_prompt: int | None = Field(
        None, ge=1, description="keep this many of a prompt, drawn by `seed`; null: all"
    )
    balance: Literal["none", "length", "side", "author"] = Field(
        "none",
        description="drop as many, drawn by `seed`, that the chosen completion is as often the longer as the shorter "
        "one (length, in characters), as often the left as the right one of its pair (side), or that of every two "
        "authors each is chosen over the other as often (author)",
    )
    max_pairs: int | None = Field(
        None, ge=1, description="in the end keep exactly this many, drawn by `seed`; null: all"
    )
    weights: Literal["none", "probability"] = Field(
        "none",
        description="probability: a preference weighs 2p - 1 in training, where p is how probable the critic finds "
        "it (the mean over verdicts on the same texts)",
    )
    shuffled: bool = Field(
        False,
        description="control: which of the two completions is called chosen is drawn by `seed`, whatever the critic "
        "said. The pairs are the same, so training on them is just more steps; the best of each prompt, for sft, "
        "follows the drawn labels",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the draws")

    @field_validator("weights")
    @classmethod
    def _come_from_verdicts_on_the_very_pair(cls, weights: str, others: ValidationInfo) -> str:
        if weights == "probability" and others.data.get("strategy") == "best_vs_worst":
            raise ValueError("needs strategy=all: best and worst may never have been compared with each other")
        return weights

    @field_validator("shuffled")
    @classmethod
    def _has_no_probability(cls, shuffled: bool, others: ValidationInfo) -> bool:
        if shuffled and others.data.get("weights") == "probability":
            raise ValueError(
                "needs weights=none: how probable the critic finds its label says nothing of a drawn one"
            )
        return shuffled


# ---- verdicts that count ----------------------------------------------------------------------------


def is_consistent(verdict: Verdict) -> bool:
    """True if every critic behind a decided verdict was asked in both orders, or shown each completion alone.

    A critic whose two orders disagree decides nothing (`critic.parse.combine`), so the decision does not depend on
    the order. The orders of several critics follow each other, two for each.
    """
    orders = verdict.orders
    shown = (frozenset(orders[at : at + 2]) for at in range(0, len(orders), 2))
    return all(two in ({"left_first", "right_first"}, {"left_alone", "right_alone"}) for two in shown)


def probability_of_chosen(verdict: Verdict) -> float | None:
    """Return how probable a decided verdict finds its own decision."""
    p = verdict.probability
    return p if p is None or verdict.outcome == "LEFT" else 1 - p


def _decided(verdicts: Sequence[Verdict], settings: Choosing, count: Count) -> list[Verdict]:
    for outcome, what in (("TIE", "dropped: ties"), ("INVALID", "dropped: unreadable verdicts")):
        count(what, sum(v.outcome == outcome for v in verdicts))
    kept = [v for v in verdicts if v.outcome in ("LEFT", "RIGHT")]
    if settings.consistent_only:
        if kept and not any(map(is_consistent, kept)):
            raise ConfigError(
                f"consistent_only: no verdict of {_critics(kept)} comes from both orders; label with order=both, or "
                "leave consistent_only out"
            )
        count("dropped: not asked in both orders", sum(not is_consistent(v) for v in kept))
        kept = [v for v in kept if is_consistent(v)]
    if settings.min_probability is not None:
        kept = _with_probability(kept, "min_probability", count)
        sure = [v for v in kept if (probability_of_chosen(v) or 0.0) >= settings.min_probability]
        count("dropped: below min_probability", len(kept) - len(sure))
        kept = sure
    if settings.weights == "probability":
        kept = _with_probability(kept, "weights", count)
    return kept


def _with_probability(verdicts: Sequence[Verdict], setting: str, count: Count) -> list[Verdict]:
    kept = [v for v in verdicts if v.probability is not None]
    if verdicts and not kept:
        raise ConfigError(
            f"{setting}: no verdict of {_critics(verdicts)} has a probability; label with log-probabilities "
            "(template=letter) or a reward model, or leave it out"
        )
    count("dropped: no probability", len(verdicts) - len(kept))
    return kept


def _critics(verdicts: Sequence[Verdict]) -> str:
    return visible(", ".join(sorted({v.critic for v in verdicts})))


# ---- decided pairs of texts -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Win:
    """One text over another, and the verdicts that say so."""

    chosen: Completion
    rejected: Completion
    verdicts: tuple[Verdict, ...]
    side: str | None
    """Where the chosen one stood in its pair, LEFT or RIGHT; None if no verdict is for it against the other, or
    nobody knows how the pair was shown: in many files the better one always comes first."""

    @property
    def odds(self) -> list[float]:
        """Of each verdict, the probability that the chosen one is better; 1 if it gives none."""
        return [1.0 if (p := probability_of_chosen(v)) is None else p for v in self.verdicts]

    @property
    def margin(self) -> float:
        """How much likelier the verdicts find it that the chosen one is better than that it is not; -1 to 1."""
        return 2 * fsum(self.odds) / len(self.odds) - 1

    def preference(self, weight: float = 1.0) -> Preference:
        return Preference(
            prompt_id=self.chosen.prompt_id,
            chosen=self.chosen,
            rejected=self.rejected,
            verdict_ids=tuple(v.id for v in self.verdicts),
            weight=weight,
        )


def _wins(verdicts: Iterable[Verdict], count: Count) -> list[_Win]:
    """Put verdicts on the same two texts together; those that contradict each other are dropped."""
    groups: defaultdict[tuple[str, str, str], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        chosen, rejected = _sides(verdict)
        groups[verdict.pair.prompt_id, chosen.text, rejected.text].append(verdict)
    wins = []
    for (prompt_id, winner, loser), group in groups.items():
        if winner == loser:
            count("dropped: both completions are the same text", len(group))
            continue
        if (prompt_id, loser, winner) in groups:
            count("dropped: contradicted by another verdict on the same texts", len(group))
            continue
        count("joined: the same texts again", len(group) - 1)
        group.sort(key=lambda v: v.id)
        side = None if "unknown" in group[0].orders else group[0].outcome
        wins.append(_Win(*_sides(group[0]), tuple(group), side))
    return wins


def _sides(verdict: Verdict) -> tuple[Completion, Completion]:
    """Return the chosen and the rejected completion of a decided verdict."""
    left, right = verdict.pair.left, verdict.pair.right
    return (left, right) if verdict.outcome == "LEFT" else (right, left)


@dataclass
class _Standing:
    """Where a text stands among those of its prompt."""

    completion: Completion
    score: int = 0
    """Copeland's: pairs won minus pairs lost."""
    probability: float = 0.0
    """The sum over `num` verdicts of the probability that it is the better one."""
    num: int = 0

    @property
    def merit(self) -> tuple[int, float]:
        """What the verdicts say: the score, then the mean probability."""
        return self.score, self.probability / self.num


def _ranked(edges: Iterable[tuple[Completion, Completion, Sequence[float]]], seed: int) -> list[_Standing]:
    """Return the texts of one prompt, the worst first; equals are in a drawn order.

    Args:
        edges: chosen, rejected, and of each verdict behind it the probability that the chosen one is better.
    """
    texts: dict[str, _Standing] = {}
    for chosen, rejected, odds in edges:
        for completion, point, better in ((chosen, 1, sum(odds)), (rejected, -1, len(odds) - sum(odds))):
            standing = texts.setdefault(completion.text, _Standing(completion))
            standing.score += point
            standing.probability += better
            standing.num += len(odds)
    return sorted(texts.values(), key=lambda s: (*s.merit, digest([seed, s.completion.prompt_id, s.completion.text])))


def _by_prompt(wins: Iterable[_Win]) -> dict[str, list[_Win]]:
    groups: defaultdict[str, list[_Win]] = defaultdict(list)
    for win in wins:
        groups[win.chosen.prompt_id].append(win)
    return groups


def _best_vs_worst(wins: Sequence[_Win], seed: int, count: Count) -> Iterator[_Win]:
    for group in _by_prompt(wins).values():
        group = sorted(group, key=lambda w: w.verdicts[0].id)
        ranked = _ranked(((w.chosen, w.rejected, w.odds) for w in group), seed)
        worst, best = ranked[0], ranked[-1]
        if best.merit == worst.merit:
            count("dropped: prompts without a best completion", 1)
            continue
        count("left out: completions between best and worst", len(ranked) - 2)
        two = (best.completion.text, worst.completion.text)
        about = [w for w in group if w.chosen.text in two or w.rejected.text in two]
        side = next((w.side for w in about if (w.chosen.text, w.rejected.text) == two), None)
        yield _Win(best.completion, worst.completion, tuple(v for w in about for v in w.verdicts), side)


# ---- draws ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """A preference, and where its chosen completion stood."""

    preference: Preference
    side: str | None

    def place(self, *salt: object) -> str:
        """Return where the preference stands in a seeded order, which that of the rows does not change."""
        return digest([*salt, self.preference.id])


def _at_most_per_prompt(found: Sequence[_Found], settings: Choosing, count: Count) -> list[_Found]:
    by_prompt: defaultdict[str, list[_Found]] = defaultdict(list)
    for each in found:
        by_prompt[each.preference.prompt_id].append(each)
    # salted: the draws that follow must not favour prompts of which the lowest hashes were kept here
    order = lambda f: f.place(settings.seed, "max_per_prompt")  # noqa: E731
    groups = [sorted(group, key=order)[: settings.max_per_prompt] for group in by_prompt.values()]
    kept = {f.preference.id for group in groups for f in group}
    count("dropped: more than max_per_prompt", len(found) - len(kept))
    return [f for f in found if f.preference.id in kept]


def _balanced(found: Sequence[_Found], settings: Choosing, count: Count) -> list[_Found]:
    heaps: defaultdict[object, tuple[list[_Found], list[_Found]]] = defaultdict(lambda: ([], []))
    for each in found:
        among, is_first = _leaning(each, settings.balance)
        if is_first is not None:
            heaps[among][is_first].append(each)
    dropped: set[str] = set()
    for heap in heaps.values():
        less, more = sorted(heap, key=len)
        order = sorted(more, key=lambda f: f.place(settings.seed, "balance"))
        dropped |= {f.preference.id for f in order[len(less) :]}
    count(f"dropped: to balance {settings.balance}", len(dropped))
    return [f for f in found if f.preference.id not in dropped]


def _leaning(found: _Found, balance: str) -> tuple[object, bool | None]:
    """Return among which preferences one is counted, and to which of the two ways it leans; None: to neither."""
    chosen, rejected = found.preference.chosen, found.preference.rejected
    if balance == "side":
        return None, None if found.side is None else found.side == "LEFT"
    if balance == "author":
        one, other = chosen.author, rejected.author
        return frozenset((one, other)), None if one == other else one > other
    gap = len(chosen.text) - len(rejected.text)
    return None, None if gap == 0 else gap > 0


def _shuffled(preferences: Sequence[Preference], seed: int, count: Count) -> list[Preference]:
    """Return the same pairs with labels that depend on `seed` and the texts alone."""
    drawn = [p.model_copy(update=_drawn_label(p, seed)) for p in preferences]
    count("labels drawn against the verdict", sum(d.id != p.id for d, p in zip(drawn, preferences, strict=True)))
    return drawn


def _drawn_label(preference: Preference, seed: int) -> dict[str, Completion]:
    # in the order of their texts, so that the draw cannot know which of the two the critic chose
    one, other = sorted((preference.chosen, preference.rejected), key=lambda c: c.text)
    heads = int(digest([seed, "shuffled", preference.prompt_id, one.text, other.text]), 16) % 2
    return {"chosen": one, "rejected": other} if heads else {"chosen": other, "rejected": one}


# ---- all of it --------------------------------------------------------------------------------------


def preferences_of(verdicts: Sequence[Verdict], settings: Choosing, count: Count) -> list[Preference]:
    """Return the preferences that `settings` make of `verdicts`. Pure; everything dropped is counted.

    The order of the verdicts decides nothing but the order of the preferences.

    Raises:
        ConfigError: a setting needs what no verdict has: probabilities, both orders, or a side.
    """
    if settings.balance == "side" and verdicts and all("unknown" in v.orders for v in verdicts):
        raise ConfigError(
            f"balance=side: nothing says on which side {_critics(verdicts)} saw the completions, as the verdicts "
            "come from a file; balance by length or author, or leave it out"
        )
    wins = _wins(_decided(verdicts, settings, count), count)
    if settings.strategy == "best_vs_worst":
        wins = list(_best_vs_worst(wins, settings.seed, count))
    if settings.weights == "probability":
        count("dropped: not probable", sum(win.margin <= 0 for win in wins))
        found = [_Found(win.preference(win.margin), win.side) for win in wins if win.margin > 0]
    else:
        found = [_Found(win.preference(), win.side) for win in wins]
    if settings.max_per_prompt is not None:
        found = _at_most_per_prompt(found, settings, count)
    if settings.balance != "none":
        found = _balanced(found, settings, count)
    if settings.max_pairs is not None and len(found) > settings.max_pairs:
        count("dropped: more than max_pairs", len(found) - settings.max_pairs)
        drawn = sorted(found, key=lambda f: f.place(settings.seed))[: settings.max_pairs]
        kept = {f.preference.id for f in drawn}
        found = [f for f in found if f.preference.id in kept]
    preferences = [f.preference for f in found]
    return _shuffled(preferences, settings.seed, count) if settings.shuffled else preferences


def winners_of(preferences: Sequence[Preference], seed: int) -> list[Completion]:
    """Return the best completion of each prompt, by the preferences: the most wins less losses, then a draw."""
    groups: defaultdict[str, list[Preference]] = defaultdict(list)
    for preference in preferences:
        groups[preference.prompt_id].append(preference)
    return [_ranked(((p.chosen, p.rejected, (1.0,)) for p in g), seed)[-1].completion for g in groups.values()]
