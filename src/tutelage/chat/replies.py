"""Replies as one payer has them: found in the journal, or made durable, read, and put on the account.

What asks live and what asks in batches share this; neither reads a body that is not on the disk.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tutelage.chat.endpoint import Endpoint
from tutelage.chat.journal import Journal, Kept
from tutelage.chat.ledger import Budget, Ledger
from tutelage.chat.protocol import ChatReply
from tutelage.chat.providers import NotAReplyError, Wire, most_of, read_reply
from tutelage.errors import ConfigError, StoreError
from tutelage.records import Sampling, Usage

AskAgain = Literal["filtered", "cut", "empty"]
"""States of a reply that a stage may ask for once more: filtered or refused, cut at max_tokens, empty."""

_SHORTEST_SECRET = 16
"""Shorter keys are no secrets ("EMPTY", "ollama"), and may well occur in a completion."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sending of one request: what was sent, the most it can cost, and its name in the journal."""

    asked: Wire
    most: Usage
    name: str


class Replies:
    """The journal and the account of one payer at one endpoint.

    Args:
        endpoint: who is asked.
        path: the journal.
        payer: whose account it is (an artifact's fingerprint); '' keeps no account from run to run.
        budget: where to stop, over all runs of this payer.
        ask_again: replies in these states are taken only if this payer itself has asked for them.

    Raises:
        ConfigError: a budget in dollars for a model whose price is unknown.
    """

    def __init__(
        self, endpoint: Endpoint, path: Path | str, payer: str, budget: Budget, ask_again: Collection[AskAgain]
    ) -> None:
        self.endpoint = endpoint
        self.journal = Journal(path, payer)
        self.ledger = Ledger(endpoint.model, endpoint.known_price(), budget)
        self.key: str | None = None
        """The secret, once it was read: it is taken out of everything that is kept."""
        self._spellings: tuple[str | None, list[bytes]] = (None, [])
        self._ask_again = frozenset(ask_again)
        self._run = secrets.token_hex(4)
        self._numbers = itertools.count()
        self._is_loaded = False

    def load(self, in_flight: Collection[str] = ()) -> None:
        """Take up the account where earlier runs left it.

        Args:
            in_flight: attempts of earlier runs whose replies are still to come, which are no loss (batches).
        """
        if self._is_loaded:
            return
        self._is_loaded = True
        if not self.journal.payer:
            return
        ledger = self.ledger
        unfinished = self.journal.unfinished()
        for kept, attempt, request in self.journal.paid_before():
            reply = self._read(kept, Sampling(), cached=True)
            if reply is not None:
                ledger.paid += reply.usage
            # As `settle` had it. One that cannot be read has a row of its own, unless the run died just before.
            if (reply is None or not reply.usage.tokens) and attempt not in unfinished:
                ledger.lost += ledger.at_most(most_of(request) or (0, 0), kept.batch)
        for attempt, most in unfinished.items():
            if attempt not in in_flight:
                ledger.lost += ledger.at_most(most)

    def most(self, asked: Wire, batch: bool = False) -> Usage:
        """Return the most that `asked` can cost.

        Raises:
            ConfigError: there is a budget, and nothing bounds the reply.
        """
        if asked.most is None:
            if self.ledger.has_budget:
                raise ConfigError(f"budget: {self.endpoint.model} is asked without a limit on tokens; set max_tokens")
            return Usage(requests=1, dollars=None)
        return self.ledger.at_most(asked.most, batch)

    def recall(self, asked: Wire) -> ChatReply | None:
        """Return the reply in the journal: the first that can be read, so that it stays the same.

        With `ask_again`: the first in another state, or else the first that this payer paid for.
        """
        own = None
        for kept in self.journal.replies(asked.key):
            reply = self._read(kept, asked.sampling, cached=True)
            if reply is None:
                continue
            is_own = bool(kept.payer) and kept.payer == self.journal.payer
            if _state(reply) not in self._ask_again:
                if not is_own and kept.is_new:
                    self.ledger.reused += reply.usage
                return reply
            own = own or (reply if is_own else None)
        return own

    def begin(self, asked: Wire, most: Usage, name: str | None = None) -> Attempt:
        """Note that `asked` is about to leave, for which `most` was reserved; `name`: the attempt has one already."""
        attempt = Attempt(asked, most, name or f"{self._run}-{next(self._numbers)}")
        try:
            self.journal.sent(asked.key, attempt.name, (most.input_tokens, most.output_tokens))
        except StoreError:
            self.ledger.release(most)  # it never left; whoever waits for the money must hear of it
            raise
        return attempt

    def keep(self, attempt: Attempt, body: bytes, batch: bool = False) -> ChatReply | None:
        """Make a reply durable, read it, settle the account. None: it cannot be read."""
        asked, model = attempt.asked, self.endpoint.model
        try:
            kept = self.journal.reply(asked.key, attempt.name, asked.data, self._without_key(body), model, batch)
        except StoreError:
            self.ledger.settle(attempt.most, None)
            raise
        reply = self._read(kept, asked.sampling, cached=False)
        if reply is None:
            self.lose(attempt, "not a chat completion")
            return None
        self.ledger.settle(attempt.most, reply.usage)
        if self.journal.num_replies(asked.key) > 1 and (first := self.recall(asked)):
            return first.model_copy(update={"cached": False})
        return reply

    def fail(self, attempt: Attempt, why: str) -> None:
        """Note that an attempt was refused: it cost nothing."""
        self.journal.failed(attempt.asked.key, attempt.name, why)
        self.ledger.release(attempt.most)

    def lose(self, attempt: Attempt, why: str) -> None:
        """Note that an attempt brought nothing to read: it may cost all that it can."""
        most = attempt.most
        self.journal.lost(attempt.asked.key, attempt.name, (most.input_tokens, most.output_tokens), why)
        self.ledger.settle(most, None)

    def _read(self, kept: Kept, sent: Sampling, cached: bool) -> ChatReply | None:
        """Read a reply and price it; None if it cannot be read."""
        try:
            reply = read_reply(self.endpoint.provider, kept.body, sent, cached)
        except NotAReplyError:
            return None
        if self.ledger.price is None:
            return reply
        return reply.model_copy(update={"usage": self.ledger.priced(reply.usage, kept.batch)})

    def _without_key(self, body: bytes) -> bytes:
        if self._spellings[0] != self.key:
            self._spellings = (self.key, _spellings(self.key or ""))
        for spelling in self._spellings[1]:
            body = body.replace(spelling, b"[key]")
        return body


def _spellings(key: str) -> list[bytes]:
    """Return how a server may spell `key` within JSON."""
    if len(key) < _SHORTEST_SECRET:
        return []
    escaped = json.dumps(key)[1:-1]
    return [spelling.encode("ascii") for spelling in {key, escaped, escaped.replace("/", "\\/")}]


def _state(reply: ChatReply) -> AskAgain | None:
    if reply.stop_reason == "filtered":
        return "filtered"
    if not reply.text.strip():
        return "empty"
    return "cut" if reply.stop_reason == "length" else None
