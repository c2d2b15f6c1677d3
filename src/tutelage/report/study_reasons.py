"""Why an arm did what it did, who judged it, and what it cost, as tables."""

from __future__ import annotations

from itertools import groupby

from tutelage.findings import ArmFound, Findings, MatrixCell, Span, Why
from tutelage.report.page import text
from tutelage.report.study_results import arm_name
from tutelage.report.study_words import count, dollars, duration, hours, interval, listed, percent, points
from tutelage.report.tables import Column, Row, small, soft, span, table

# ---- why --------------------------------------------------------------------------------------------


def why(findings: Findings) -> str:
    """Return what happened inside the arms with feedback."""
    columns = (
        Column("Arm"),
        Column("On-policy, %"),
        Column("Label noise, %"),
        *(Column(f"Agrees with {judge}, %") for judge in findings.judges),
        Column("Words"),
        Column("Ended, %"),
    )
    rows = [
        Row(
            text(arm.arm),
            [
                span(arm.on_policy),
                span(arm.label_noise),
                *(_agreement(arm, judge) for judge in findings.judges),
                _change(arm.words_before, arm.words_after),
                _change(arm.ended_before, arm.ended_after),
            ],
        )
        for arm in findings.why
    ]
    caption = (
        "On-policy: preferences of which the student itself drew both completions. Label noise: decided labels that "
        "are wrong, estimated from showings in two orders. Agrees: labelled pairs on which the judge takes the "
        "critic’s side, where both decide. Words and ended: of the completions, before and after the feedback."
    )
    return table("why", caption, columns, [("", rows)])


def _agreement(arm: Why, judge: str) -> str:
    found = arm.agreement.get(judge)
    return _with_count(found, "pairs") if found else soft("–")


def _change(before: Span, after: Span) -> str:
    values = [soft("?") if end.value is None else points(end.value) for end in (before, after)]
    ends = [interval(end) or end.note or "no interval" for end in (before, after)]
    return f"<b>{' → '.join(values)}</b>{small(f'before {ends[0]}')}{small(f'after {ends[1]}')}"


def confidence(findings: Findings) -> str:
    """Return how often the trained policy sides with its critic, by how sure the critic was."""
    columns = (Column("The critic’s confidence"), Column("Pairs"), Column("The policy agrees, %"))
    groups = [
        (
            text(arm.arm),
            [
                Row(f"{percent(b.low)} to {percent(b.high)}", [f"{b.num:,}", points(100 * b.accuracy)])
                for b in arm.by_confidence
            ],
        )
        for arm in findings.why
    ]
    caption = "The critic’s preferences that the trained policy’s implicit reward shares, by the critic’s confidence."
    return table("confidence", caption, columns, groups)


def unsure(findings: Findings) -> str:
    """Return of which arms it is not known how sure their critic was, and why."""
    notes = dict.fromkeys(arm.confidence_note for arm in findings.why if arm.confidence_note)
    said = [(note, listed([arm.arm for arm in findings.why if arm.confidence_note == note])) for note in notes]
    return "".join(f'<p class="soft plain">Accuracy by confidence, {text(a)}: {text(note)}.</p>' for note, a in said)


def training(findings: Findings) -> str:
    """Return where the logged values of every run with feedback began and ended."""
    columns = (
        Column("Value"),
        Column("Seed"),
        Column("Steps"),
        Column("First"),
        Column("Last"),
        Column("Not logged"),
    )
    groups = [(text(arm.arm), _logged(arm)) for arm in findings.why]
    return table(
        "training", "What training on feedback logged, from the first step that is kept to the last.", columns, groups
    )


def _logged(arm: Why) -> list[Row]:
    rows = []
    for curve in arm.curves:
        for name, values in curve.values.items():
            known = [value for value in values if value is not None]
            ends = (
                [f"{end:.4g}".replace("-", "\N{MINUS SIGN}") for end in (known[0], known[-1])] if known else ["–"] * 2
            )
            rows.append(
                Row(text(name), [str(curve.seed), f"{len(values):,}", *ends, f"{len(values) - len(known):,}"])
            )
    return rows


# ---- judges -----------------------------------------------------------------------------------------


