"""What label and evaluate share where a reward model decides: pairs -> verdicts, and nobody is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from tutelage.config import Group
from tutelage.critic.scores import verdict_of_scores
from tutelage.errors import CriticError, DataError
from tutelage.extras import require
from tutelage.inputs import RewardModel
from tutelage.records import Pair, Prompt, Verdict
from tutelage.store import Work


class Scoring(Group):
    """How a reward model scores completions."""

    max_length: int | None = Field(
        None,
        ge=2,
        description="prompt and completion together; to more happens what the reward stage's truncation says, or "
        "else the completion is cut, and its end not scored; null: as in training, or else the model's context",
        json_schema_extra={"unit": "tokens"},
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the computation; auto: bfloat16 on a GPU, float32 on a CPU"
    )
    micro_batch_tokens: int = Field(
        8192,
        ge=1,
        description="padded tokens computed at once; lower it if memory runs out (changes rounding, nothing else)",
        json_schema_extra={"unit": "tokens", "runtime": True},
    )


def score_pairs(
    source: RewardModel,
    settings: Scoring,
    pairs: Sequence[Pair],
    prompts: Mapping[str, Prompt],
    work: Work,
    max_invalid: float,
) -> tuple[str, list[Verdict]]:
    """Return how the reward model signs, and a verdict on every pair.

    Each completion is scored once, however many pairs it is in. One that cannot be scored is counted under
    its reason, and its pairs are INVALID.

    Raises:
        ModelError: `source` is no reward model.
        DataError: the prompt of a pair is not among `prompts`.
        CriticError: more than the share `max_invalid` of the pairs are INVALID.
    """
    require("train", f"tutelage {work.stage}")
    from tutelage.train.reward_critic import score_completions

    completions = {c.id: c for pair in pairs for c in (pair.left, pair.right)}
    for completion in completions.values():
        if completion.prompt_id not in prompts:
            raise DataError(
                f"completion {completion.id} answers the prompt {completion.prompt_id}, which is not there"
            )
    scores = score_completions(
        source,
        prompts,
        list(completions.values()),
        settings.max_length,
        settings.micro_batch_tokens,
        settings.precision,
        work.count,
    )
    critic = source.author()
    verdicts = [verdict_of_scores(p, scores.get(p.left.id), scores.get(p.right.id), critic) for p in pairs]
    work.count("completions scored", len(scores))
    invalid = sum(v.outcome == "INVALID" for v in verdicts)
    if invalid > max_invalid * len(verdicts):
        counts = "; ".join(f"{num} {what}" for what, num in work.counts.items() if num)
        raise CriticError(
            f"{critic}: {invalid} of {len(verdicts)} pairs cannot be scored (allowed: max_invalid={max_invalid}); "
            f"{counts}"
        )
    return critic, verdicts
