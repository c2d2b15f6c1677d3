"""The client: the miniature's models stand where a model over HTTP stands."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from tutelage.chat.protocol import ChatReply, ChatRequest, Client
from tutelage.critic.evaluator import load
from tutelage.critic.parse import parse_verdict
from tutelage.errors import RequestError, UnknownModelError
from tutelage.miniature import MODELS, TEACHERS, MiniatureClient, judge, write
from tutelage.records import Message, Sampling

HOT = "What is the opposite of hot?"
RIGHT, WRONG = "The opposite of hot is cold.", "The opposite of hot is tall."


def ask(model: str, *messages: Message, seed: int | None = None, index: int = 0) -> ChatReply:
    client: Client = MiniatureClient(model)
    request = ChatRequest(messages=messages, sampling=Sampling(temperature=0.7, seed=seed), sample_index=index)
    return asyncio.run(client.complete(request))


def test_a_teacher_answers_with_its_own_draw() -> None:
    user = Message(role="user", content=HOT)
    assert ask("weak", user).text == write(TEACHERS["weak"], HOT, 0, 0)
    assert ask("strong", user, seed=5, index=2).text == write(TEACHERS["strong"], HOT, 5, 2)


def test_the_reply_says_what_it_cost_and_what_was_really_sampled_with() -> None:
    reply = ask("weak", Message(role="user", content=HOT), seed=3)
    assert (reply.stop_reason, reply.cached) == ("stop", False)
    assert reply.sampling == Sampling(seed=3)
    assert reply.usage.requests == 1
    assert reply.usage.dollars == 0.0
    assert reply.usage.input_tokens == 6
    assert reply.usage.output_tokens == len(reply.text.split())


def test_a_prompt_of_another_world_is_answered_politely() -> None:
    assert ask("strong", Message(role="user", content="Who wrote Faust?")).text == "I do not know."


@pytest.mark.parametrize("seed", [None, 7])
def test_the_critic_reads_the_texts_out_of_the_rendered_prompt(seed: int | None) -> None:
    messages = load("pairwise").template.fill(HOT, RIGHT, WRONG)
    text = ask("critic", *messages, seed=seed).text
    assert text == judge(HOT, RIGHT, WRONG, seed=1000 * (seed or 0))
    assert parse_verdict(text) == "FIRST"


def test_another_draw_of_a_noisy_critic_can_differ() -> None:
    messages = load("pairwise").template.fill(HOT, RIGHT, "Cold.")
    said = {parse_verdict(ask("critic_noisy", *messages, index=index).text) for index in range(20)}
    assert {"FIRST", "SECOND"} <= said


@pytest.mark.parametrize(
    ("teacher", "right"), [("weak", 0.87), ("weak_wide", 0.87), ("forum", 0.87), ("strong", 0.99)]
)
def test_a_teacher_that_is_shown_two_completions_judges_them_as_well_as_it_writes(teacher: str, right: float) -> None:
    """The right completion is five points better than the wrong one, and shown first."""
    messages = load("pairwise").template.fill(HOT, RIGHT, WRONG)
    said = [parse_verdict(ask(teacher, *messages, index=index).text) for index in range(400)]
    assert said.count("FIRST") / (400 - said.count("INVALID")) == pytest.approx(right, abs=0.06)


def test_a_teacher_is_no_copy_of_the_critic_that_is_as_good() -> None:
    messages = load("pairwise").template.fill(HOT, RIGHT, "Cold.")
    for one, other in (("strong", "critic"), ("weak", "critic_noisy"), ("weak", "forum")):
        draws = [[ask(name, *messages, index=index).text for index in range(20)] for name in (one, other)]
        assert draws[0] != draws[1]


def test_a_critic_that_finds_no_pair_says_which_template_it_reads() -> None:
    with pytest.raises(RequestError, match="pairwise"):
        ask("critic", Message(role="user", content=HOT))


def test_an_unknown_model_is_an_error_that_names_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(UnknownModelError) as caught:
        MiniatureClient("critic_unbaised")
    assert "did you mean 'critic_unbiased'" in str(caught.value)
    assert all(model in str(caught.value) for model in MODELS)


def test_a_client_signs_with_its_model() -> None:
    assert MiniatureClient("weak_wide").name == "miniature/weak_wide"
    assert asyncio.run(MiniatureClient("weak").close()) is None


def test_the_miniature_is_imported_without_torch() -> None:
    code = "import sys, tutelage.miniature; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
