"""A reward model as the critic of a road: trained on preferences, it labels, and agrees with what it was taught."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import reward_road
from running import tutelage
from tutelage.records import Preference, Verdict
from tutelage.stages.choosing import Choosing, preferences_of
from tutelage.store import Artifact

pytestmark = pytest.mark.slow


def test_the_command_labels_with_a_reward_model_that_agrees_with_what_it_was_taught(tmp_path: Path) -> None:
    road = reward_road.make(tmp_path, num_prompts=60, epochs=4)
    words = [f"completions={road.completions}", f"reward_model={road.trained.path}"]
    made = Artifact.open(tmp_path / tutelage(tmp_path, "label", *words).stdout.strip())
    verdicts = made.rows("verdicts.jsonl", Verdict)
    critic = f"reward-{road.trained.record.fingerprint[:8]}"
    assert {(v.critic, v.orders) for v in verdicts} == {(critic, ("left_alone", "right_alone"))}
    assert made.record.summary == {"critic": critic}
    assert (made.record.usage.requests, made.record.bill) == (0, None)
    assert made.record.inputs["reward_model"].artifact == road.trained.record.fingerprint
    scored = {c.id for v in verdicts for c in (v.pair.left, v.pair.right)}
    assert made.record.counts["completions scored"] == len(scored)
    for v in verdicts:
        left, right = map(float, v.replies)
        assert v.outcome == ("LEFT" if left > right else "RIGHT" if left < right else "TIE")
        assert v.probability == pytest.approx(1 / (1 + math.exp(right - left)))
    taught = {(p.chosen.id, p.rejected.id) for p in road.preferred.rows("preferences.jsonl", Preference)}
    said = preferences_of(verdicts, Choosing(), lambda what, num: None)
    found = {(p.chosen.id, p.rejected.id) for p in said}
    assert len(taught) > 20
    assert len(found & taught) > 0.8 * len(taught)

    preferred = Artifact.open(tmp_path / tutelage(tmp_path, "prefer", f"verdicts={made.path}").stdout.strip())
    assert preferred.record.counts["preferences"] == len(found)
