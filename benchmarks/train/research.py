"""The algorithm of the original research code (Sharma et al. 2024, built on Mitchell's DPO code), on one device.

Batches are padded to their longest sequence, chosen and rejected completions concatenated; logits of all positions
are made, cast to float32 and normalised; the reference is a second model in memory, asked at every step. Left out,
to its advantage: activation checkpointing, FSDP, logging. SFT's loss is divided by tokens, as the others' is (the
original's sum costs the same), so that the losses can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor

from metering import Meter, build
from workloads import Case, Item, Workload

Batch = dict[str, Tensor]


def padded(sequences: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], device: str) -> Batch:
    """Return ids, mask and labels (-100 on prompts and padding) of (prompt, completion), each (B, T)."""
    width = max(len(prompt) + len(completion) for prompt, completion in sequences)
    ids, mask = (torch.zeros(len(sequences), width, dtype=torch.long) for _ in range(2))
    labels = torch.full((len(sequences), width), -100)
    for row, (prompt, completion) in enumerate(sequences):
        start, end = len(prompt), len(prompt) + len(completion)
        ids[row, :end] = torch.tensor(prompt + completion)
        mask[row, :end] = 1
        labels[row, start:end] = torch.tensor(completion)
    return {"ids": ids.to(device), "mask": mask.to(device), "labels": labels.to(device)}


def logps(model: Any, batch: Batch) -> Tensor:
    """Return the summed log-probability of every completion, (B,), through the logits of all positions."""
    logits = model(input_ids=batch["ids"], attention_mask=batch["mask"], use_cache=False).logits.float()
    labels = batch["labels"][:, 1:].clone()
    logits = logits[:, :-1]
    is_label = labels != -100
    labels[~is_label] = 0
    per_token = torch.gather(logits.log_softmax(-1), 2, labels.unsqueeze(2)).squeeze(2)
    return (per_token * is_label).sum(-1)


def dpo_loss(policy: Any, reference: Any, items: Sequence[Item], workload: Workload, device: str) -> Tensor:
    """Return DPO's loss of one batch."""
    batch = padded([(item.prompt, item.completions[side]) for side in (0, 1) for item in items], device)
    chosen, rejected = logps(policy, batch).chunk(2)
    with torch.no_grad():
        reference_chosen, reference_rejected = logps(reference, batch).chunk(2)
    margin = (chosen - rejected) - (reference_chosen - reference_rejected)
    return -F.logsigmoid(workload.beta * margin).mean()


def sft_loss(policy: Any, items: Sequence[Item], device: str) -> Tensor:
    """Return SFT's loss of one batch."""
    batch = padded([(item.prompt, item.completions[0]) for item in items], device)
    return -logps(policy, batch).sum() / sum(len(item.completions[0]) for item in items)


def train(case: Case, workload: Workload, model: Any, meter: Meter) -> dict[str, Any]:
    """Train `model`; return the loss of every step and the norm of the gradient at the first."""
    items, losses, norms = workload.items(), [], []
    if case.precision != "float32":
        raise ValueError("the research code's algorithm is measured in float32")
    reference = build(workload, case.device).eval() if workload.objective == "dpo" else None
    with meter.part("train"):
        optimizer = torch.optim.RMSprop(model.parameters(), lr=workload.lr)
        model.train()
        for step in range(workload.epochs * workload.steps_per_epoch):
            at = step % workload.steps_per_epoch * workload.batch_size
            batch = items[at : at + workload.batch_size]
            if reference is None:
                loss = sft_loss(model, batch, case.device)
            else:
                loss = dpo_loss(model, reference, batch, workload, case.device)
            loss.backward()
            norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), workload.clip)))
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
    return {"losses": losses, "grad_norm": norms[0]}
