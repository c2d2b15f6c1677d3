"""The default run against Figure 6 of the paper.

Read off the picture that the original notebook holds (dpo-rlaif, synthetic-rlaif.ipynb, its last cell; its x axis
runs to 100, ours to arm 99): the student's curve peaks at 40 (0.033), the teacher's at 80 (0.035), RLAIF at 51 to 52
(0.14; narrow: gone below 42 and above 65), SFT at about 80 (0.0305) with a floor of 0.003 under all other arms. The
learned reward, drawn from its minimum: 0.71 at arm 0, down to 0 at 28, up to 1.45 at 52, down again and flat at 0.72
from 80 on; the true reward is a straight line up. No seed was set there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tutelage.bandit.outcome import outcome
from tutelage.bandit.settings import Config


@pytest.fixture(scope="module", params=[0, 1], ids=["seed 0", "seed 1"])
def found(request: pytest.FixtureRequest) -> Any:
    return outcome(Config(seed=request.param))


def test_the_policies_peak_where_they_do_in_the_figure(found: Any) -> None:
    arm, chance = found["likeliest_arm"], {name: max(each) for name, each in found["policies"].items()}
    assert (arm["student"], arm["teacher"]) == (40, 80)
    assert arm["student"] < arm["rlaif"] < arm["teacher"]
    assert arm["rlaif"] == pytest.approx(51.5, abs=3)
    assert arm["sft"] == pytest.approx(80, abs=3)
    assert chance["student"] == pytest.approx(0.033, abs=0.001)
    assert chance["teacher"] == pytest.approx(0.035, abs=0.001)
    assert chance["rlaif"] == pytest.approx(0.14, abs=0.02)
    assert chance["sft"] == pytest.approx(0.0305, abs=0.002)


def test_feedback_stays_within_the_student_and_sft_keeps_a_floor_everywhere(found: Any) -> None:
    rlaif, sft = (np.array(found["policies"][name]) for name in ("rlaif", "sft"))
    assert rlaif[:42].max() < 0.005
    assert rlaif[66:].max() < 0.001
    assert sft[:40] == pytest.approx(0.003, abs=0.0004)


def test_the_learned_reward_rises_inside_the_students_samples_and_is_flat_outside(found: Any) -> None:
    reward = np.array(found["learned_reward"])
    drawn = reward - reward.min()
    assert drawn.argmin() == pytest.approx(28, abs=3)
    assert drawn.argmax() == pytest.approx(52, abs=3)
    assert drawn.max() == pytest.approx(1.45, abs=0.1)
    assert drawn[0] == pytest.approx(0.71, abs=0.05)
    assert drawn[80:] == pytest.approx(0.72, abs=0.05)
    assert (np.diff(reward[30:49]) > 0).all()


def test_policies_are_ordered_by_their_true_reward_as_in_the_figure(found: Any) -> None:
    reward = found["expected_reward"]
    assert reward["student"] + 5 < reward["rlaif"] < reward["sft"] - 5 < reward["teacher"] - 5
    assert list(np.diff([p["sft"] for p in found["sweep"]]) > 0) == [True] * 11
    assert 10 < found["crossing"] < 16


def test_the_sentences_follow_from_the_numbers() -> None:
    far = outcome(Config())["says"]
    assert far[0].startswith("Feedback lifts the student's expected reward from 40.0 to 51.9 (the best arm has 99)")
    assert far[0].endswith("SFT is ahead by 18.7.")
    assert "once the teacher's peak is 13.0 arms above the student's; this teacher's is 40.0 above" in far[1]
    assert "highest at arm 53 (0.75) and 0.00 at arm 99" in far[2]
    weak = Config(teacher_peak=20, reward_steps=0, sft_steps=2000)
    nothing = outcome(weak)["says"]
    assert nothing[0].startswith("Feedback hardly moves the student's expected reward from 40.0 to 40.0")
    assert nothing[1].startswith("SFT is ahead with every teacher of the sweep")
    assert nothing[2].startswith("Nothing was learnt from feedback")
    near = outcome(Config(student_peak=95, sft_steps=100))["says"]
    assert "feedback is ahead by" in near[0]
    assert near[1].startswith("Feedback is ahead with every teacher of the sweep, whose peaks go up to 0.0 arms")
