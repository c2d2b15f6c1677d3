"""What came of the arms, as tables: win rates, comparisons, the same comparisons at equal cost, scaling curves."""

from __future__ import annotations

from tutelage.findings import ArmFound, ComparisonFound, Findings, Matched, Outcome, Rate
from tutelage.report.page import prose, text
from tutelage.report.study_words import (
    FEEDBACK,
    RULES,
    cost,
    count,
    enough,
    p_value,
    percent,
    points,
    typeset,
)
from tutelage.report.tables import Column, Groups, Row, small, soft, span, table

_SIGNS: dict[Outcome, str] = {"gain": "▲", "harm": "▼", "no gain": "=", "cannot tell": "?"}


def heading_of(findings: Findings, judge: str) -> str:
    """Return a heading; with one judge there is nothing to tell apart."""
    if len(findings.judges) < 2:
        return ""
    first = ", whose comparisons are the verdict" if judge == findings.judges[0] else ""
    return f"Judge: {text(judge)}{first}"


def badge(outcome: Outcome) -> str:
    """Return an outcome that is told by its word and its sign, and by its colour last."""
    kind = outcome.replace(" ", "-")
    return f'<span class="badge {kind}"><span aria-hidden=true>{_SIGNS[outcome]}</span> {outcome}</span>'


# ---- win rates --------------------------------------------------------------------------------------


def win_rates(findings: Findings) -> str:
    """Return every arm in the eyes of every judge."""
    seeds = " · ".join(str(seed) for seed in findings.seeds)
    columns = (
        Column("Arm"),
        Column("Teacher", False),
        Column("Part taught"),
        Column("Feedback", False),
        Column("Win rate, %"),
        Column("At equal length, %"),
        Column(f"By seed: {seeds}"),
        Column("Words"),
        Column("Ended, %"),
        Column("Unreadable · missing"),
    )
    groups = [
        (heading_of(findings, judge), [_win_rate(findings, arm, judge) for arm in findings.arms])
        for judge in findings.judges
    ]
    caption = (
        f"Win rate against {text(findings.baseline)}, ties counted half, with 95 % intervals. Part taught: of the "
        "prompts. Words: mean length of a completion. Ended: completions that ended by themselves. Unreadable and "
        "missing: verdicts, of all seeds."
    )
    return table("win-rates", caption, columns, groups)


def _win_rate(findings: Findings, arm: ArmFound, judge: str) -> Row:
    rate = arm.rate_by(judge)
    critic = f"by {arm.critic}" if arm.critic else ""
    model = arm.critic_model if arm.critic_model and arm.critic_model != arm.critic else ""
    teacher = text(arm.teacher) + small(arm.teacher_model if arm.teacher_model != arm.teacher else "")
    feedback = f"{FEEDBACK[arm.feedback]}{small(critic)}{small(model)}"
    if rate is None:
        cells = [soft("not finished"), *[soft("–")] * 5]
    else:
        cells = [
            span(rate.rate),
            span(rate.length_controlled),
            _by_seed(findings, rate),
            span(arm.words),
            span(arm.ended),
            f"{rate.num_invalid:,} · {rate.num_missing:,}",
        ]
    return Row(arm_name(findings, arm), [teacher, percent(arm.fraction), feedback, *cells])


def arm_name(findings: Findings, arm: ArmFound) -> str:
    """Return an arm's name and what only it has: its base where several are compared, changed settings, gaps."""
    model = f"on {arm.model}" if len({other.model for other in findings.arms}) > 1 else ""
    changed = ", ".join(f"{name}={value}" for name, value in arm.changed.items())
    missing = f"{len(arm.missing)} of {len(arm.seeds) + len(arm.missing)} runs missing" if arm.missing else ""
    return f"{text(arm.name)}{small(model)}{small(changed)}{small(missing)}"


def _by_seed(findings: Findings, rate: Rate) -> str:
    known = [points(rate.by_seed[seed]) if seed in rate.by_seed else "–" for seed in findings.seeds]
    return " · ".join(known)


# ---- comparisons ------------------------------------------------------------------------------------


def comparisons(findings: Findings) -> str:
    """Return every question that was asked, and what the data say."""
    columns = (
        Column("Question"),
        Column("Difference, points"),
        Column("At equal length"),
        Column("p-value"),
        Column("Prompts · seeds"),
        Column("Deviation of seeds"),
        Column("Outcome", False),
    )
    groups = [
        (heading_of(findings, judge), [_comparison(c) for c in findings.comparisons if c.judge == judge])
        for judge in findings.judges
    ]
    caption = "Win rate of the first arm minus that of the second, with 95 % intervals. How to read it stands below."
    return table("comparisons", caption, columns, groups)


