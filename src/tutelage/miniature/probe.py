"""Has a base model learnt its world? Its loss does not tell; asking it does.

Two bases of nearly equal loss can differ by 19 points of win rate later on, because one of them has
not learnt to copy. So each family of tasks is asked in the forum's words, completed greedily, and the
solutions are compared with the right ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import torch

from tutelage.miniature.corpus import draw_forum_prompt, question
from tutelage.miniature.oracle import read
from tutelage.miniature.world import FAMILIES, Task

PASS_MEAN = 0.85
PASS_WORST = 0.6
"""Set for 40 questions a family: with 10, a family that is right 84 % of the time was seen at .50. A base
with a mean of .94 and one family at .53 gave students of 4 to 7 points of win rate less than one at .98."""
_PER_FAMILY = 40
_MAX_NEW_TOKENS = 40
"""The longest filler and statement take 33 tokens; what comes after does not matter here."""


@dataclass(frozen=True)
class Probe:
    """The share of right solutions in each family."""

    exact: dict[str, float]

    @property
    def mean(self) -> float:
        """The mean over families."""
        return sum(self.exact.values()) / len(self.exact)

    @property
    def worst(self) -> str:
        """The family with the smallest share, and the share."""
        name = min(self.exact, key=self.exact.__getitem__)
        return f"{name} {self.exact[name]:.2f}"

    @property
    def passed(self) -> bool:
        """True if the base is fit to be a student."""
        return self.mean >= PASS_MEAN and min(self.exact.values()) >= PASS_WORST

    def table(self) -> str:
        """Return one line per family."""
        rows = (*self.exact.items(), ("mean", self.mean))
        return "\n".join(f"{name:10} {share:.2f}" for name, share in rows)


def probe(model: Any, tokenizer: Any, per_family: int = _PER_FAMILY) -> Probe:
    """Ask the base model `per_family` questions of each family; the questions are always the same."""
    rng = Random("probe")
    tasks = [Task(f, f.draw(rng)) for f in FAMILIES.values() for _ in range(per_family)]
    openings = [question(draw_forum_prompt(rng, task)) for task in tasks]
    rows = tokenizer(openings, return_tensors="pt", padding=True, padding_side="left")
    model.eval()
    with torch.inference_mode():
        ids = model.generate(
            input_ids=rows["input_ids"],
            attention_mask=rows["attention_mask"],
            max_new_tokens=_MAX_NEW_TOKENS,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    texts = tokenizer.batch_decode(ids[:, rows["input_ids"].shape[1] :], skip_special_tokens=True)
    right = {name: 0 for name in FAMILIES}
    for task, text in zip(tasks, texts, strict=True):
        right[task.family.name] += read(task, text).correct
    return Probe({name: num / per_family for name, num in right.items()})
