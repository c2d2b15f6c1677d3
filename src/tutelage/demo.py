"""Six arms on the miniature world: the paper's Figure 2 in small, offline, in minutes.

Every step is a real stage on a real Hugging Face model; only the teachers, the critic and the judge are
programs (see `tutelage.miniature`). It shows the mechanism; it is no evidence for the paper.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tutelage.chat import Endpoint
from tutelage.config import Group
from tutelage.data.rows import COMPLETIONS, PROMPTS
from tutelage.disk import disk_errors, write_atomically
from tutelage.generate.settings import Drawing
from tutelage.inputs import Model, Prompts
from tutelage.measure.win_rate import mean_and_error
from tutelage.miniature.commands import save_prompts
from tutelage.miniature.oracle import grade
from tutelage.miniature.world import make_prompts
from tutelage.pipeline import finished, model, rows
from tutelage.progress import human_seconds, say
from tutelage.records import Completion, Prompt
from tutelage.report.figures.bars import draw_bars
from tutelage.stages import dpo, evaluate, label, prefer, sample, sft, teach
from tutelage.stages.judging import Critic, Judging
from tutelage.stages.loss import Loss
from tutelage.store import Artifact

CriticName = Literal["critic", "critic_unbiased", "critic_biased", "critic_noisy"]
SMALL = 0.1
"""The paper's split: SFT on 10 % of the prompts, feedback on the other 90 %."""


class Config(Group):
    """The demo's few knobs."""

    out: Path = Field(Path("demo"), description="folder for everything the demo makes")
    seed: int = Field(
        0, ge=0, le=2**31 - 1, description="of the prompts, the teachers' draws, the training and the samples"
    )
    num_prompts: int = Field(1500, ge=40, description="training prompts", json_schema_extra={"unit": "prompts"})
    num_evaluation: int = Field(500, ge=10, description="held-out prompts", json_schema_extra={"unit": "prompts"})
    critic: CriticName = Field("critic", description="labels the student's completions")
    judge: CriticName = Field("critic_unbiased", description="decides the win rates")
    weak_teacher: Literal["weak", "weak_wide"] = Field(
        "weak", description="weak_wide at times shows every good habit"
    )
    max_invalid: float = Field(
        0.05, ge=0, le=1, description="largest share of unreadable verdicts; above it the demo stops"
    )


@dataclass(frozen=True)
class Arm:
    """One way to train the student, and how it did."""

    name: str
    teacher: str
    artifact: Artifact
    oracle: float
    words: float


