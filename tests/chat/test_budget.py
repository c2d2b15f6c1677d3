"""A budget is never exceeded: not by many at once, not by faults, not over several runs; nothing is paid twice."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asking import Serve, question
from running import command
from stub_server import StubServer, seeded
from tutelage.chat import Budget, ChatReply, Endpoint, HttpClient, ask
from tutelage.chat.ledger import Ledger
from tutelage.chat.protocol import StoppedError
from tutelage.errors import BudgetError, ConfigError, StoreError
from tutelage.records import Bill, Price, Usage

PRICE = Price(input=2.0, output=10.0, source="test")
PRICED = {"input": 2.0, "output": 10.0}
ALL_FAULTS = {
    **dict.fromkeys(["rate_limited", "rate_limited_silent", "server_error", "unavailable", "overloaded"], 0.02),
    **dict.fromkeys(["reset", "wrong_type", "drop", "malformed", "empty_choices", "duplicate_id", "drip"], 0.02),
    "hang": 0.005,
}


def ledger(price: Price | None = PRICE, **budget: Any) -> Ledger:
    return Ledger("stub", price, Budget(**budget))


def most(input_tokens: int, output_tokens: int = 0) -> Usage:
    return ledger().at_most((input_tokens, output_tokens))


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


# ---- the account alone ------------------------------------------------------------------------------


def test_what_is_reserved_is_replaced_by_what_it_cost() -> None:
    async def work() -> None:
        account = ledger(tokens=100)
        await account.reserve(most(60))
        assert not account.fits(most(41))
        assert account.fits(most(40))
        account.settle(most(60), account.priced(Usage(requests=1, input_tokens=5, output_tokens=5)))
        assert account.bill() == Bill(
            paid=account.priced(Usage(requests=1, input_tokens=5, output_tokens=5)), price=PRICE
        )
        assert account.fits(most(90))
        assert not account.fits(most(91))

    run(work)


def test_what_was_refused_costs_nothing_and_what_was_lost_all_it_can() -> None:
    async def work() -> None:
        account = ledger(tokens=100)
        await account.reserve(most(60))
        account.release(most(60))
        assert account.bill() == Bill(price=PRICE)
        await account.reserve(most(60))
        account.settle(most(60), None)
        assert account.bill() == Bill(lost=most(60), price=PRICE)
        assert not account.fits(most(41))

    run(work)


def test_a_reply_that_does_not_say_what_it_cost_counts_at_the_most() -> None:
    async def work() -> None:
        account = ledger(tokens=100)
        await account.reserve(most(60))
        account.settle(most(60), Usage(requests=1))
        assert account.bill().lost == most(60)

    run(work)


def test_who_does_not_fit_waits_while_others_may_turn_out_cheaper() -> None:
    async def work() -> None:
        account = ledger(tokens=100)
        await account.reserve(most(60))
        waiting = asyncio.create_task(account.reserve(most(50)))
        await asyncio.sleep(0)
        assert not waiting.done()
        account.settle(most(60), account.priced(Usage(requests=1, input_tokens=50)))
        await waiting
        assert account.reserved.tokens == 50

    run(work)


def test_who_waits_in_vain_hears_of_it_once_nothing_is_in_flight() -> None:
    async def work() -> None:
        account = ledger(tokens=100)
        await account.reserve(most(60))
        waiting = [asyncio.create_task(account.reserve(most(n))) for n in (50, 70)]
        await asyncio.sleep(0)
        account.settle(most(60), account.priced(Usage(requests=1, input_tokens=60)))
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [BudgetError] * 2

    run(work)


def test_stop_wakes_all_who_wait_for_money() -> None:
    async def work() -> None:
        account = ledger(tokens=100)
        await account.reserve(most(60))
        waiting = [asyncio.create_task(account.reserve(most(50))) for _ in range(3)]
        await asyncio.sleep(0)
        account.stop()
        account.release(most(60))  # now one would fit, but nothing further is to leave
        ends = await asyncio.gather(*waiting, account.reserve(most(1)), return_exceptions=True)
        assert [type(end) for end in ends] == [StoppedError] * 4
        assert account.reserved == Usage()

    run(work)


def test_the_error_says_in_figures_what_is_spent_lost_and_asked_for() -> None:
    async def work() -> None:
        account = ledger(tokens=5000, usd=0.0125)
        for usage in (account.priced(Usage(requests=1, input_tokens=1000, output_tokens=234)), None):
            await account.reserve(most(2000))
            account.settle(most(2000), usage)
        with pytest.raises(BudgetError) as caught:
            await account.reserve(most(1000, 800))
        assert str(caught.value) == (
            "stub: the budget ends here (budget.usd=0.0125: $0.0043 is spent, up to $0.0040 lost, and the next "
            "request may cost $0.0100; budget.tokens=5000: 1,234 are spent, up to 2,000 lost, and the next request "
            "may take 1,800). All replies are kept; the same command with a larger budget goes on from here"
        )

    run(work)


def test_a_budget_in_dollars_needs_a_price() -> None:
    with pytest.raises(
        ConfigError, match=r"budget\.usd: price of stub unknown.*price\.input and price\.output.*budget\.tokens"
    ):
        ledger(price=None, usd=1)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle", "lose", "release"]),
        st.integers(0, 400),
        st.integers(0, 100),
        st.floats(0, 1),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(0, 1500), st.floats(0, 0.01))
def test_no_order_of_events_brings_paid_lost_and_reserved_above_the_cap(
    steps: list[tuple[str, int, int, float]], tokens: int, usd: float
) -> None:
    async def work() -> None:
        account = ledger(tokens=tokens, usd=usd)
        out: list[Usage] = []
        for what, input_tokens, output_tokens, share in steps:
            asked = most(input_tokens, output_tokens)
            if what == "reserve" and account.fits(asked):
                await account.reserve(asked)
                out.append(asked)
            elif what != "reserve" and out:
                given_back = out.pop(int(share * (len(out) - 1)))
                used = Usage(
                    requests=1,
                    input_tokens=int(share * given_back.input_tokens),
                    output_tokens=int(share * given_back.output_tokens),
                )
                if what == "release":
                    account.release(given_back)
                else:
                    account.settle(given_back, account.priced(used) if what == "settle" else None)
            total = account.paid + account.lost + account.reserved
            assert total.tokens <= tokens
            assert (total.dollars or 0.0) <= usd + 1e-12
            assert account.reserved.tokens == sum(u.tokens for u in out)
            assert account.reserved.requests == len(out)

    run(work)


# ---- over real HTTP ---------------------------------------------------------------------------------


def asker(server: StubServer, journal: Path, payer: str = "me", concurrency: int = 16, **budget: Any) -> HttpClient:
    limits = {"timeout_seconds": 1.0, "max_concurrency": concurrency, "max_retries": 20}
    about = {"provider": "openai", "model": "stub", "base_url": server.openai_url, "price": PRICED}
    endpoint = Endpoint.model_validate(about | limits)
    return HttpClient(endpoint, journal, payer=payer, budget=Budget(**budget), first_pause_seconds=0.01)


def billed(server: StubServer, delivered: bool | None = None) -> int:
    return sum(server.billed_tokens(delivered))


def dollars(server: StubServer) -> float:
    tokens = server.billed_tokens()
    return (tokens[0] * PRICED["input"] + tokens[1] * PRICED["output"]) / 1e6


REQUESTS = [question(f"question {i}" + " word" * 60, max_tokens=60) for i in range(300)]
"""Each costs 62 + 60 tokens in truth, and 720 are feared."""


@pytest.mark.parametrize("shares", [{}, ALL_FAULTS], ids=["sound", "faults"])
@pytest.mark.parametrize("concurrency", [1, 16, 256])
@pytest.mark.parametrize("budget", [{"tokens": 4000}, {"usd": 0.025}], ids=["tokens", "usd"])
def test_the_server_never_bills_more_than_the_budget_and_a_larger_one_repeats_nothing(
    budget: dict[str, Any], concurrency: int, shares: dict[str, float], serve: Serve, tmp_path: Path
) -> None:
    server = serve(fault=seeded(5, **shares), retry_after="0.01")
    journal = tmp_path / "replies.jsonl"
    if concurrency == 1:  # one after the other takes its time
        requests = REQUESTS[:80]
    else:
        requests, budget = REQUESTS, {name: 3 * value for name, value in budget.items()}
    client = asker(server, journal, concurrency=concurrency, **budget)
    with pytest.raises(BudgetError, match="the budget ends here"):
        ask(client, requests)
    first = client.bill()
    assert 0 < len(server.billed) < len(requests)
    assert billed(server) <= budget.get("tokens", billed(server))
    assert dollars(server) <= budget.get("usd", dollars(server))
    assert first.paid.tokens == billed(server, delivered=True)
    assert billed(server) <= first.paid.tokens + first.lost.tokens

    replied = set(server.replied)
    again = asker(server, journal, concurrency=concurrency, tokens=10_000_000)
    replies = ask(again, requests)
    assert all(isinstance(reply, ChatReply) for reply in replies)
    assert all(server.replied[text] == 1 for text in replied)
    second = again.bill()
    assert second.paid.tokens == billed(server, delivered=True)
    assert second.paid.requests == len(requests)
    assert second.paid.dollars == pytest.approx(
        sum(r.usage.dollars or 0 for r in replies if isinstance(r, ChatReply))
    )
    assert billed(server) <= second.paid.tokens + second.lost.tokens


def test_a_budget_is_one_budget_over_all_runs_of_a_payer(serve: Serve, tmp_path: Path) -> None:
    server, journal = serve(), tmp_path / "replies.jsonl"
    for _ in range(4):
        with pytest.raises(BudgetError):
            ask(asker(server, journal, tokens=5000), REQUESTS)
    assert 4000 < billed(server) <= 5000


def test_a_reply_that_is_reused_costs_its_second_payer_nothing(serve: Serve, tmp_path: Path) -> None:
    server, journal = serve(), tmp_path / "replies.jsonl"
    ask(asker(server, journal, "first"), REQUESTS[:20])
    before = len(server.billed)
    client = asker(server, journal, "second", tokens=0, usd=0)
    replies = ask(client, [*REQUESTS[:20], *REQUESTS[:20]])
    bill = client.bill()
    assert all(isinstance(reply, ChatReply) and reply.cached for reply in replies)
    assert len(server.billed) == before
    assert (bill.paid, bill.lost) == (Usage(), Usage())
    assert (bill.reused.requests, bill.reused.tokens) == (20, billed(server))
    with pytest.raises(BudgetError, match=r"budget\.tokens=0: 0 are spent, and the next request may take"):
        ask(asker(server, journal, "second", tokens=0), REQUESTS[:21])
    assert len(server.billed) == before


def test_a_budget_needs_a_limit_on_tokens(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    with pytest.raises(ConfigError, match="without a limit on tokens; set max_tokens"):
        ask(asker(server, tmp_path / "replies.jsonl", tokens=5000), [question("Hi", max_tokens=None)])
    assert not server.asked


def test_a_server_that_counts_nothing_is_held_to_the_most_over_all_runs(tmp_path: Path) -> None:
    """Such a reply counts the same in the run that paid for it and in all later ones."""
    with _Uncounted() as server:
        journal = tmp_path / "replies.jsonl"
        lost = []
        for _ in range(3):
            client = asker(server, journal, tokens=5000)
            with pytest.raises(BudgetError, match=r"0 are spent, up to 4,\d\d\d lost"):
                ask(client, REQUESTS)
            lost.append(client.bill().lost)
        assert lost == lost[:1] * 3
        assert lost[0].requests == sum(server.replied.values()) > 0


class _Uncounted(StubServer):
    """A server whose replies do not say what they cost."""

    def make(self, *args: Any) -> tuple[Any, Any]:
        done, reply = super().make(*args)
        del reply["usage"]
        return done, reply


def test_a_reply_that_cannot_be_read_is_feared_though_the_run_died_before_it_said_so(
    serve: Serve, tmp_path: Path
) -> None:
    journal = tmp_path / "replies.jsonl"
    server = serve(fault=lambda text, nth: "malformed" if nth == 0 else None)
    first = asker(server, journal)
    ask(first, REQUESTS[:1])
    lines = journal.read_bytes().splitlines(keepends=True)
    assert [next(iter(json.loads(line))) for line in lines] == ["sent", "reply", "lost", "sent", "reply"]
    journal.write_bytes(b"".join(lines[:2]))
    again = asker(server, journal)
    again.replies.load()
    assert again.bill().lost == first.bill().lost


def test_a_full_disk_wakes_those_who_wait_for_money(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = asker(serve(latency=0.05), tmp_path / "replies.jsonl", tokens=800)

    def full(*_args: Any) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(client.replies.journal, "reply", full)

    async def work() -> list[Any]:
        asking = [client.complete(request) for request in REQUESTS[:3]]
        return await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 10)

    assert sorted(type(end).__name__ for end in asyncio.run(work())) == ["BudgetError", "BudgetError", "StoreError"]


# ---- as a stage -------------------------------------------------------------------------------------


def teach(folder: Path, server: StubServer, *words: str) -> subprocess.CompletedProcess[str]:
    asked = ["prompts=prompts.jsonl", "teacher=local", f"teacher.base_url={server.openai_url}", "teacher.model=stub"]
    limits = ["max_tokens=60", "teacher.price.input=2", "teacher.price.output=10"]
    return subprocess.run(
        command("teach", *asked, *limits, *words),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
    )


def test_a_stage_stops_at_its_budget_with_one_message_and_a_larger_one_finishes_it(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(fault=lambda text, nth: "drop" if text.startswith("question 3 ") and nth == 0 else None)
    texts = [request.messages[0].content for request in REQUESTS[:40]]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    stopped = teach(tmp_path, server, "budget.tokens=3000")
    assert stopped.returncode == 2
    assert stopped.stderr.count("the budget ends here (budget.tokens=3000") == 1
    assert "Traceback" not in stopped.stderr
    assert billed(server) <= 3000
    assert not list(tmp_path.rglob("record.json"))
    finished = teach(tmp_path, server, "budget.tokens=100000", "budget.usd=1")
    assert finished.returncode == 0, finished.stderr
    assert sum(server.replied.values()) == 40
    [record] = tmp_path.rglob("record.json")
    bill = Bill.model_validate(json.loads(record.read_text())["bill"])
    assert bill.paid.tokens == billed(server, delivered=True)
    assert (bill.paid.requests, bill.reused, bill.lost.requests) == (40, Usage(), 1)
    assert bill.price is not None
    assert (bill.price.input, bill.price.output) == (2, 10)
    assert billed(server) <= bill.paid.tokens + bill.lost.tokens
    # Another artifact, whose requests are the same.
    other = teach(tmp_path, server, "budget.tokens=0", "max_failures=0.5")
    assert other.returncode == 0, other.stderr
    assert sum(server.replied.values()) == 40
    reused = [Bill.model_validate(json.loads(path.read_text())["bill"]) for path in tmp_path.rglob("record.json")]
    assert sorted(b.reused.requests for b in reused) == [0, 40]
