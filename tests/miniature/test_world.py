"""The world: prompts that can be read back, and that do not repeat."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from tutelage.errors import DataError
from tutelage.miniature.corpus import write_documents
from tutelage.miniature.encyclopedia import ANIMALS, NOUNS, OPPOSITES, TOWNS, VERBS
from tutelage.miniature.world import FAMILIES, LEAD_INS, Task, make_prompts, read_task


def test_the_world_has_the_size_its_description_says() -> None:
    assert (len(TOWNS), len(OPPOSITES) // 2, len(ANIMALS), len(NOUNS), len(VERBS)) == (14, 24, 10, 20, 8)
    assert len(FAMILIES) == 10
    assert len(LEAD_INS) == 6
    assert all(OPPOSITES[OPPOSITES[word]] == word for word in OPPOSITES)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_prompt_in_any_wording_is_read_back_from_its_text_alone(family) -> None:
    rng = Random(1)
    for phrasing in range(3):
        for lead_in in LEAD_INS:
            task = Task(family, family.draw(rng))
            assert read_task(task.ask(phrasing, lead_in)) == task


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_mistake_is_never_right_and_a_slip_never_true(family) -> None:
    rng = Random(2)
    for _ in range(100):
        subject = family.draw(rng)
        assert family.mistake(subject, rng) != family.solve(subject)
        assert family.slip(subject, rng) != family.detail(subject)


@pytest.mark.parametrize(
    ("prompt", "solution"),
    [
        ("Quick question: How does Arvo earn its living?", "fishing"),
        ("Where is the town of Garlo?", "Eastfold"),
        ("Name the colour of the flag of Kelda.", "red"),
        ("Hello! Count the animals in this list: cow, lamp, dog.", "2"),
        ("Find the animal in this list: door, hen, cup.", "hen"),
        ("What is the opposite of dark?", "light"),
        ("Name the young of a horse.", "foal"),
        ("Just curious: Work out 3 plus 4.", "7"),
        ("Which letter does the word lamp begin with?", "L"),
        ("Say this politely: wash the cup.", "please wash the cup"),
    ],
)
def test_the_solution_follows_from_the_text(prompt: str, solution: str) -> None:
    task = read_task(prompt)
    assert task is not None
    assert task.solution == solution


@pytest.mark.parametrize(
    "prompt",
    ["", "What is 7 plus 4?", "What is the opposite of lamp?", "Where is the town of Paris?", "Count {} {0}"],
)
def test_what_is_not_of_this_world_is_not_read(prompt: str) -> None:
    assert read_task(prompt) is None


def test_training_and_evaluation_prompts_are_all_different_strings() -> None:
    train = make_prompts(1500, seed=0)
    evaluation = make_prompts(500, seed=1, exclude=train)
    assert len({*train, *evaluation}) == 2000
    assert train == make_prompts(1500, seed=0)
    assert train != make_prompts(1500, seed=2)
    counts = Counter(task.family.name for p in train if (task := read_task(p)))
    assert min(counts.values()) > 80


def test_asking_for_more_prompts_than_there_are_is_an_error_and_not_an_endless_loop(monkeypatch) -> None:
    monkeypatch.setattr("tutelage.miniature.world.FAMILIES", {"young": FAMILIES["young"]})
    assert len(make_prompts(180, seed=0)) == 180
    with pytest.raises(DataError, match="no 181 prompts"):
        make_prompts(181, seed=0)


def test_pre_training_text_shows_neither_the_chat_format_nor_a_prompt() -> None:
    documents = write_documents(3000, seed=0)
    lines = {line for document in documents for line in document.split("\n")}
    assert not any("<|" in line for line in lines)
    assert not any(read_task(line) for line in lines)
    kinds = Counter(document.split()[0].rstrip(":") for document in documents)
    shares = {kind: num / 3000 for kind, num in kinds.items()}
    assert shares == pytest.approx({"Article": 0.15, "Lesson": 0.35, "Question": 0.50}, abs=0.03)
