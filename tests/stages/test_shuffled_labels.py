"""The control of a study: the same pairs, and labels that nobody meant."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verdicts import verdict

from tutelage.errors import ConfigError
from tutelage.records import Preference, Verdict
from tutelage.stages import prefer
from tutelage.stages.choosing import Choosing, preferences_of


def labels(*verdicts: Verdict, shuffled: bool = True, **settings: Any) -> tuple[list[Preference], Counter[str]]:
    """The preferences, and what was counted without what was counted zero times."""
    counts: Counter[str] = Counter()
    count = lambda what, num: counts.update({what: num})  # noqa: E731
    return preferences_of(verdicts, Choosing(shuffled=shuffled, **settings), count), +counts


def test_shuffled_labels_are_of_the_same_pairs_and_half_of_them_are_against_the_verdict() -> None:
    verdicts = [verdict("good > bad", prompt=f"p{i}") for i in range(400)]
    plain, _ = labels(*verdicts, max_pairs=300, shuffled=False)
    found, counts = labels(*verdicts, max_pairs=300)
    assert [(p.prompt_id, p.verdict_ids) for p in found] == [(p.prompt_id, p.verdict_ids) for p in plain]
    against = sum(p.chosen.text == "bad" for p in found)
    assert counts == {"dropped: more than max_pairs": 100, "labels drawn against the verdict": against}
    assert 115 <= against <= 185  # four standard deviations
    assert labels(*verdicts, max_pairs=300, seed=1)[0] != found


@given(st.permutations(range(20)), st.lists(st.booleans(), min_size=20, max_size=20))
def test_a_drawn_label_depends_neither_on_the_verdict_nor_on_the_order(order: list[int], won: list[bool]) -> None:
    found, _ = labels(*(verdict(f"a {'><'[won[i]]} b", prompt=f"p{i}") for i in order))
    straight, _ = labels(*(verdict("a > b", prompt=f"p{i}") for i in range(20)))
    assert {(p.prompt_id, p.chosen.text) for p in found} == {(p.prompt_id, p.chosen.text) for p in straight}


def test_a_drawn_label_has_no_probability_to_weigh_by() -> None:
    with pytest.raises(ConfigError, match=r"shuffled: found .*: needs weights=none"):
        prefer.STAGE.configure(["verdicts=v", "weights=probability", "shuffled=true"])