class Demo:
    """The stages with the demo's settings, and the artifacts they share."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.prompts = Prompts(path=str(config.out / f"prompts-{config.num_prompts}-seed-{config.seed}.jsonl"))
        self.evaluation = Prompts(
            path=str(
                config.out / f"evaluation-{config.num_evaluation}-of-{config.num_prompts}-seed-{config.seed}.jsonl"
            )
        )
        train = make_prompts(config.num_prompts, config.seed)
        held_out = make_prompts(config.num_evaluation, config.seed + 1, train)
        save_prompts(Path(self.prompts.path), train)
        save_prompts(Path(self.evaluation.path), held_out)
        self.base = Model(path="miniature")

    def common(self, name: str) -> dict[str, Any]:
        """Label and folder of a stage."""
        return {"label": name, "artifacts": self.config.out / "artifacts"}

    def training(self, lr: float, epochs: int) -> dict[str, Any]:
        """Settings measured to work on this world; see docs/miniature.md."""
        return {
            "lr": lr,
            "epochs": epochs,
            "batch_size": 32,
            "optimizer": "adamw",
            "schedule": "cosine",
            "max_grad_norm": 1.0,
            "seed": self.config.seed,
            "max_length": 256,
            "micro_batch_tokens": 1024,
        }

    def teach(self, teacher: str, prompts: Prompts, name: str, seed: int) -> Artifact:
        """Completions of a miniature teacher."""
        endpoint = Endpoint(provider="miniature", model=teacher)
        config = teach.Config(**self.common(name), teacher=endpoint, seed=seed)
        return teach.run(config, teach.Inputs(prompts=prompts))

    def sft(self, name: str, taught: Artifact, share: float) -> Artifact:
        """A student of `share` of the prompts; fewer examples, more epochs."""
        training = self.training(1e-3, epochs=8 if share < 1 else 3)
        config = sft.Config(**self.common(name), **training, share=(0.0, share))
        return sft.run(config, sft.Inputs(model=self.base, completions=rows(taught)))

    def feedback(self, name: str, student: Artifact) -> Artifact:
        """Samples on the other prompts, the critic's verdicts, preferences, DPO."""
        common, critic = self.common(name), Critic(provider="miniature", model=self.config.critic)
        drawing = sample.Config(
            **common, temperature=1.0, top_p=1.0, max_tokens=64, seed=self.config.seed, share=(SMALL, 1.0)
        )
        sampled = sample.run(drawing, sample.Inputs(model=model(student), prompts=self.prompts))
        asking = label.Config(
            **common, critic=critic, order="random", seed=self.config.seed, max_invalid=self.config.max_invalid
        )
        labelled = label.run(asking, label.Inputs(completions=rows(sampled)))
        preferred = prefer.run(prefer.Config(**common), prefer.Inputs(verdicts=finished(labelled)))
        config = dpo.Config(**common, **self.training(5e-4, epochs=2), loss=Loss(beta=0.1))
        return dpo.run(config, dpo.Inputs(model=model(student), preferences=finished(preferred)))

    def evaluate(self, name: str, baseline: Artifact, **policy: Any) -> Artifact:
        """The win rate of a checkpoint (`model=`) or of completions against `baseline`."""
        config = evaluate.Config(
            **self.common(name),
            judge=Critic(provider="miniature", model=self.config.judge),
            judging=Judging(order="random", seed=self.config.seed + 1, max_invalid=self.config.max_invalid),
            drawing=Drawing(temperature=0.7, top_p=1.0, max_tokens=64, seed=self.config.seed),
        )
        return evaluate.run(config, evaluate.Inputs(baseline=rows(baseline), **policy))

    def arms(self) -> list[Arm]:
        """Run the six arms; what they share is made once."""
        seed, weak = self.config.seed, self.config.weak_teacher
        baseline = self.teach(weak, self.evaluation, "baseline", seed + 1000)
        trained: list[tuple[str, str, Artifact]] = []
        for family, teacher in (("weak", weak), ("strong", "strong")):
            taught = self.teach(teacher, self.prompts, family, seed)
            small = self.sft(f"sft-{family}-10", taught, SMALL)
            full = self.sft(f"sft-{family}-100", taught, 1.0)
            fed = self.feedback(f"dpo-{family}-10", small)
            trained.append((f"SFT {family} 10%", family, small))
            trained.append((f"SFT {family} 100%", family, full))
            trained.append((f"SFT {family} 10% + DPO", family, fed))
        return [
            self._arm(name, family, self.evaluate(name_of(name), baseline, model=model(artifact)))
            for name, family, artifact in trained
        ]

    @staticmethod
    def _arm(name: str, family: str, artifact: Artifact) -> Arm:
        texts = {p.id: p.text for p in artifact.rows(PROMPTS, Prompt)}
        completions = artifact.rows(COMPLETIONS, Completion)
        oracle = [grade(texts[c.prompt_id], c.text, c.stop_reason == "stop") for c in completions]
        words = [float(len(c.text.split())) for c in completions]
        return Arm(name, family, artifact, mean_and_error(oracle)[0], mean_and_error(words)[0])


def name_of(arm: str) -> str:
    """Return an arm's name as a label: `SFT weak 10% + DPO` -> `sft-weak-10-dpo`."""
    return "-".join("".join(c if c.isalnum() else " " for c in arm.lower()).split())


