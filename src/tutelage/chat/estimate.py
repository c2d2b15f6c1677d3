"""What asking will take, before a cent is spent: requests, tokens and dollars, live and in batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from tutelage.chat.endpoint import Endpoint
from tutelage.chat.journal import Journal
from tutelage.chat.prices import cost, how_to_know
from tutelage.chat.protocol import ChatRequest
from tutelage.chat.providers import BYTES_PER_TOKEN, Wire, wire
from tutelage.records import Price, Record


class Estimate(Record):
    """What one stage will ask. Dollars are None if the price is unknown, or nothing bounds a reply."""

    stage: str
    model: str
    requests: int = 0
    kept: int = 0
    """Requests whose reply is in the journal: they cost nothing again."""
    input_tokens: int = 0
    """About; of those that are yet to be asked, as is all that follows."""
    output_tokens: int | None = 0
    """At most: every reply as long as `max_tokens` lets it be. None: nothing bounds it."""
    live: float | None = 0.0
    batch: float | None = 0.0
    price: Price | None = None
    note: str = ""


def estimate(stage: str, endpoint: Endpoint, requests: Sequence[ChatRequest], journal_path: Path) -> Estimate:
    """Return what asking `requests` will take, given the replies that are kept already."""
    if endpoint.provider == "miniature":
        return _in_this_process(stage, endpoint, requests)
    journal = Journal(journal_path) if journal_path.exists() else None
    wires = {asked.key: asked for asked in (wire(endpoint, request) for request in requests)}
    kept = {key for key in wires if journal is not None and journal.replies(key)}
    if journal is not None:
        journal.close()
    new = [asked for key, asked in wires.items() if key not in kept]
    input_tokens = sum(len(asked.data) // BYTES_PER_TOKEN for asked in new)
    output_tokens = _most(new)
    price = endpoint.known_price()

    def dollars(is_batch: bool) -> float | None:
        if price is None or output_tokens is None:
            return None
        sizes = ((len(asked.data) // BYTES_PER_TOKEN, asked.sampling.max_tokens or 0) for asked in new)
        # one by one: a long prompt may have a price of its own
        return math.fsum(cost(price, *size, batch=is_batch) or 0.0 for size in sizes)

    return Estimate(
        stage=stage,
        model=endpoint.model,
        requests=len(wires),
        kept=len(kept),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        live=dollars(False),
        batch=dollars(True),
        price=price,
        note="" if price else how_to_know(endpoint.model),
    )


def _in_this_process(stage: str, endpoint: Endpoint, requests: Sequence[ChatRequest]) -> Estimate:
    """Return what the miniature will be asked, words for tokens, and what it would cost at a price that was given."""
    price = endpoint.known_price()
    if price is None:
        return Estimate(stage=stage, model=endpoint.model, requests=len(requests), note="in this process: free")
    input_tokens = sum(len(m.content.split()) for request in requests for m in request.messages)
    output_tokens = _most(requests)
    dollars = None if output_tokens is None else cost(price, input_tokens, output_tokens)
    return Estimate(
        stage=stage,
        model=endpoint.model,
        requests=len(requests),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        live=dollars,
        batch=dollars,
        price=price,
        note="in this process: free; the dollars are what it would cost at the price given, a word for a token",
    )


def _most(requests: Sequence[ChatRequest | Wire]) -> int | None:
    """Return the tokens of all replies together if each is as long as it may be; None: nothing bounds one."""
    limits = [request.sampling.max_tokens for request in requests]
    return None if None in limits else sum(limit or 0 for limit in limits)


_HEAD = ("stage", "model", "requests", "kept", "input tokens", "output tokens", "live", "batch")


def table(estimates: Sequence[Estimate]) -> list[str]:
    """Return the estimates as lines for people, with a total and where the prices are from."""
    rows = [_HEAD, *(_row(e) for e in estimates)]
    if len(estimates) > 1:
        rows.append(_row(_total(estimates)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    lines = [
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    notes = {f"{e.stage}: {e.note}" for e in estimates if e.note}
    notes |= {
        f"{e.model}: ${e.price.input:g} for a million input tokens, ${e.price.output:g} for output ({e.price.source})"
        for e in estimates
        if e.price
    }
    return [line.rstrip() for line in lines] + [
        "",
        "Input tokens are a guess (four bytes a token); output tokens and dollars are the most that max_tokens",
        "allows, if nothing has to be asked twice. Replies that are `kept` cost nothing again.",
        *sorted(notes),
    ]


def _row(e: Estimate) -> tuple[str, ...]:
    out = "no limit" if e.output_tokens is None else f"<= {e.output_tokens:,}"
    return (
        e.stage,
        e.model,
        f"{e.requests:,}",
        f"{e.kept:,}",
        f"~{e.input_tokens:,}",
        out,
        _usd(e.live),
        _usd(e.batch),
    )


def _usd(dollars: float | None) -> str:
    if not dollars:
        return "unknown" if dollars is None else "$0"
    return f"<= ${dollars:,.2f}" if dollars >= 1 else f"<= ${dollars:.4f}"


def _total(estimates: Sequence[Estimate]) -> Estimate:
    outputs = [e.output_tokens for e in estimates]
    return Estimate(
        stage="total",
        model="",
        requests=sum(e.requests for e in estimates),
        kept=sum(e.kept for e in estimates),
        input_tokens=sum(e.input_tokens for e in estimates),
        output_tokens=None if None in outputs else sum(o or 0 for o in outputs),
        live=_sum([e.live for e in estimates]),
        batch=_sum([e.batch for e in estimates]),
    )


def _sum(dollars: Sequence[float | None]) -> float | None:
    return None if None in dollars else sum(d or 0.0 for d in dollars)
