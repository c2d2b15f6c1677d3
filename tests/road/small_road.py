"""A small road on the miniature world: how to make one, and how to read what it made."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

# The world is small: many a held-out prompt is another with a greeting before it, so that only the same words count.
RECIPE = """
name: small
model: miniature
prompts: prompts.jsonl
evaluation: {prompts: evaluation.jsonl, baseline: baseline.jsonl}
leakage: {overlap: null}
teach: {teacher: miniature_weak}
sft: {share: [0, 0.4], lr: 1e-3, epochs: 2, batch_size: 8, optimizer: adamw, micro_batch_tokens: 512}
sample: {share: [0.4, 1], top_p: 1.0, max_tokens: 24}
label: {critic: miniature_critic, order: random, max_invalid: 0.3}
dpo: {loss: {beta: 0.1}, lr: 3e-4, epochs: 1, batch_size: 8, optimizer: adamw, micro_batch_tokens: 512}
reward: {held_out: 0.3, lr: 1e-3, batch_size: 8, optimizer: adamw}
evaluate:
  judge: miniature_critic_unbiased
  judging: {order: random, max_invalid: 0.3}
  drawing: {max_tokens: 24}
"""


def world(folder: Path, num: int = 60, num_evaluation: int = 20) -> Path:
    """Write prompts, held-out prompts, a baseline and the recipe."""
    from tutelage.chat import ChatRequest, ask
    from tutelage.miniature.client import MiniatureClient
    from tutelage.miniature.commands import save_prompts
    from tutelage.miniature.world import make_prompts
    from tutelage.records import Message

    train = make_prompts(num, 0)
    held_out = make_prompts(num_evaluation, 1, train)
    save_prompts(folder / "prompts.jsonl", train)
    save_prompts(folder / "evaluation.jsonl", held_out)
    requests = [ChatRequest(messages=(Message(role="user", content=p),), sample_index=7) for p in held_out]
    replies = ask(MiniatureClient("weak"), requests)
    rows = [
        {"prompt": p, "completion": r.text, "author": "weak"}  # type: ignore[union-attr]
        for p, r in zip(held_out, replies, strict=True)
    ]
    (folder / "baseline.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def record(artifact: Path) -> Any:
    """The record of an artifact folder."""
    return json.loads((artifact / "record.json").read_text())


def stages_said(narration: str) -> list[str]:
    """The stages that were really run, in order."""
    return re.findall(r"^(\w+): made ", narration, re.MULTILINE)