def matrix(findings: Findings) -> str:
    """Return what every critic's feedback gains in the eyes of every judge."""
    family = {cell.judge: cell.judge_family for cell in findings.matrix}
    columns = (
        Column("Critic"),
        *(Column(f"Gain, judge {_with_family(judge, family.get(judge))}") for judge in findings.judges),
    )
    rows = []
    for critic, cells in groupby(sorted(findings.matrix, key=lambda c: c.critic), key=lambda c: c.critic):
        of_critic = list(cells)
        by_judge = [[cell for cell in of_critic if cell.judge == judge] for judge in findings.judges]
        shown = ["".join(map(_gain, found)) or soft("–") for found in by_judge]
        rows.append(Row(text(critic) + small(of_critic[0].critic_family or "family unknown"), shown))
    caption = (
        "Points that a critic’s feedback adds over the same arm before it, with 95 % intervals. Own taste: how much "
        "more gain this judge sees than the others; an interval above 0 says that it shares a taste with the critic, "
        "or sees what they do not. Critics and judges of one family, or of the same model, are named as such."
    )
    return table("matrix", caption, columns, [("", rows)])


def _with_family(judge: str, family: str | None) -> str:
    return f"{judge} ({family})" if family else judge


def _gain(cell: MatrixCell) -> str:
    related = f"<small><mark>{text(cell.related)}</mark></small>" if cell.related else ""
    if cell.excess.value is None:
        more = f"own taste: {cell.excess.note or 'unknown'}"
    else:
        more = f"own taste {points(cell.excess.value, signed=True)} ({interval(cell.excess)})"
    return f"{span(cell.gain, is_difference=True)}{small(more)}{related}"


def judges(findings: Findings) -> str:
    """Return how the judges behaved on the pairs of this study."""
    columns = (
        Column("Judge"),
        Column("Model", False),
        Column("First shown wins, %"),
        Column("Flips, %"),
        Column("Longer wins, %"),
        Column("Unreadable, %"),
    )
    rows = [
        Row(
            text(judge.judge),
            [
                text(judge.model),
                *(
                    _with_count(each, "prompts")
                    for each in (judge.first_wins, judge.flips, judge.longer_wins, judge.unreadable)
                ),
            ],
        )
        for judge in findings.judged
    ]
    caption = (
        "How the judges behaved on the pairs of this study; they were asked nothing more for it. Every prompt counts "
        "once, as the mean of its pairs. Without a position bias the completion shown first wins 50 %. Flips: pairs "
        "whose verdict changes with the order. Longer wins: the longer one may be the better one, too."
    )
    return table("judges", caption, columns, [("", rows)])


def _with_count(value: Span, what: str) -> str:
    return span(value) + (small(f"of {value.num:,} {what}") if value.num else "")


# ---- cost -------------------------------------------------------------------------------------------


def costs(findings: Findings) -> str:
    """Return what one run of every arm took, and what all of it took."""
    columns = (
        Column("Arm"),
        Column("Prompts taught"),
        Column("Prompts labelled"),
        Column("Teacher"),
        Column("Critic"),
        Column("Judge"),
        Column("Training tokens"),
        Column("Wall time"),
        Column("Device-hours"),
    )
    caption = (
        "What one training run of an arm takes if it stands alone, mean over its seeds: shared stages count for "
        "every arm. Dollars are what its rows cost at the recipe’s prices, whether or not this study paid for them: "
        "replies that were there already, and models in this process, cost it nothing."
    )
    rows = [Row(arm_name(findings, arm), _cost(arm)) for arm in findings.arms]
    paid = "unknown (so is a price)" if findings.total_dollars is None else dollars(findings.total_dollars)
    total = (
        f"<p>Paid for the whole study, shared stages once: <b class=nw>{paid}</b>. "
        f"Time of its stages together: <b class=nw>{duration(findings.total_seconds)}</b>.</p>"
    )
    return total + table("costs", caption, columns, [("", rows)])


def _cost(arm: ArmFound) -> list[str]:
    took = arm.cost
    if took is None:
        return [soft("not finished"), *[soft("–")] * 7]
    return [
        count(took.taught),
        count(took.labelled),
        *(
            soft("unknown price") if paid is None else dollars(paid)
            for paid in (took.teacher_dollars, took.critic_dollars, took.judge_dollars)
        ),
        count(took.tokens),
        duration(took.seconds),
        hours(took.device_hours),
    ]
