"""A short road to a reward model on the miniature world: completions, a critic's preferences on them, training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.chat import ChatReply, ChatRequest, ask
from tutelage.inputs import Finished, Model, Rows
from tutelage.miniature.client import MiniatureClient
from tutelage.miniature.world import make_prompts
from tutelage.records import Message
from tutelage.stages import label, prefer, reward
from tutelage.stages.judging import Critic
from tutelage.store import Artifact

CRITIC = Critic(provider="miniature", model="critic_unbiased")


@dataclass(frozen=True)
class RewardRoad:
    """Where the completions are, and what was made of them; the reward model was trained on all preferences."""

    folder: Path
    completions: Path
    preferred: Artifact
    trained: Artifact


def make(folder: Path, num_prompts: int, epochs: int) -> RewardRoad:
    """Train a reward model on what a critic says of two teachers' completions of `num_prompts` prompts."""
    path = folder / "completions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in _rows(num_prompts)))
    common: dict[str, Any] = {"artifacts": folder / "artifacts"}
    labelled = label.run(
        label.Config(**common, critic=CRITIC, max_invalid=0.5), label.Inputs(completions=Rows(path=str(path)))
    )
    preferred = prefer.run(prefer.Config(**common), prefer.Inputs(verdicts=Finished(path=str(labelled.path))))
    trained = reward.run(
        reward.Config(**common, held_out=0, lr=1e-3, epochs=epochs, batch_size=8, optimizer="adamw", max_length=120),
        reward.Inputs(model=Model(path="miniature"), preferences=Finished(path=str(preferred.path))),
    )
    return RewardRoad(folder, path, preferred, trained)


def _rows(num_prompts: int) -> list[dict[str, str]]:
    asked = [ChatRequest(messages=(Message(role="user", content=p),)) for p in make_prompts(num_prompts, 0)]
    return [
        {"prompt": request.messages[0].content, "completion": reply.text, "author": teacher}
        for teacher in ("weak", "strong")
        for request, reply in zip(asked, ask(MiniatureClient(teacher), asked), strict=True)
        if isinstance(reply, ChatReply)
    ]
