"""What was spent, what is in flight, and what is left: no request leaves that could break the budget."""

from __future__ import annotations

import asyncio

from pydantic import Field

from tutelage.chat.journal import Most
from tutelage.chat.prices import cost, how_to_know
from tutelage.chat.protocol import StoppedError
from tutelage.config import Group
from tutelage.errors import BudgetError, ConfigError
from tutelage.records import Bill, Price, Usage


class Budget(Group):
    """The most that a stage may spend over APIs, in all its runs together; replies it only reuses cost nothing."""

    usd: float | None = Field(
        None,
        ge=0,
        description="hard stop: no request leaves that could cost more than what is left",
        json_schema_extra={"runtime": True, "unit": "US dollars"},
    )
    tokens: int | None = Field(
        None,
        ge=0,
        description="the same, of input and output tokens together",
        json_schema_extra={"runtime": True, "unit": "tokens"},
    )


class Ledger:
    """The account of one payer. Every request is reserved at the most it can cost, and settled at what it did.

    A reply that was lost on the way, or that does not say what it cost, counts at the most.

    Raises:
        ConfigError: a budget in dollars for a model whose price is unknown.
    """

    def __init__(self, name: str, price: Price | None, budget: Budget) -> None:
        if budget.usd is not None and price is None:
            raise ConfigError(f"budget.usd: {how_to_know(name)}, or use budget.tokens")
        self.name, self.price, self.budget = name, price, budget
        self.paid, self.reused, self.lost, self.reserved = Usage(), Usage(), Usage(), Usage()
        self._waiting: list[asyncio.Future[None]] = []
        self._stopped = False

    @property
    def has_budget(self) -> bool:
        """True if there is anything to stop at."""
        return self.budget.usd is not None or self.budget.tokens is not None

    def priced(self, usage: Usage, batch: bool = False) -> Usage:
        """Return `usage` with its dollars."""
        dollars = cost(self.price, usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, batch=batch)
        return usage.model_copy(update={"dollars": dollars})

    def at_most(self, most: Most, batch: bool = False) -> Usage:
        """Return the most that a request can cost."""
        dollars = cost(self.price, *most, batch=batch)
        return Usage(requests=1, input_tokens=most[0], output_tokens=most[1], dollars=dollars)

    async def reserve(self, most: Usage) -> None:
        """Set `most` aside; waits while it fits only if requests in flight turn out cheaper than feared.

        Raises:
            BudgetError: it does not fit, and nothing is in flight.
            StoppedError: `stop` was called first.
        """
        if self._stopped:  # even if it fits: nothing further is to leave
            raise StoppedError
        while self.has_budget and not self.fits(most):
            if not self.reserved.requests:
                raise BudgetError(self._said(most))
            settled = asyncio.get_running_loop().create_future()
            self._waiting.append(settled)
            await settled
            if self._stopped:
                raise StoppedError
        self.reserved += most

    def fits(self, most: Usage) -> bool:
        """True if `most` more can be spent whatever becomes of the requests in flight."""
        total = self.paid + self.lost + self.reserved + most
        usd, tokens = self.budget.usd, self.budget.tokens
        return (usd is None or (total.dollars or 0.0) <= usd) and (tokens is None or total.tokens <= tokens)

    def settle(self, most: Usage, usage: Usage | None) -> None:
        """Replace what was reserved by what it cost; None: a reply that may be billed never came."""
        self.release(most)
        if usage is None or not usage.tokens:
            self.lost += most
        if usage is not None:
            self.paid += usage

    def release(self, most: Usage) -> None:
        """Give back what was reserved: the request cost nothing."""
        self.reserved = _minus(self.reserved, most)
        self._wake()

    def stop(self) -> None:
        """Let nobody wait for money any longer."""
        self._stopped = True
        self._wake()

    def bill(self) -> Bill:
        """Return the account as `record.json` has it, without what is in flight."""
        paid, reused, lost = (_rounded(usage) for usage in (self.paid, self.reused, self.lost))
        return Bill(paid=paid, reused=reused, lost=lost, price=self.price)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _said(self, most: Usage) -> str:
        spent, lost = self.paid, self.lost
        parts = []
        if self.budget.usd is not None:
            parts.append(
                f"budget.usd={self.budget.usd:g}: ${spent.dollars or 0:.4f} is spent"
                + (f", up to ${lost.dollars or 0:.4f} lost" if lost.requests else "")
                + f", and the next request may cost ${most.dollars or 0:.4f}"
            )
        if self.budget.tokens is not None:
            parts.append(
                f"budget.tokens={self.budget.tokens}: {spent.tokens:,} are spent"
                + (f", up to {lost.tokens:,} lost" if lost.requests else "")
                + f", and the next request may take {most.tokens:,}"
            )
        return (
            f"{self.name}: the budget ends here ({'; '.join(parts)}). All replies are kept; the same command with "
            "a larger budget goes on from here"
        )


def _rounded(usage: Usage) -> Usage:
    """Return `usage` without the tail that adding up thousands of fractions leaves: to a billionth of a dollar."""
    return usage if usage.dollars is None else usage.model_copy(update={"dollars": round(usage.dollars, 9)})


def _minus(total: Usage, part: Usage) -> Usage:
    left = total.requests - part.requests
    if not left:  # exactly nothing, whatever the rounding of the sums was
        return Usage()
    known = total.dollars is not None and part.dollars is not None
    return Usage(
        requests=left,
        input_tokens=total.input_tokens - part.input_tokens,
        output_tokens=total.output_tokens - part.output_tokens,
        dollars=(total.dollars or 0.0) - (part.dollars or 0.0) if known else None,
    )
