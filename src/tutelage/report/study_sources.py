"""What a study rests on: pairs for people to read, and every artifact with what it was made of."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

from tutelage.findings import Findings, Shown, Source
from tutelage.report.page import beginning, block, lines, text
from tutelage.report.study_words import UNKNOWN, dollars, duration, moment
from tutelage.report.tables import Column, Row, small, soft, table

_ORDERS = {"left_first": "the arm’s completion first", "right_first": "the baseline’s first"}


def shown(findings: Findings) -> str:
    """Return the sampled pairs, by arm."""
    by_arm: dict[str, list[Shown]] = {arm.name: [] for arm in findings.arms}
    for pair in findings.shown:
        by_arm.setdefault(pair.arm, []).append(pair)
    return "".join(f"<h3>{text(arm)}</h3>{''.join(map(_pair, pairs))}" for arm, pairs in by_arm.items() if pairs)


def _pair(pair: Shown) -> str:
    replies = "".join(
        f"<h4>{text(pair.judge)}, shown {text(_ORDERS.get(order, order.replace('_', ' ')))}</h4>{block(reply)}"
        for order, reply in pair.replies
    )
    kind = _KINDS.get(pair.outcome, "")
    return (
        f'<details class=pair><summary><span class="badge {kind}">{text(pair.outcome)}</span> '
        f"{text(beginning(pair.prompt))}</summary>"
        f"<p class=soft>Seed {pair.seed} · prompt <code>{text(pair.prompt_id)}</code></p>"
        f"<h4>Prompt</h4>{block(pair.prompt)}"
        f"<div class=pair><div><h4>The arm’s completion</h4>{block(pair.completion)}</div>"
        f"<div><h4>The baseline’s</h4>{block(pair.baseline)}</div></div>{replies}</details>"
    )


_KINDS = {"won": "gain", "lost": "harm", "tied": "no-gain", "unreadable": "cannot-tell"}


# ---- artifacts --------------------------------------------------------------------------------------


def provenance(findings: Findings) -> str:
    """Return the artifacts, the recipe, the versions, and how to come to the same."""
    shared = _shared(findings.sources)
    made_with = ", ".join(f"{name} {version}" for name, version in shared.items())
    return "".join(
        (
            f"<p>Made {text(moment(findings.made_at))} by tutelage {text(findings.tutelage)}."
            f"{f' All artifacts were made with {text(made_with)}.' if made_with else ''}</p>",
            _how(findings),
            f"<details><summary>The recipe, resolved</summary><pre>{lines(_yaml(findings))}</pre></details>",
            _artifacts(findings, shared),
        )
    )


def _how(findings: Findings) -> str:
    example = findings.shown[0].prompt_id if findings.shown else "<id>"
    folder = findings.recipe.get("artifacts", "artifacts")
    place = "" if folder == "artifacts" else f" artifacts={shlex.quote(str(folder))}"
    return (
        "<ul><li>To reproduce it: save the recipe below as <code>recipe.yaml</code> and run "
        "<code>tutelage study recipe.yaml</code> with the versions above. Stages that are finished are found "
        "again by their fingerprint. An API may say something else the next time; training on the same rows gives "
        "the same weights on the same hardware.</li>"
        "<li>To follow one prompt through every artifact: "
        f"<code>tutelage trace {text(example)}{text(place)}</code>.</li>"
        "<li>All numbers of this page, unrounded: <code>study.json</code>, beside it.</li></ul>"
    )


def _yaml(findings: Findings) -> str:
    """The recipe as it is written; yaml escapes by itself what a line cannot hold."""
    import yaml

    recipe = json.loads(json.dumps(findings.recipe, default=str))
    return str(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=100)).rstrip("\n")


def _shared(sources: Sequence[Source]) -> dict[str, str]:
    """Return the versions that all artifacts have in common."""
    first = sources[0].code if sources else {}
    return {name: version for name, version in first.items() if all(s.code.get(name) == version for s in sources)}


def _artifacts(findings: Findings, shared: Mapping[str, str]) -> str:
    if not findings.sources:
        return ""
    places = {source.fingerprint: number for number, source in enumerate(findings.sources)}
    columns = (
        Column("Artifact"),
        Column("Stage", False),
        Column("Fingerprint", False),
        Column("Made of", False),
        Column("Finished", False),
        Column("Took"),
        Column("Paid"),
        Column("Rows", False),
    )
    names = {source.fingerprint: source.label for source in findings.sources}
    rows = [_artifact(source, places, names, shared) for source in findings.sources]
    caption = "In the order of the road. Content: the hash of its files."
    return (
        f"<details><summary>{len(rows):,} artifacts, each with what it was made of</summary>"
        f"{table('artifacts', caption, columns, [('', rows)])}</details>"
    )


def _artifact(source: Source, places: Mapping[str, int], names: Mapping[str, str], shared: Mapping[str, str]) -> Row:
    other = ", ".join(f"{k} {v}" for k, v in source.code.items() if shared.get(k) != v)
    made_of = [
        f"<a href=#artifact-{places[f]}>{text(names[f])}</a>" if f in places else f"<code>{text(f)}</code>"
        for f in source.made_of
    ]
    counted = ", ".join(f"{name} {number:,}" for name, number in source.counts.items())
    return Row(
        f"{text(source.label)}{small(source.path)}{small(other)}",
        [
            text(source.stage),
            f"<code>{text(source.fingerprint)}</code><small>content <code>{text(source.content)}</code></small>",
            ", ".join(made_of) or soft("nothing before it"),
            text(moment(source.finished_at)),
            duration(source.seconds),
            soft(UNKNOWN) if source.dollars is None else dollars(source.dollars),
            text(counted) if counted else soft("–"),
        ],
        id=f"artifact-{places[source.fingerprint]}",
    )
