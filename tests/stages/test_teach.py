"""Teaching over a real server: what is sent, and what becomes of odd replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stub_server import StubServer
from tutelage.chat import Endpoint
from tutelage.data.share import OfPrompts
from tutelage.errors import DataError, UnavailableError
from tutelage.inputs import Prompts, Rows
from tutelage.records import Completion, Prompt
from tutelage.stages import teach
from tutelage.store import Artifact


def run(tmp_path: Path, server: StubServer, prompts: list[str], **settings: Any) -> Artifact:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in prompts))
    endpoint = Endpoint(provider="openai", model="stub", base_url=server.openai_url, max_retries=0)
    config = teach.Config(artifacts=tmp_path / "a", teacher=endpoint, **settings)
    return teach.run(config, teach.Inputs(prompts=Prompts(path=str(path))))


def test_several_completions_of_a_prompt_have_seeds_of_their_own(tmp_path: Path) -> None:
    with StubServer() as server:
        made = run(tmp_path, server, ["x"], num_completions=3, seed=2)
    assert sorted(r.body["seed"] for r in server.requests) == [2000, 2001, 2002]
    rows = made.rows("completions.jsonl", Completion)
    assert [(c.index, c.sampling.seed) for c in rows] == [(0, 2000), (1, 2001), (2, 2002)]
    assert len({c.id for c in rows}) == 3


def test_the_system_message_goes_first_and_is_no_part_of_the_prompt(tmp_path: Path) -> None:
    with StubServer() as server:
        made = run(tmp_path, server, ["x"], system="Be brief.")
    assert server.requests[0].body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert json.loads((made.path / "prompts.jsonl").read_text())["messages"] == [{"role": "user", "content": "x"}]


def test_an_empty_completion_is_counted_and_dropped(tmp_path: Path) -> None:
    with StubServer(lambda messages: "" if messages[-1]["content"] == "b" else "fine") as server:
        made = run(tmp_path, server, ["a", "b", "c"])
    assert made.record.counts == {"skipped: the completion is empty": 1, "completions": 2}


def test_requests_that_fail_for_good_stop_the_stage_and_the_next_call_asks_only_for_them(tmp_path: Path) -> None:
    broken = {"b"}

    def fault(text: str, nth: int) -> str | None:
        return "bad_request" if text in broken else None

    with StubServer(fault=fault) as server:
        with pytest.raises(UnavailableError, match="1 of 3 requests failed"):
            run(tmp_path, server, ["a", "b", "c"])
        broken.clear()
        made = run(tmp_path, server, ["a", "b", "c"])
    assert made.record.counts["completions"] == 3
    assert made.record.counts["replies reused"] == 2
    assert dict(server.replied) == {"a": 1, "b": 1, "c": 1}


def test_a_few_failures_are_allowed_if_asked_for_and_counted(tmp_path: Path) -> None:
    with StubServer(fault=lambda text, nth: "bad_request" if text == "b" else None) as server:
        made = run(tmp_path, server, ["a", "b", "c"], max_failures=0.5)
    assert made.record.counts == {"requests failed": 1, "completions": 2}


def test_the_bill_is_in_the_record(tmp_path: Path) -> None:
    with StubServer() as server:
        made = run(tmp_path, server, ["a", "b"])
    assert made.record.usage.requests == 2
    assert made.record.usage.input_tokens > 0
    assert made.record.usage.dollars is None  # the price is unknown, which is not 0


@pytest.mark.parametrize(("price", "dollars"), [({}, 0.0), ({"price": {"input": 2e6, "output": 1e6}}, 2 * 6 + 4.0)])
def test_a_miniature_teacher_costs_what_a_price_pretends_with_words_for_tokens(
    tmp_path: Path, price: dict[str, Any], dollars: float
) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "Of another world is this question."}\n')
    teacher = Endpoint.model_validate({"provider": "miniature", "model": "weak"} | price)
    inputs = teach.Inputs(prompts=Prompts(path=str(tmp_path / "p.jsonl")))
    made = teach.run(teach.Config(artifacts=tmp_path / "a", teacher=teacher), inputs)
    assert [c.text for c in made.rows("completions.jsonl", Completion)] == ["I do not know."]
    assert made.record.usage.dollars == pytest.approx(dollars)
    assert made.record.bill is None  # nobody was paid


def test_an_anthropic_teacher_is_asked_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-right-and-secret")
    (tmp_path / "p.jsonl").write_text('{"prompt": "x"}\n')
    with StubServer(lambda messages: "fine", api_key="sk-ant-right-and-secret") as server:
        words = ["prompts=p.jsonl", "teacher=anthropic", "teacher.model=stub", "temperature=0.5"]
        made = teach.run(*teach.STAGE.configure([*words, f"teacher.base_url={server.anthropic_url}"]))
    body = server.requests[0].body
    assert body == {"model": "stub", "max_tokens": 1024, "messages": [{"role": "user", "content": "x"}]}
    row = made.rows("completions.jsonl", Completion)[0]
    assert (row.author, row.text, row.stop_reason) == ("stub", "fine", "stop")
    assert row.sampling.temperature is None  # the record says what was sent, not what was asked for
    assert b"secret" not in b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


# ---- a share of the prompts -------------------------------------------------------------------------

MANY = [f"question {number}" for number in range(40)]


def in_share(low: float, high: float) -> set[str]:
    share = OfPrompts(share=(low, high), share_seed=3)
    return {text for text in MANY if share.takes(Prompt.of(text))}


def test_the_teacher_is_asked_about_the_share_and_the_rest_is_counted(tmp_path: Path) -> None:
    with StubServer() as server:
        made = run(tmp_path, server, MANY, share=(0, 0.3), share_seed=3)
    inside = in_share(0, 0.3)
    assert set(server.replied) == inside
    assert {p.text for p in made.rows("prompts.jsonl", Prompt)} == inside
    assert made.record.counts["left out: prompts outside the share"] == 40 - len(inside)


def test_an_estimate_counts_the_share_alone(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in MANY))
    endpoint = Endpoint(provider="openai", model="stub", base_url="http://localhost:1")
    config = teach.Config(artifacts=tmp_path, teacher=endpoint, share=(0, 0.3), share_seed=3)
    plan = teach.plan(config, teach.Inputs(prompts=Prompts(path=str(path))))
    assert plan is not None
    assert {r.messages[0].content for r in plan.requests} == in_share(0, 0.3)


@pytest.mark.parametrize("with_prompts", [False, True])
def test_completions_are_imported_of_the_share_alone(tmp_path: Path, with_prompts: bool) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": p, "completion": "yes", "author": "me"}) + "\n" for p in MANY))
    prompts = Prompts(path=str(path)) if with_prompts else None
    config = teach.Config(artifacts=tmp_path / "a", share=(0.3, 1), share_seed=3)
    made = teach.run(config, teach.Inputs(completions=Rows(path=str(path)), prompts=prompts))
    inside = in_share(0.3, 1)
    assert {p.text for p in made.rows("prompts.jsonl", Prompt)} == inside
    assert made.record.counts == {
        "left out: prompts outside the share": 40 - len(inside),
        "skipped: completions of other prompts": 40 - len(inside),
        "completions": len(inside),
    }


def test_a_share_without_prompts_is_told_before_anybody_is_asked(tmp_path: Path) -> None:
    with StubServer() as server, pytest.raises(DataError, match=r"prompts\.jsonl: no prompt falls into the share"):
        run(tmp_path, server, ["a"], share=(0, 1e-9))
    assert not server.requests
