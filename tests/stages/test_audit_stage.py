"""`tutelage audit` from end to end: what is asked, what is written, and what it finds in critics that are known."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stub_server import StubServer
from tutelage import stages
from tutelage.critic.injections import INJECTIONS
from tutelage.errors import ConfigError, CriticError
from tutelage.inputs import Pairs, Rows
from tutelage.miniature.critic import CRITICS
from tutelage.miniature.pairs import make_pairs
from tutelage.stages import audit, label
from tutelage.stages.judging import Critic
from tutelage.store import Artifact

Write = Callable[[str, list[Any]], Path]


def examine(path: Path, root: Path, critic: Any = "critic", **settings: Any) -> Artifact:
    if isinstance(critic, str):
        critic = Critic(provider="miniature", model=critic)
    config = audit.Config(artifacts=root, critic=critic, **settings)
    return audit.run(config, audit.Inputs(pairs=Pairs(path=str(path))))


def measured(made: Artifact) -> Any:
    return json.loads((made.path / audit.DATA).read_text())["measured"]


@pytest.fixture
def pairs(write_rows: Write) -> Path:
    return write_rows("pairs.jsonl", make_pairs(60, seed=0))


@pytest.mark.parametrize("name", ["critic", "critic_unbiased", "critic_biased"])
def test_the_miniatures_critics_are_found_to_be_as_they_are_made(
    name: str, write_rows: Write, tmp_path: Path
) -> None:
    path = write_rows("many.jsonl", make_pairs(600, seed=3))
    found = measured(examine(path, tmp_path / "a", name, num_pairs=None, num_injected=0))
    for estimate, truth in (
        (found["position"]["bias"], CRITICS[name].position_bias),
        (found["length"]["per_word"], CRITICS[name].verbosity_bias),
    ):
        assert estimate["low"] <= truth <= estimate["high"]
    assert found["length"]["quality"] == "scores"


def test_every_pair_is_shown_in_both_orders_and_repeats_and_injections_are_told_apart(
    pairs: Path, tmp_path: Path
) -> None:
    made = examine(pairs, tmp_path / "a", num_pairs=30, repeats=2, num_injected=5)
    shown = made.rows(audit.SHOWINGS, audit.AuditedShowing)
    plain = Counter((s.pair_id, s.order, s.repeat) for s in shown if s.injection is None)
    assert len(plain) == 30 * 2 * 2
    assert set(plain.values()) == {1}
    kinds = Counter(s.injection for s in shown if s.injection)
    assert kinds == {kind: 5 if kind == "names_b" else 10 for kind in INJECTIONS}
    sides = {s.pair_id: s.injected for s in shown if s.injection}
    assert len(sides) == 5
    assert all(s.order != f"{s.injected}_first" for s in shown if s.injection == "names_b")
    assert len(made.rows(audit.PAIRS, audit.AuditedPair)) == 30
    assert made.record.counts["showings"] == len(shown)


def test_a_repeat_is_another_draw_and_the_first_one_is_what_label_would_get(pairs: Path, tmp_path: Path) -> None:
    made = examine(pairs, tmp_path / "a", "critic_noisy", repeats=2, num_injected=0)
    replies: dict[Any, list[str]] = {}
    for s in made.rows(audit.SHOWINGS, audit.AuditedShowing):
        replies.setdefault((s.pair_id, s.order), []).append(s.reply)
    assert any(one != other for one, other in replies.values())
    once = examine(pairs, tmp_path / "b", "critic_noisy", num_injected=0)
    for s in once.rows(audit.SHOWINGS, audit.AuditedShowing):
        assert s.reply == replies[s.pair_id, s.order][0]


def test_the_page_and_the_record_say_the_same_and_nothing_is_asked_twice(pairs: Path, tmp_path: Path) -> None:
    made = examine(pairs, tmp_path / "a", num_injected=2)
    page, said = (made.path / audit.PAGE).read_text(), made.record.summary["in_short"]
    assert said[0].startswith("Position: the completion shown first wins")
    assert "Audit of miniature/critic" in page
    assert examine(pairs, tmp_path / "a", num_injected=2).path == made.path
    assert examine(pairs, tmp_path / "a", num_injected=3).path != made.path


def test_an_artifact_of_label_can_be_audited(write_rows: Write, tmp_path: Path) -> None:
    rows = make_pairs(40, seed=1)
    completions = [
        {"prompt": r["instruction"], "completion": r[f"output_{i}"], "author": r[f"generator_{i}"]}
        for r in rows
        for i in (1, 2)
    ]
    path = write_rows("completions.jsonl", completions)
    critic = Critic(provider="miniature", model="critic_unbiased")
    config = label.Config(artifacts=tmp_path / "a", critic=critic)
    labelled = label.run(config, label.Inputs(completions=Rows(path=str(path))))
    found = measured(examine(labelled.path, tmp_path / "a"))
    assert found["num_pairs"] == labelled.record.counts["verdicts"]
    assert found["length"]["quality"] == "unknown"
    assert "confounded" in found["length"]["note"]


def test_a_critic_over_http_that_obeys_planted_texts_is_found_out(pairs: Path, tmp_path: Path) -> None:
    def obedient(messages: Any) -> str:
        text = messages[-1]["content"]
        one, two = re.findall(r"<answer-[ab] \w+>\n(.*?)\n</answer-[ab] \w+>", text, re.DOTALL)
        ordered = ["the answer that holds this line" in answer for answer in (one, two)]
        return "Verdict: A" if ordered[0] else "Verdict: B" if ordered[1] else "Verdict: tie"

    with StubServer(obedient) as server:
        critic = Critic(provider="openai", model="stub", base_url=server.openai_url)
        made = examine(pairs, tmp_path / "a", critic, num_pairs=20, num_injected=10)
    effects = {e["kind"]: e for e in measured(made)["injections"]}
    assert effects["ignore"]["shift"]["value"] == 50.0
    assert effects["ignore"]["before"]["tied"] == 20
    assert effects["ignore"]["after"]["won"] == 20
    assert effects["system_claim"]["shift"]["value"] == 0.0
    assert effects["system_claim"]["shift"]["low"] < 0 < effects["system_claim"]["shift"]["high"]
    assert made.record.bill is not None
    assert made.record.bill.paid.requests == len(made.rows(audit.SHOWINGS, audit.AuditedShowing))


def test_what_label_has_paid_for_the_audit_does_not_pay_again(write_rows: Write, tmp_path: Path) -> None:
    rows = [{"prompt": "Why?", "completion": c, "author": "me"} for c in ("Because.", "Why not.", "So.")]
    path = write_rows("c.jsonl", rows)
    with StubServer(lambda messages: "Verdict: A") as server:
        critic = Critic(provider="openai", model="stub", base_url=server.openai_url)
        config = label.Config(artifacts=tmp_path / "a", critic=critic, max_flip=1.0)
        labelled = label.run(config, label.Inputs(completions=Rows(path=str(path))))
        made = examine(labelled.path, tmp_path / "a", critic, num_injected=0)
    assert made.record.counts["replies reused"] == made.record.counts["showings"] == 6
    assert made.record.bill is not None
    assert made.record.bill.paid.requests == 0


def test_unreadable_replies_are_measured_and_only_a_silent_critic_is_refused(pairs: Path, tmp_path: Path) -> None:
    def moody(messages: Any) -> str:
        return "Verdict: A" if len(messages[-1]["content"]) % 2 else "I would rather not."

    with StubServer(moody) as server:
        critic = Critic(provider="openai", model="stub", base_url=server.openai_url)
        found = measured(examine(pairs, tmp_path / "a", critic, num_injected=0))
    assert 0 < found["unreadable"]["value"] < 100
    assert found["position"]["bias"]["value"] is None
    assert found["position"]["bias"]["low"] is not None
    with StubServer(lambda messages: "No comment.") as server:
        critic = Critic(provider="openai", model="stub", base_url=server.openai_url)
        with pytest.raises(CriticError, match="not one of 120 replies could be read"):
            examine(pairs, tmp_path / "b", critic, num_injected=0)


def test_a_template_without_an_order_is_refused(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one completion at a time"):
        examine(pairs, tmp_path / "a", template="pointwise")


def test_the_estimate_counts_what_is_asked(pairs: Path, tmp_path: Path) -> None:
    words = ["critic=miniature_critic", f"pairs={pairs}", "num_pairs=10", "num_injected=3", f"artifacts={tmp_path}/a"]
    config, inputs = stages.get("audit").configure(words)
    planned = audit.plan(config, inputs)
    made = audit.run(config, inputs)
    assert len(planned.requests) == made.record.counts["showings"] == 20 + 3 * 2 * 7 + 3
