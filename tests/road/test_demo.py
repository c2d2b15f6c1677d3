"""The demo, small: six arms, one table, one picture, the same numbers again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from running import tutelage

pytestmark = pytest.mark.slow

ARMS = [
    "SFT weak 10%",
    "SFT weak 100%",
    "SFT weak 10% + DPO",
    "SFT strong 10%",
    "SFT strong 100%",
    "SFT strong 10% + DPO",
]
SMALL = ("num_prompts=60", "num_evaluation=30", "max_invalid=0.3")


def test_the_demo_shows_every_arm_a_picture_and_what_follows_and_repeats_itself(tmp_path: Path) -> None:
    first = tutelage(tmp_path, "demo", *SMALL).stdout
    for arm in ARMS:
        assert re.search(rf"^{re.escape(arm)} +\d+\.\d +\d+\.\d +\d+\.\d\d +\d+\.\d$", first, re.MULTILINE), arm
    assert first.count(" against SFT ") == 3
    assert "no evidence" in first
    assert (tmp_path / "demo" / "win_rates.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "demo" / "results.txt").read_text().strip() == first.strip()
    assert tutelage(tmp_path, "demo", *SMALL).stdout == first  # nothing is made again
    assert tutelage(tmp_path, "demo", *SMALL, "out=again").stdout == first  # made anew, with the same result
