"""What is asked again because it is wanted: replies that were filtered, and several draws of one question."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest

from asking import MakeClient, Serve, question
from stub_server import Fault, StubServer
from tutelage.chat import AskAgain, ChatReply, Endpoint, HttpClient, ask
from tutelage.inputs import Prompts
from tutelage.records import Completion
from tutelage.stages import teach
from tutelage.store import Artifact

TEXTS = [f"question {i}" for i in range(8)]
FILTERED = {"question 2", "question 5"}


def run(folder: Path, server: StubServer, **settings: Any) -> Artifact:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in TEXTS))
    endpoint = Endpoint(provider="openai", model="stub", base_url=server.openai_url)
    config = teach.Config(artifacts=folder / "a", teacher=endpoint, **settings)
    return teach.run(config, teach.Inputs(prompts=Prompts(path=str(path))))


def completions(made: Artifact) -> list[str]:
    return [row.text for row in made.rows("completions.jsonl", Completion)]


def filtered(times: int) -> Fault:
    """Filter what is in FILTERED so many times."""
    return lambda text, nth: "filtered" if text in FILTERED and nth < times else None


def again(folder: Path, made: Artifact, server: StubServer, **settings: Any) -> Artifact:
    """Run a stage as if it had died before it was finished."""
    shutil.rmtree(made.path)
    return run(folder, server, **settings)


def test_a_stage_asks_again_for_exactly_what_was_filtered_and_prefers_what_is_not(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(fault=filtered(1))
    first = run(tmp_path, server)
    assert first.record.counts == {"skipped: the completion is refused or filtered": 2, "completions": 6}
    second = run(tmp_path, server, ask_again=("filtered",))
    assert server.asked == Counter({text: 1 + (text in FILTERED) for text in TEXTS})
    assert completions(second) == [f"you said: {text}" for text in TEXTS]
    assert second.record.bill is not None
    assert (second.record.bill.paid.requests, second.record.bill.reused.requests) == (2, 6)
    # Whoever comes later gets the good one only by asking for it: what a stage saw stays what it sees.
    assert completions(again(tmp_path, first, server)) == completions(first)
    assert completions(again(tmp_path, second, server, ask_again=("filtered",))) == completions(second)
    assert sum(server.asked.values()) == len(TEXTS) + 2


def test_what_is_filtered_again_is_not_asked_a_third_time_by_the_same_stage(serve: Serve, tmp_path: Path) -> None:
    server = serve(fault=filtered(99))
    run(tmp_path, server)
    made = run(tmp_path, server, ask_again=("filtered",))
    assert len(completions(made)) == 6
    asked = server.asked.copy()
    assert asked == Counter({text: 1 + (text in FILTERED) for text in TEXTS})
    assert again(tmp_path, made, server, ask_again=("filtered",)).record.counts["completions"] == 6
    assert server.asked == asked


def test_what_the_stage_itself_got_filtered_is_not_asked_again_by_it(serve: Serve, tmp_path: Path) -> None:
    server = serve(fault=filtered(1))
    made = run(tmp_path, server, ask_again=("filtered",))
    again(tmp_path, made, server, ask_again=("filtered",))
    assert server.asked == Counter(dict.fromkeys(TEXTS, 1))


@pytest.mark.parametrize("state", get_args(AskAgain))
def test_a_reply_is_asked_again_only_for_the_state_it_is_in(state: AskAgain, serve: Serve, tmp_path: Path) -> None:
    bad = {"filtered": "short", "cut": "much too long a reply", "empty": " "}[state]
    server = serve(
        lambda messages: bad if server.asked[messages[-1]["content"]] == 1 else "good",
        fault=lambda text, nth: "filtered" if state == "filtered" and nth == 0 else None,
    )
    endpoint = Endpoint(provider="openai", model="stub", base_url=server.openai_url)

    def replies(payer: str, *ask_again: AskAgain) -> list[str]:
        client = HttpClient(endpoint, tmp_path / "replies.jsonl", payer=payer, ask_again=ask_again)
        results = ask(client, [question(text, max_tokens=3) for text in TEXTS])
        return [reply.text for reply in results if isinstance(reply, ChatReply)]

    first = replies("first")
    assert replies("second", *set(get_args(AskAgain)) - {state}) == first
    assert server.asked == Counter(dict.fromkeys(TEXTS, 1))
    assert replies("third", state) == ["good"] * len(TEXTS) != first
    assert server.asked == Counter(dict.fromkeys(TEXTS, 2))


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_k_draws_of_one_question_are_k_replies_and_stay_the_same_k(
    provider: str, serve: Serve, client: MakeClient
) -> None:
    server = serve(lambda messages: f"draw {len(server.billed)}")
    requests = [question("Hi", index=i, temperature=0.7, seed=i) for i in range(7)]
    drawn = ask(client(server, provider), requests)
    texts = [reply.text for reply in drawn if isinstance(reply, ChatReply)]
    assert len(set(texts)) == 7
    repeated = ask(client(server, provider), requests[::-1])
    assert [reply.text for reply in repeated if isinstance(reply, ChatReply)] == texts[::-1]
    more = ask(client(server, provider), [question("Hi", index=i, temperature=0.7, seed=i) for i in range(9)])
    assert [reply.text for reply in more if isinstance(reply, ChatReply)][:7] == texts
    assert server.asked["Hi"] == 9