def reading(findings: Findings) -> str:
    """Return how the numbers of the comparisons are read, and how an outcome comes about."""
    if not findings.comparisons:
        return ""
    margin = f"{findings.margin:g} {'point' if findings.margin == 1 else 'points'}"
    num = max(sum(c.judge == judge for c in findings.comparisons) for judge in findings.judges)
    runs = " and other training runs" if len(findings.seeds) > 1 else "; of other training runs one seed says nothing"
    said = {
        "Difference": "in percentage points, paired: the same prompts and seeds for both arms. A prompt without a "
        "readable verdict in one of the runs is left out.",
        "Interval": f"of studies repeated with other prompts of the same kind{runs}, 95 % would have the true "
        "difference inside theirs. It is that of one comparison, not corrected for there being several.",
        "p-value": "how often so large a difference would come up if there were none; below it after Holm’s "
        f"correction, which keeps the chance of any false gain or harm among a judge’s {num} comparisons under 5 %.",
        "Gain, harm": "the corrected p-value is under 0.05, and the interval leaves out 0.",
        "No gain": f"the whole interval lies below {margin}, the smallest gain of interest (margin in the recipe): "
        "a gain of so much is excluded.",
        "Cannot tell": "neither: the data leave open whether there is a gain. It does not say that there is none.",
        "At equal length": "what is left without the part of the score that goes with length, as fitted to all runs. "
        "Where longer completions say more, that merit is taken away too.",
        "Deviation": "standard deviation of the difference, in points: between training runs, beyond what prompts "
        "alone explain (so that it can be 0.0), and below it between prompts.",
    }
    items = "".join(f"<li><b>{name}</b>: {prose(typeset(what))}</li>" for name, what in said.items())
    return f"<h3>How to read it</h3><ul class=plain>{items}</ul>"


def _comparison(found: ComparisonFound) -> Row:
    seeds = "one seed" if found.seed_deviation is None else points(found.seed_deviation)
    return Row(
        f"{prose(text(typeset(found.question)))}{small(f'{found.first} against {found.second}')}",
        [
            span(found.difference, is_difference=True),
            span(found.length_controlled, is_difference=True),
            f"{p_value(found.p_value)}{small(f'Holm {p_value(found.adjusted_p_value)}')}",
            f"{found.num_prompts:,} · {found.num_seeds}",
            f"{seeds}{small(f'prompts {points(found.prompt_deviation)}')}",
            badge(found.outcome) + small(_beside(found)),
        ],
    )


def _beside(found: ComparisonFound) -> str:
    """Return what must be said beside an outcome: why it is not another one, and what would tell."""
    span = found.difference
    leaves_out_0 = (span.low is not None and span.low > 0) or (span.high is not None and span.high < 0)
    only_holm = leaves_out_0 and found.outcome in ("cannot tell", "no gain")
    return "; ".join(filter(None, ("told alone, not after Holm" if only_holm else "", enough(found))))


def matched(findings: Findings) -> str:
    """Return the comparisons at equal cost, by all rules: of the first judge at once, of the others folded."""
    parts = []
    for i, judge in enumerate(findings.judges):
        groups: Groups = [
            (
                f"{prose(text(typeset(c.question)))}{small(f'{c.first} against {c.second}')}",
                [_matched(findings, m) for m in c.matched],
            )
            for c in findings.comparisons
            if c.judge == judge
        ]
        shown = _matched_table(findings, i, groups)
        if shown and i:
            shown = f"<details><summary>The same, judge: {text(judge)}</summary>{shown}</details>"
        parts.append(shown)
    return "".join(parts)


def _matched_table(findings: Findings, number: int, groups: Groups) -> str:
    columns = (
        Column("Made equal in"),
        Column("The first took"),
        Column("The second took"),
        Column("SFT alone at"),
        Column("Difference, points"),
        Column("How it is known", False),
    )
    judge = f" Judge: {text(findings.judges[number])}." if len(findings.judges) > 1 else ""
    caption = (
        "The arm that is SFT alone is moved along the scaling curve of its teacher to where it costs as much as the "
        "arm with feedback: “at” is the part of the prompts that it would then be taught. Beyond the curve nothing "
        f"is said.{judge}"
    )
    return table(f"matched-{number}", caption, columns, groups)


def _matched(findings: Findings, found: Matched) -> Row:
    name, difference = RULES[found.rule], found.difference
    unknown, part = difference.value is None, found.fraction
    if found.rule == findings.match:
        name = f"<mark>{name}</mark><small>the recipe’s rule</small>"
    return Row(
        name,
        [
            cost(found.first_at, found.rule),
            cost(found.second_at, found.rule),
            soft("–") if part is None else soft("beyond") if part > 1 else percent(part),
            soft("–") if unknown else span(difference.model_copy(update={"note": ""}), is_difference=True),
            text(difference.note) or soft("–"),
        ],
    )


# ---- scaling ----------------------------------------------------------------------------------------


def curves(findings: Findings) -> str:
    """Return SFT alone on more and more of a teacher's completions."""
    columns = (
        Column("Part of the prompts"),
        Column("Arm", False),
        Column("Prompts"),
        Column("API dollars"),
        Column("Training tokens"),
        *(Column(f"Win rate, %: {judge}") for judge in findings.judges),
    )
    groups = [
        (
            f"SFT of {text(curve.model)} on {text(curve.teacher)}",
            [
                Row(
                    percent(point.fraction),
                    [
                        text(point.arm),
                        count(point.at.get("prompts")),
                        cost(point.at.get("dollars"), "dollars"),
                        count(point.at.get("tokens")),
                        *(span(point.rates[j]) if j in point.rates else soft("–") for j in findings.judges),
                    ],
                )
                for point in curve.points
            ],
        )
        for curve in findings.curves
    ]
    return table("curves", "SFT alone on a part of a teacher’s completions, and what that took.", columns, groups)
