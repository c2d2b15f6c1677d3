"""The model behind the stub server: answers, counts and bills, for single requests and lines of batches alike."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stub_faults import BATCH_FAULTS, ERRORS, ApiError, Fault, invalid, known, never, not_found
from stub_ledger import Billed, Entry, Log, total
from stub_wire import Completion, Json, Wire, complete, new_id

Reply = Callable[[list[dict[str, str]]], str]
"""messages (system first, as {"role", "content"}) -> the completion."""

Latency = float | tuple[float, float]
"""Seconds, or the least and the most of them."""


def echo(messages: list[dict[str, str]]) -> str:
    """Reply with the last message."""
    return f"you said: {messages[-1]['content']}"


@dataclass
class Line:
    """One request of a batch and what became of it."""

    custom_id: str
    body: Any
    state: str = "processing"
    """processing | succeeded | errored | expired | canceled"""
    status: int = 0
    answer: Json | None = None
    """The reply, or the body of the error."""
    request_id: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


class Model:
    """Makes completions and keeps the books."""

    def __init__(
        self,
        reply: Reply,
        *,
        fault: Fault = never,
        batch_fault: Fault = never,
        models: tuple[str, ...] = ("stub",),
        seed: int = 0,
        latency: Latency = 0.0,
        cached_tokens: int = 0,
    ) -> None:
        self.reply, self.fault, self.batch_fault = reply, fault, batch_fault
        self.models, self.seed, self.latency, self.cached_tokens = models, seed, latency, cached_tokens
        self.asked: Counter[str] = Counter()
        """How often each question arrived, whatever came of it."""
        self.replied: Counter[str] = Counter()
        """How often a whole, well-formed reply was sent."""
        self.billed: list[Billed] = []
        """Every completion that was made, whether it arrived or not; see `Billed`."""
        self.log = Log(None)
        self._num_entries = 0

    def billed_tokens(self, delivered: bool | None = None) -> tuple[int, int]:
        """Return the input and output tokens billed: all, or only those of replies that were (not) delivered."""
        return total(self.billed, delivered)

    def new_entry(self, method: str, path: str, body: Any = None, batch: str | None = None) -> Entry:
        """Return the beginning of the next line of the log."""
        self._num_entries += 1
        return Entry(self._num_entries, method, path, body, batch=batch)

    def meet(self, wire: Wire, body: Any, version: str, entry: Entry) -> int | ApiError:
        """Count the question and return how often it was asked before, or what is wrong with it."""
        if problem := wire.problem(body, version):
            return invalid(problem)
        entry.text = text = wire.messages(body)[-1]["content"]
        nth = self.asked[text]
        self.asked[text] += 1
        if body["model"] not in self.models:
            return not_found(f"The model `{body['model']}` does not exist", "model_not_found")
        return nth

    def seconds(self, text: str, nth: int) -> float:
        """Return how long the reply takes: the same for the same seed, question and attempt."""
        if isinstance(self.latency, tuple):
            return random.Random(f"latency|{self.seed}|{text}|{nth}").uniform(*self.latency)
        return self.latency

    def make(self, wire: Wire, body: Json, fault: str | None) -> tuple[Completion, Json]:
        """Return the completion, and it in the shape of a reply."""
        messages = wire.messages(body)
        done = complete(self.reply(messages), messages, wire.limits(body), self.cached_tokens, fault)
        return done, wire.reply(body, done, fault, self.seed)

    def bill(self, entry: Entry, done: Completion, delivered: bool) -> None:
        """Write `done` into the books, and into `entry`."""
        text = entry.text or ""
        tokens = (done.input_tokens, done.output_tokens, done.cached_tokens)
        self.billed.append(Billed(text, *tokens, delivered, entry.batch is not None))
        entry.input_tokens, entry.output_tokens = tokens[:2]
        entry.billed, entry.delivered = True, delivered
        if delivered:
            self.replied[text] += 1

    def run_line(self, wire: Wire, line: Line, version: str, batch: str) -> None:
        """Answer one line of a batch."""
        line.request_id = new_id("req_")
        entry = self.new_entry("POST", wire.chat_path, line.body, batch)
        nth = self.meet(wire, line.body, version, entry)
        if isinstance(nth, ApiError):
            self._refuse(wire, line, nth)
        else:
            entry.fault = fault = known(self.batch_fault(entry.text or "", nth), BATCH_FAULTS)
            if fault == "expired":
                line.state = "expired"
            elif fault in ("errored", "invalid"):
                self._refuse(wire, line, ERRORS["server_error" if fault == "errored" else "bad_request"])
            else:
                done, line.answer = self.make(wire, line.body, fault)
                line.state, line.status = "succeeded", 200
                line.input_tokens, line.output_tokens = done.input_tokens, done.output_tokens
                line.cached_tokens = done.cached_tokens
                self.bill(entry, done, delivered=fault != "empty_choices")
        entry.status = line.status or None
        self.log.write(entry)

    def _refuse(self, wire: Wire, line: Line, error: ApiError) -> None:
        line.state = "errored"
        line.status, line.answer = wire.error(error, line.request_id)
