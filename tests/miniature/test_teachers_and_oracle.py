"""Teachers are as good as their table says, and the oracle sees it in their words."""

from __future__ import annotations

from statistics import mean

import pytest

from tutelage.errors import DataError
from tutelage.miniature.oracle import grade
from tutelage.miniature.teachers import TEACHERS, write
from tutelage.miniature.world import make_prompts

HOT = "What is the opposite of hot?"
FILLER = "So, let us have a look at it together."


@pytest.mark.parametrize(
    ("completion", "score"),
    [
        ("The opposite of hot is cold. Both words are about touch. Good luck with it!", 10),
        ("The opposite of hot is cold. Both words are about touch.", 9),
        ("The opposite of hot is cold. Both words are about size.", 6),
        ("The opposite of hot is cold.", 7),
        ("Cold.", 6),
        ("cold", 6),
        (f"{FILLER} Cold.", 5),
        (f"{FILLER} {FILLER} {FILLER} Cold.", 4),
        ("The opposite of hot is tall.", 2),
        ("The opposite of hot is tall. Both words are about touch.", 4),
        ("Tall.", 1),
        (f"{FILLER} Tall. Both words are about size.", 0),
        ("The opposite of hot is cold. The opposite of hot is cold.", 6),
        ("The opposite of hot is tall. The opposite of hot is cold.", 1),
        ("The opposite of hot is cold. It was a dark and stormy night.", 6),
        ("The opposite of big is cold.", 0),
        ("Good luck with it! Good luck with it!", 1),
        ("", 0),
    ],
)
def test_the_oracle_grades_by_its_rubric(completion: str, score: float) -> None:
    assert grade(HOT, completion) == score


def test_a_completion_that_ran_into_the_limit_loses_one_point() -> None:
    assert grade(HOT, "Cold.", ended=False) == grade(HOT, "Cold.") - 1


def test_lists_and_requests_are_graded_word_by_word() -> None:
    counting = "Count the animals in this list: cow, lamp, dog."
    assert grade(counting, "The number of animals in the list is 2. I found the cow and the dog.") == 9
    assert grade(counting, "The number of animals in the list is 2. I found the cow and the lamp.") == 6
    polite = "Say this politely: wash the cup."
    assert grade(polite, "Please wash the cup.") == 6
    assert grade(polite, "A polite way to say it is: please wash the cup. The request is about the cup.") == 9
    assert grade(polite, "Please wash the key.") == 1


def test_the_oracle_refuses_prompts_of_another_world() -> None:
    with pytest.raises(DataError, match="miniature world"):
        grade("Who wrote Faust?", "Goethe.")
    with pytest.raises(DataError, match="own world"):
        write(TEACHERS["weak"], "Who wrote Faust?")


@pytest.mark.parametrize(("name", "expected"), [("weak", 5.0), ("weak_wide", 5.7), ("strong", 8.9), ("forum", 6.9)])
def test_a_teachers_mean_score_is_what_its_table_says(name: str, expected: float) -> None:
    prompts = make_prompts(1500, seed=0)
    scores = [grade(prompt, write(TEACHERS[name], prompt, seed)) for prompt in prompts for seed in (0, 1)]
    assert mean(scores) == pytest.approx(expected, abs=0.15)


def test_a_draw_depends_on_teacher_prompt_seed_and_index_and_on_nothing_else() -> None:
    prompts = make_prompts(50, seed=0)

    def draws(name: str, seed: int, index: int) -> list[str]:
        return [write(TEACHERS[name], prompt, seed, index) for prompt in prompts]

    first = draws("weak", 0, 0)
    assert draws("weak", 0, 0) == first
    assert draws("weak", 1, 0) != first
    assert draws("weak", 0, 1) != first
    assert draws("weak_wide", 0, 0) != first
    assert write(TEACHERS["weak"], HOT, 3, 2) == "Cold."  # the same on every machine, for ever
