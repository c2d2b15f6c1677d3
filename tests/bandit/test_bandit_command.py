"""`tutelage bandit`: its files, its words, its refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tutelage.bandit.outcome import outcome
from tutelage.bandit.settings import Config
from tutelage.bandit.world import random_words
from tutelage.cli import main

FILES = ("bandit.html", "bandit.json", "bandit.png", "bandit.svg")
FEW = ["num_pairs=2000", "num_samples=2000", "reward_steps=200", "sft_steps=200"]


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("one", "two"):
        assert main(["bandit", f"out={tmp_path / folder}", "seed=5", "teacher_peak=75", *FEW]) == 0
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == list(FILES)
    one, two = ([(tmp_path / folder / name).read_bytes() for name in FILES] for folder in ("one", "two"))
    assert one == two
    assert one[2].startswith(b"\x89PNG")
    assert b"<svg" in one[3]
    assert "SFT is ahead" in capsys.readouterr().out
    few = {key: int(value) for key, _, value in (word.partition("=") for word in FEW)}
    other = outcome(Config(seed=6, teacher_peak=75, **few))
    assert json.loads(one[1])["learned_reward"] != other["learned_reward"]


def test_everything_lands_in_the_current_folder_and_the_json_holds_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bandit", "temperature=5", "beta=1", *FEW]) == 0
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "bandit.json").read_text("utf-8"))
    assert all(sentence in said for sentence in found["says"])
    assert found["settings"]["temperature"] == 5
    assert found["counts"]["pairs labelled"] + found["counts"]["pairs of one arm, without a label"] == 2000
    assert found["counts"]["labels that prefer the worse arm"] > 100
    assert found["expected_reward"]["rlaif"] == pytest.approx(np.arange(100) @ found["policies"]["rlaif"])
    for policy in found["policies"].values():
        assert sum(policy) == pytest.approx(1)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("teacher_peak=100", "teacher_peak: found 100; expected at most 99, the last arm"),
        ("bta=1", "bta: unknown key; did you mean beta?"),
        ("beta=0", "beta: found '0'"),
        ("label_noise=0.6", "label_noise: found '0.6'"),
        ("sft_lr=4", "sft_lr: found '4'"),
        ("num_arms=1", "num_arms: found '1'"),
        ("out=/dev/null/x", "/dev/null/x: cannot be written"),
    ],
)
def test_a_wrong_word_is_refused_in_one_message(word: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bandit", word]) == 2
    assert says in capsys.readouterr().err


EXTREMES: tuple[dict[str, float], ...] = (
    {"num_pairs": 1, "num_samples": 1, "student_width": 0.001, "student_peak": 40.5, "teacher_width": 0.001},
    {"beta": 0.001, "temperature": 1e-3, "reward_lr": 3.9, "sft_lr": 3.9, "num_pairs": 2000},
    {"num_arms": 2, "student_peak": 1, "teacher_peak": 0, "gap_step": 1000, "num_pairs": 1},
    {"num_arms": 200, "student_peak": 199, "student_width": 1, "beta": 1000, "label_noise": 0.5, "num_pairs": 9},
)


@pytest.mark.parametrize("words", EXTREMES, ids=["one pair", "steep", "two arms", "at the end"])
def test_extreme_settings_still_make_policies_of_numbers(words: dict[str, Any]) -> None:
    found = outcome(Config(reward_steps=200, sft_steps=200, **words))
    for policy in found["policies"].values():
        assert min(policy) >= 0
        assert sum(policy) == pytest.approx(1)
    assert all(np.isfinite(value) for value in found["kl_from_student"].values())
    assert all(sentence.endswith(".") for sentence in found["says"])


def test_what_there_is_nothing_to_draw_of_is_drawn_all_the_same(tmp_path: Path) -> None:
    nothing = ["num_arms=2", "student_peak=1", "teacher_peak=0", "num_pairs=1", "reward_steps=0", "sft_steps=0"]
    assert main(["bandit", f"out={tmp_path}", *nothing]) == 0
    assert (tmp_path / "bandit.png").stat().st_size > 10_000


def test_help_lists_every_setting_with_its_unit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bandit", "--help"]) == 0
    said = capsys.readouterr().out
    assert "teacher_width=300" in said
    assert "number [arms^2]" in said


def test_random_words_are_even_and_neighbours_and_seeds_have_nothing_to_do_with_each_other() -> None:
    words = random_words(0, 0, 400_000)
    for each in (words, random_words(1, 0, 400_000), random_words(0, 2**31, 400_000)):
        counts = np.bincount(each >> 22, minlength=1024)
        chi = ((counts - 400_000 / 1024) ** 2).sum() / (400_000 / 1024)
        assert abs(chi - 1023) < 5 * np.sqrt(2 * 1023)
    unit = words / 2**32 - 0.5
    for other in (np.roll(unit, 1), np.roll(unit, 3), random_words(1, 0, 400_000) / 2**32 - 0.5):
        assert abs((unit * other).mean()) < 5 / 12 / np.sqrt(400_000)
