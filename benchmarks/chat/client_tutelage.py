"""Our own clients: `requests` (plain ones, from a generator) and `pairs` (the critic's whole path)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import aiohttp  # the layer imports it only when it asks; here it belongs to the imports

import tutelage
from measured import Measured, arguments
from texts import Texts, pairs, prompts
from tutelage.chat import ChatFailure, ChatReply, ChatRequest, Endpoint, HttpClient, ask_each
from tutelage.critic.evaluator import load
from tutelage.critic.parse import Heard
from tutelage.critic.questions import opinion_of, questions, verdict_of
from tutelage.garbage import rarer_collection
from tutelage.records import Completion, Message, Pair, Prompt, Sampling, Verdict

MAX_TOKENS = 256


async def ask(client: HttpClient, num: int) -> int:
    """Ask `num` prompts; return how many were answered."""
    sampling = Sampling(max_tokens=MAX_TOKENS)
    requests = (
        ChatRequest(messages=(Message(role="user", content=text),), sampling=sampling, sample_index=0)
        for text in prompts(num)
    )
    num_replies = 0

    def count(index: int, reply: ChatReply | ChatFailure) -> None:
        nonlocal num_replies
        num_replies += isinstance(reply, ChatReply)

    await asked(client, requests, count)
    return num_replies


async def judge(client: HttpClient, num: int) -> int:
    """Judge `num` pairs as `label` does with order=random; return how many verdicts could be read."""
    compared, prompts_of, evaluator = [], {}, load("pairwise")
    for texts in pairs(num):
        prompt, pair = records(texts)
        prompts_of[prompt.id] = prompt
        compared.append(pair)
    questions_asked = list(questions(compared, prompts_of, evaluator, "random", 0))
    sampling = Sampling(temperature=0.0, max_tokens=MAX_TOKENS)
    verdicts: list[Verdict] = []

    def hear(index: int, reply: ChatReply | ChatFailure) -> None:
        if isinstance(reply, ChatReply):
            heard = [Heard(reply.text, reply.stop_reason in ("stop", "unknown"), usage=reply.usage)]
            question = [questions_asked[index]]
            verdicts.append(verdict_of(question, heard, opinion_of(question, heard, evaluator), client.name))

    await asked(client, (ChatRequest(messages=q.messages, sampling=sampling) for q in questions_asked), hear)
    return sum(verdict.outcome in ("LEFT", "RIGHT") for verdict in verdicts)


def records(texts: Texts) -> tuple[Prompt, Pair]:
    """Return the records that the road would carry."""
    prompt = Prompt.of(texts.instruction)
    left = Completion(prompt_id=prompt.id, author="strong", text=texts.left)
    right = Completion(prompt_id=prompt.id, author="weak", text=texts.right)
    return prompt, Pair(left=left, right=right)


async def asked(
    client: HttpClient, requests: Iterable[ChatRequest], on_reply: Callable[[int, ChatReply | ChatFailure], None]
) -> None:
    """Ask, and close: a reply is durable only then, so the time that takes is part of the price."""
    try:
        await ask_each(client, requests, on_reply)
    finally:
        await client.close()


def main() -> None:
    """Run one client and report."""
    args = arguments(__doc__)
    run = {"requests": ask, "pairs": judge}[args.what]
    measured = Measured()
    endpoint = Endpoint(provider="openai", model="stub", base_url=f"{args.url}/v1", max_concurrency=args.connections)
    with rarer_collection():  # as the stages do
        num_replies = asyncio.run(run(HttpClient(endpoint, args.folder / "replies.jsonl"), args.num))
    measured.report(num_replies, tutelage=tutelage.__version__, aiohttp=aiohttp.__version__)


if __name__ == "__main__":
    main()
