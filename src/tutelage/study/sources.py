"""What a study rests on: its artifacts, each once, and what they took together."""

from __future__ import annotations

from collections.abc import Iterable

from tutelage.findings import Source
from tutelage.store import BEFORE_THE_ROAD, STAGES, Artifact
from tutelage.study.costs import known_sum

_ROAD = (*BEFORE_THE_ROAD, *STAGES)


def sources(artifacts: Iterable[Artifact]) -> list[Source]:
    """Return every artifact once, in the order of the road, older first.

    `made_of` names the artifacts among the inputs; files from elsewhere have no fingerprint of an artifact.
    """
    ordered = sorted(_once(artifacts), key=lambda a: (_ROAD.index(a.record.stage), a.record.finished_at))
    return [_source(artifact) for artifact in ordered]


def total(artifacts: Iterable[Artifact]) -> tuple[float | None, float]:
    """Return the dollars that were really paid for `artifacts`, and their wall time in seconds; each counts once.

    Dollars are what the replies cost that were paid for on their account, and the most that replies cost which never
    arrived; replies that earlier work had paid for cost nothing again. None: the price of one was unknown.
    """
    each = _once(artifacts)
    return known_sum(map(paid, each)), sum(a.record.seconds for a in each)


def paid(artifact: Artifact) -> float | None:
    """Return the dollars that were really paid for one artifact; None: the price was unknown."""
    bill = artifact.record.bill
    return 0.0 if bill is None else (bill.paid + bill.lost).dollars


def _once(artifacts: Iterable[Artifact]) -> list[Artifact]:
    return list({artifact.record.fingerprint: artifact for artifact in artifacts}.values())


def _source(artifact: Artifact) -> Source:
    record = artifact.record
    made_of = dict.fromkeys(given.artifact for given in record.inputs.values() if given.artifact is not None)
    return Source(
        stage=record.stage,
        path=str(artifact.path),
        label=record.label,
        fingerprint=record.fingerprint,
        content=record.content,
        made_of=tuple(made_of),
        finished_at=record.finished_at,
        seconds=record.seconds,
        dollars=paid(artifact),
        counts=record.counts,
        code=record.code,
    )
