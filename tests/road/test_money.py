"""Estimates and budgets as a user meets them: at the command line, for a stage and for a whole road."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from running import ended, tutelage
from small_road import record, world
from stub_server import StubServer
from tutelage.chat import Budget
from tutelage.errors import ConfigError
from tutelage.pipeline import Recipe, within
from tutelage.store import Artifact

PRICE = ["teacher.price.input=2", "teacher.price.output=8"]


def prompts(folder: Path, num: int) -> Path:
    path = folder / "p.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"question {i}"}) + "\n" for i in range(num)))
    return path


def teaching(server: StubServer, folder: Path, num: int) -> list[str]:
    words = ["teach", f"prompts={prompts(folder, num)}", "teacher=local", "teacher.model=stub", "max_tokens=20"]
    return [*words, f"teacher.base_url={server.openai_url}"]


def refused(folder: Path, *words: str) -> str:
    done = ended(folder, *words)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_an_estimate_asks_nothing_and_writes_nothing(tmp_path: Path) -> None:
    with StubServer() as server:
        said = tutelage(tmp_path, *teaching(server, tmp_path, 5), *PRICE, "--estimate").stdout
    assert not server.requests
    assert [path.name for path in tmp_path.iterdir()] == ["p.jsonl"]
    row = said.splitlines()[1].split()
    assert row[:4] == ["teach", "stub", "5", "0"]
    assert "<= $0.00" in said


def test_an_estimate_of_what_is_made_says_so_and_one_of_a_stage_that_asks_nobody_too(tmp_path: Path) -> None:
    with StubServer() as server:
        words = teaching(server, tmp_path, 2)
        tutelage(tmp_path, *words)
        assert "already made: artifacts/1-teach/run-" in tutelage(tmp_path, *words, "--estimate").stdout
    verdicts = ["prefer", "verdicts=artifacts", "--estimate"]
    assert "nothing to estimate" in refused(tmp_path, *verdicts)
    assert "no options but --help" in refused(tmp_path, "bandit", "--estimate")


def test_a_budget_stops_the_stage_and_a_larger_one_goes_on_from_there(tmp_path: Path) -> None:
    with StubServer() as server:
        words = teaching(server, tmp_path, 8)
        said = refused(tmp_path, *words, "budget.tokens=390")
        assert "budget.tokens=390" in said
        assert "a larger budget goes on from here" in said
        assert 0 < sum(server.asked.values()) < 8
        assert not list(tmp_path.glob("artifacts/1-teach/*/record.json"))
        made = record(tmp_path / tutelage(tmp_path, *words, "budget.tokens=90000").stdout.strip())
        assert sum(server.asked.values()) == 8
        assert made["bill"]["paid"]["requests"] == 8
        paid = made["bill"]["paid"]
        assert server.billed_tokens() == (paid["input_tokens"], paid["output_tokens"])


def test_a_budget_in_dollars_needs_a_price(tmp_path: Path) -> None:
    with StubServer() as server:
        words = teaching(server, tmp_path, 2)
        assert "price of stub unknown" in refused(tmp_path, *words, "budget.usd=1")
        tutelage(tmp_path, *words, *PRICE, "budget.usd=1")


def road(folder: Path, server: StubServer, *words: str) -> list[str]:
    """The small road with its critic and judge behind an API."""
    api = ["=local", ".model=stub", f".base_url={server.openai_url}", ".price.input=1", ".price.output=1"]
    models = [who + word for who in ("label.critic", "evaluate.judge") for word in api]
    return ["run", "recipe.yaml", *models, *words]


@pytest.mark.slow
def test_a_road_is_estimated_from_its_recipe_and_held_to_one_budget(tmp_path: Path) -> None:
    world(tmp_path)

    def judge(messages: list[dict[str, str]]) -> str:
        return "Verdict: A" if len(messages[-1]["content"]) % 2 else "Verdict: B"

    with StubServer(judge) as server:
        said = tutelage(tmp_path, *road(tmp_path, server), "--estimate").stdout
        assert not server.requests
        stages = [line.split()[0] for line in said.splitlines()[1:6]]
        assert stages == ["teach", "label", "evaluate-sft", "evaluate-dpo", "total"]
        most = float(said.splitlines()[5].split("<= $")[1].split()[0])
        assert "the budget ends here" in refused(tmp_path, *road(tmp_path, server, "budget.tokens=4500"))
        assert sum(server.billed_tokens()) <= 4_500
        tutelage(tmp_path, *road(tmp_path, server, f"budget.usd={most * 3}"))
        said = tutelage(tmp_path, *road(tmp_path, server), "--estimate").stdout
        assert said.count("already made") == 4
    bills = [b for b in (bill_of(p) for p in tmp_path.glob("artifacts/*/*/record.json")) if b]
    assert len(bills) == 3
    paid = sum(bill["paid"]["input_tokens"] + bill["paid"]["output_tokens"] for bill in bills)
    assert paid == sum(server.billed_tokens())
    assert sum(bill["paid"]["dollars"] for bill in bills) <= most


def test_a_road_with_a_budget_in_dollars_and_a_model_without_a_price_does_not_begin(tmp_path: Path) -> None:
    world(tmp_path)
    critic = ["label.critic=local", "label.critic.model=stub"]
    for budget in ("budget.usd=5", "label.budget.usd=5"):
        assert "price of stub unknown" in refused(tmp_path, "run", "recipe.yaml", *critic, budget)
    assert not (tmp_path / "artifacts").exists()


def test_what_cost_an_unknown_sum_leaves_no_budget_in_dollars_but_one_in_tokens(tmp_path: Path) -> None:
    recipe = Recipe.load(world(tmp_path) / "recipe.yaml", [f"artifacts={tmp_path / 'a'}"])
    with StubServer() as server:
        words = [*teaching(server, tmp_path, 2), f"artifacts={tmp_path / 'a'}"]
        made = [Artifact.open(tutelage(tmp_path, *words).stdout.strip())]
    asking = recipe.label
    in_dollars = recipe.model_copy(update={"budget": Budget(usd=5)})
    with pytest.raises(ConfigError, match="cost is unknown"):
        within(in_dollars.budget, "x", asking, made)
    in_tokens = recipe.model_copy(update={"budget": Budget(tokens=100)})
    paid = sum(server.billed_tokens())
    assert within(in_tokens.budget, "x", asking, made).budget == Budget(tokens=100 - paid)
    used_up = recipe.model_copy(update={"budget": Budget(tokens=1)})
    assert within(used_up.budget, "x", asking, made).budget == Budget(tokens=0)


def bill_of(path: Path) -> Any:
    return json.loads(path.read_text())["bill"]
