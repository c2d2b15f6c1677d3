"""Label with every kind of critic, over real HTTP: what is asked, what is counted, and what stops the stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluators import evaluator_folder
from stub_server import StubServer
from tutelage import stages
from tutelage.critic.evaluator import load
from tutelage.critic.template import read_back
from tutelage.errors import ConfigError, CriticError
from tutelage.inputs import Rows
from tutelage.records import Verdict
from tutelage.stages import label
from tutelage.stages.judging import Critic, signature
from tutelage.store import Artifact

Messages = list[dict[str, str]]


def rows(num: int, texts: tuple[str, ...] = ("a longer text", "short")) -> list[dict[str, str]]:
    return [
        {"prompt": f"Why {i}?", "completion": f"{text} {i}", "author": "me"} for i in range(num) for text in texts
    ]


def run(
    tmp_path: Path, reply: Callable[[Messages], str], rows_: list[dict[str, str]], **settings: Any
) -> tuple[Artifact, StubServer]:
    path = tmp_path / "two.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_))
    with StubServer(reply) as server:
        known = {"provider": "openai", "model": "stub", "base_url": server.openai_url, "max_retries": 0}
        critic = Critic.model_validate(known | settings.pop("critic", {}))
        config = label.Config(artifacts=tmp_path / "a", critic=critic, **settings)
        return label.run(config, label.Inputs(completions=Rows(path=str(path)))), server


def longer(messages: Messages) -> str:
    texts = read_back(messages[-1]["content"])
    assert texts is not None
    return f"Verdict: {'A' if len(texts[1]) > len(texts[2]) else 'B'}"


def verdicts(made: Artifact) -> list[Verdict]:
    return made.rows(label.VERDICTS, Verdict)


def test_both_orders_are_the_default_and_a_flip_is_a_tie_that_is_counted(tmp_path: Path) -> None:
    def sometimes_first(messages: Messages) -> str:
        return "Verdict: A" if "Why 0?" in messages[-1]["content"] else longer(messages)

    made, _ = run(tmp_path, sometimes_first, rows(4))
    assert made.record.counts["flips"] == 1
    assert made.record.counts["TIE"] == 1
    assert made.record.counts["LEFT"] == 3


def test_a_flip_can_be_no_verdict_at_all(tmp_path: Path) -> None:
    made, _ = run(tmp_path, lambda m: "Verdict: A", rows(1), on_flip="invalid", max_invalid=1.0, max_flip=1.0)
    assert verdicts(made)[0].outcome == "INVALID"


def test_a_critic_that_decides_by_the_place_is_stopped_with_counts_and_five_examples(tmp_path: Path) -> None:
    with pytest.raises(CriticError, match=r"8 of 8 pairs were decided by which completion was shown first") as caught:
        run(tmp_path, lambda m: "Verdict: A", rows(8))
    assert str(caught.value).count("'Verdict: A | Verdict: A'") == 5


def test_a_critic_that_cannot_be_read_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(CriticError, match=r"8 of 8 verdicts cannot be read \(allowed: max_invalid=0.05"):
        run(tmp_path, lambda m: "The first one, I think.", rows(8))


def test_a_pointwise_critic_is_asked_once_for_each_completion_however_many_pairs_it_is_in(tmp_path: Path) -> None:
    def points(messages: Messages) -> str:
        return f"Score: {len(messages[-1]['content'].split('<answer')[1]) % 10}"

    made, server = run(tmp_path, points, rows(1, ("a", "bb", "ccc")), template="pointwise")
    assert made.record.counts["verdicts"] == 3
    assert sum(server.asked.values()) == 3
    assert made.record.usage.requests == 3
    assert {v.orders for v in verdicts(made)} == {("left_alone", "right_alone")}
    assert all(v.outcome == "RIGHT" for v in verdicts(made))


def test_a_critic_held_to_a_schema_is_sent_it_and_one_that_cannot_be_is_not(tmp_path: Path) -> None:
    reply = '{"reason": "x", "verdict": "tie"}'
    made, server = run(tmp_path, lambda m: reply, rows(1), template="structured")
    assert verdicts(made)[0].outcome == "TIE"
    made, server = run(
        tmp_path, lambda m: reply, rows(1), template="structured", critic={"offers_json_schema": False}
    )
    assert verdicts(made)[0].outcome == "TIE"
    assert sum(server.asked.values()) == 2


def test_log_probabilities_become_the_probability_of_the_verdict(tmp_path: Path) -> None:
    made, _ = run(tmp_path, lambda m: "A", rows(3), template="letter", order="fixed", max_invalid=1.0)
    assert {v.orders for v in verdicts(made)} == {("right_first",)}
    for verdict in verdicts(made):
        if verdict.outcome != "INVALID":
            assert verdict.probability is not None
            assert (verdict.probability < 0.5) == (verdict.outcome == "RIGHT")
    assert any(v.probability is not None for v in verdicts(made))
    assert "replies cut or filtered" not in made.record.counts


def test_a_critic_without_log_probabilities_is_refused_before_it_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stub gives no log-probabilities, which letter reads"):
        run(tmp_path, lambda m: "A", rows(1), template="letter", critic={"offers_logprobs": False})


def test_a_completion_is_shown_whole_unless_a_limit_is_set_and_cuts_are_counted(tmp_path: Path) -> None:
    """The original judged the teacher's completions cut to 256 to 512 tokens, and said nothing."""
    seen: list[str] = []

    def reply(messages: Messages) -> str:
        seen.append(messages[-1]["content"])
        return longer(messages)

    long = "word " * 4000
    run(tmp_path, reply, rows(1, (long, "short")))
    assert all(long in text for text in seen)
    made, _ = run(tmp_path, reply, rows(1, (long, "short")), max_completion_chars=100)
    assert made.record.counts["pairs with a completion cut to max_completion_chars"] == 1
    assert "more characters are not shown]" in seen[-1]


