"""What all stages share: `run(config, inputs) -> Artifact`, finished once, continued after a crash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

from tutelage.chat import ChatRequest, Endpoint
from tutelage.config import Group, StageConfig, build, fields_of, merge_words, split_word
from tutelage.disk import disk_errors
from tutelage.garbage import rarer_collection
from tutelage.inputs import Input, Several
from tutelage.progress import human_seconds, say
from tutelage.records import Bill, Usage
from tutelage.stages import ranks
from tutelage.store import Artifact, Made, Work, flatten


def in_words(bill: Bill) -> str:
    """Say what was paid for, what was not, and what may have been."""

    def of(usage: Usage, least: str = "") -> str:
        dollars = "price unknown" if bill.price is None else f"{least}${usage.dollars or 0.0:.4f}"
        return f"{usage.requests:,} replies, {usage.tokens:,} tokens, {dollars}"

    said = [f"paid {of(bill.paid)}"]
    if bill.reused.requests:
        said.append(f"reused what earlier work had paid: {of(bill.reused)}")
    if bill.lost.requests:
        said.append(f"perhaps billed in vain: {of(bill.lost, 'up to ').replace('replies', 'attempts')}")
    return "; ".join(said)


C = TypeVar("C", bound=StageConfig)
I = TypeVar("I", bound=Group)  # noqa: E741


@dataclass(frozen=True)
class Plan:
    """What a stage is going to ask of whom, for an estimate."""

    endpoint: Endpoint
    requests: Sequence[ChatRequest]


@dataclass(frozen=True)
class Stage(Generic[C, I]):
    """One arrow of the road: its name, its settings, its inputs, and the body that does the work.

    `body(config, inputs, work)` writes its files into `work.path` and returns what the record is to say.
    It is called only if no finished artifact of this fingerprint exists, and must go on from whatever an
    interrupted call left in `work.path`.
    """

    name: str
    config: type[C]
    inputs: type[I]
    body: Callable[[C, I, Work], Made]
    plan: Callable[[C, I], Plan | None] | None = None
    """What the body will ask over an API; None: the stage asks nobody."""
    trains: bool = False
    """True: the body can be computed by several processes together."""

    def work(self, config: C, inputs: I) -> Work:
        """Return the artifact that these settings and inputs make, finished or not."""
        return Work(config.artifacts, self.name, config.label, flatten(config.identity() | inputs.identity()))

    def run(self, config: C, inputs: I) -> Artifact:
        """Return the artifact for these settings and inputs, making it if it is not there yet."""
        if ranks.under_torchrun():
            return ranks.run_as_rank(self, config, inputs)
        if self.trains and config.devices > 1 and self.work(config, inputs).finished() is None:  # type: ignore[attr-defined]
            return ranks.launch(self, config, inputs)
        return self.make(config, inputs)

    def make(self, config: C, inputs: I, begins: Callable[[], None] = lambda: None) -> Artifact:
        """Do the same in this process; `begins` is called if there is something to do, before it is done."""
        work = self.work(config, inputs)
        done = work.finished()
        if done is not None:
            say(f"{self.name}: already made: {done.path}")
            return done
        say(f"{self.name}: {work.path} ({work.why()})")
        with work.locked(), disk_errors(work.path):
            done = work.finished()
            if done is not None:  # by another process, between our look and our lock
                return done
            begins()
            # A stage that asks makes records by the ten thousand; one that trains frees memory in cycles.
            with rarer_collection() if self.plan is not None else nullcontext():
                made = self.body(config, inputs, work)
            records = {
                key: record
                for name in type(inputs).model_fields
                if isinstance(value := getattr(inputs, name), Input | Several)
                for key, record in value.records(name).items()
            }
            artifact = work.finish(config.model_dump(mode="json"), records, made)
        counts = ", ".join(f"{num:,} {what}" for what, num in artifact.record.counts.items() if num)
        say(f"{self.name}: made {artifact.path} in {human_seconds(artifact.record.seconds)} ({counts})")
        if artifact.record.bill is not None:
            say(f"{self.name}: {in_words(artifact.record.bill)}")
        return artifact

    def configure(self, words: Sequence[str]) -> tuple[C, I]:
        """Turn words into settings and inputs.

        Raises:
            ConfigError: names every key that is wrong, with the nearest right one.
        """
        of_inputs = set(self.inputs.model_fields)
        input_words = [w for w in words if split_word(w)[0].partition(".")[0] in of_inputs]
        config_words = [w for w in words if w not in input_words]
        config_tree = merge_words(self.config, {}, config_words)
        input_tree = merge_words(self.inputs, {}, input_words)
        where = f"tutelage {self.name}"
        config = build(self.config, config_tree, where, also=[k for k, _ in fields_of(self.inputs)])
        return config, build(self.inputs, input_tree, where)