def run(config: Config) -> str:
    """Run or finish the demo; return the table, and write it with its picture into `config.out`."""
    started = time.monotonic()
    with disk_errors(config.out):
        demo = Demo(config)
    arms = demo.arms()
    by_name = {arm.name: arm for arm in arms}
    contests = [
        ("SFT weak 10% + DPO", "SFT weak 100%"),
        ("SFT strong 100%", "SFT weak 10% + DPO"),
        ("SFT strong 10% + DPO", "SFT strong 100%"),
    ]
    heads = []
    for first, second in contests:
        made = demo.evaluate(
            f"{name_of(first)}-vs-{name_of(second)}",
            by_name[second].artifact,
            completions=rows(by_name[first].artifact),
        )
        heads.append((first, second, made))
    text = "\n".join(
        [*_table(config, arms), "", *_heads(heads), "", *_samples(arms), "", *_conclusion(arms, heads), ""]
    )
    picture = config.out / "win_rates.png"
    _draw(arms, config, picture)
    with disk_errors(config.out):
        write_atomically(config.out / "results.txt", text)
    say(
        f"demo: made {picture}, {config.out / 'results.txt'} and {config.out / 'artifacts'} "
        f"in {human_seconds(time.monotonic() - started)}; "
        f"follow a prompt with: tutelage trace <id> artifacts={config.out / 'artifacts'}"
    )
    return text


def _rate(artifact: Artifact) -> tuple[float, float]:
    rate = artifact.record.win_rate
    assert rate is not None
    return rate.rate, rate.standard_error or 0.0


def _table(config: Config, arms: Sequence[Arm]) -> list[str]:
    num = arms[0].artifact.record.counts["prompts judged"]
    lines = [
        f"Win rate against fresh completions of the weak teacher, {num} held-out prompts "
        f"(critic {config.critic}, judge {config.judge}):",
        "",
        f"{'arm':<24}{'win rate %':>11}{'± SE':>7}{'oracle 0-10':>13}{'words':>8}",
    ]
    for arm in arms:
        rate, error = _rate(arm.artifact)
        lines.append(f"{arm.name:<24}{rate:>11.1f}{error:>7.1f}{arm.oracle:>13.2f}{arm.words:>8.1f}")
    return lines


def _heads(heads: Sequence[tuple[str, str, Artifact]]) -> list[str]:
    lines = ["Head to head on the same prompts (win rate of the first, ties half):"]
    for first, second, artifact in heads:
        rate, error = _rate(artifact)
        lines.append(f"  {first} against {second}: {rate:.1f} % ± {error:.1f}")
    return lines


def _samples(arms: Sequence[Arm]) -> list[str]:
    prompts = arms[0].artifact.rows(PROMPTS, Prompt)
    shown = [arms[i] for i in (1, 2, 4)]
    texts = [{c.prompt_id: c.text for c in arm.artifact.rows(COMPLETIONS, Completion)} for arm in shown]
    lines = ["Three prompts, side by side:"]
    for prompt in prompts[:3]:
        lines.append(f"  {prompt.text}  [{prompt.id}]")
        for arm, completions in zip(shown, texts, strict=True):
            lines.append(f"    {arm.name:<22} {completions.get(prompt.id, '(none)')}")
    return lines


def _conclusion(arms: Sequence[Arm], heads: Sequence[tuple[str, str, Artifact]]) -> list[str]:
    """The sentence that follows from the numbers, whatever they are."""
    feedback, feedback_error = _rate(heads[0][2])
    teacher, teacher_error = _rate(heads[1][2])
    return [
        f"{_against(feedback, feedback_error, 'Feedback on the weak student', 'SFT on all weak completions')}; "
        f"{_against(teacher, teacher_error, 'SFT on the strong completions', 'that feedback')}.",
        "Standard errors are over prompts, for one training run each; another seed may move an arm by more.",
        "The teachers, the critic and the judge are programs; this shows the mechanism and is no evidence "
        "for the paper's claim.",
    ]


def _against(rate: float, error: float, who: str, whom: str) -> str:
    if abs(rate - 50) <= 2 * error:
        return f"{who} cannot be told apart from {whom} ({rate:.1f} % ± {error:.1f})"
    return f"{who} {'beats' if rate > 50 else 'loses to'} {whom} ({rate:.1f} % ± {error:.1f})"


def _draw(arms: Sequence[Arm], config: Config, path: Path) -> None:
    bars = [(arm.name, *_rate(arm.artifact), arm.teacher) for arm in arms]
    draw_bars(
        bars,
        "What feedback adds in the miniature world",
        "win rate against the weak teacher (%)",
        f"Error bars: two standard errors over prompts. Seed {config.seed}. An illustration, not evidence.",
        path,
    )