# ---- evaluators of alpaca_eval ----------------------------------------------------------------------


@pytest.fixture
def evaluator(tmp_path: Path) -> Path:
    return evaluator_folder(tmp_path, "{instruction} (a) {output_1} (b) {output_2}", r"^\(a\)", r"^\(b\)")


def test_an_evaluator_names_the_model_its_prompt_and_its_decoding_at_once(evaluator: Path) -> None:
    config, _ = stages.get("label").configure(["completions=c", f"critic={evaluator}", "critic.model=gpt-10"])
    assert (config.critic.provider, config.critic.model) == ("openai", "gpt-10")
    assert config.critic.evaluator == str(evaluator)
    assert config.critic.api_key_env == "OPENAI_API_KEY"


def test_an_evaluator_is_asked_in_its_own_words_and_one_order(tmp_path: Path, evaluator: Path) -> None:
    seen: list[str] = []

    def reply(messages: Messages) -> str:
        seen.append(messages[-1]["content"])
        return "(a)"

    made, _ = run(tmp_path, reply, rows(4), critic={"evaluator": str(evaluator)})
    assert all(len(v.orders) == 1 for v in verdicts(made))
    for verdict in verdicts(made):
        first = verdict.pair.left if verdict.orders == ("left_first",) else verdict.pair.right
        assert verdict.outcome == ("LEFT" if verdict.orders == ("left_first",) else "RIGHT")
        assert any(f"(a) {first.text} (b)" in text for text in seen)


def test_an_edited_evaluator_is_another_one_and_a_moved_one_is_not(tmp_path: Path, evaluator: Path) -> None:
    def identity(folder: Path) -> Any:
        return Critic(
            provider="openai", model="m", base_url="http://localhost:9/v1", evaluator=str(folder)
        ).identity()

    before = identity(evaluator)
    moved = tmp_path / "elsewhere" / "mine"
    moved.parent.mkdir()
    evaluator.parent.rename(moved.parent / "x")
    assert identity(moved.parent / "x" / "mine") == before
    (moved.parent / "x" / "mine" / "prompt.txt").write_text("<|im_start|>user\n{instruction}{output_1}{output_2}")
    assert identity(moved.parent / "x" / "mine") != before


def test_a_critic_that_is_nowhere_says_how_to_get_alpaca_evals() -> None:
    with pytest.raises(ConfigError, match=r"no preset 'alpaca_eval_gpt44'.*evaluators of alpaca_eval are read from"):
        stages.get("label").configure(["completions=c", "critic=alpaca_eval_gpt44"])


def test_a_verdict_is_signed_by_the_model_and_the_way_it_was_asked(tmp_path: Path, evaluator: Path) -> None:
    made, _ = run(tmp_path, longer, rows(1))
    plain = verdicts(made)[0].critic
    made, _ = run(tmp_path, longer, rows(1), template="rubric")
    assert verdicts(made)[0].critic == f"{plain} (rubric)"
    made, _ = run(tmp_path, lambda m: "(a)", rows(1), critic={"evaluator": str(evaluator)})
    assert verdicts(made)[0].critic == f"{plain} (mine)"


def test_only_the_model_of_an_evaluator_signs_with_its_name(evaluator: Path) -> None:
    own = Critic(provider="openai", model="gpt-9", api_key_env="KEY", evaluator=str(evaluator))
    assert signature(own, load(str(evaluator)), "openai/gpt-9") == "mine"
    other = own.model_copy(update={"model": "gpt-10"})
    assert signature(other, load(str(evaluator)), "openai/gpt-10") == "openai/gpt-10 (mine)"
