"""Pairs for an audit: known worth, and length that is not the same thing as worth."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from statistics import correlation

import pytest

from tutelage.errors import StoreError
from tutelage.miniature.commands import PairsConfig, write_pairs
from tutelage.miniature.oracle import grade
from tutelage.miniature.pairs import make_pairs


def test_each_row_has_two_texts_with_the_oracles_scores_and_its_preference() -> None:
    rows = make_pairs(200, seed=1)
    assert len({row["instruction"] for row in rows}) == 200
    for row in rows:
        assert row["output_1"] != row["output_2"]
        scores = [grade(row["instruction"], row[f"output_{i}"]) for i in (1, 2)]
        assert scores == [row["score_1"], row["score_2"]]
        assert row["preference"] == (1.5 if scores[0] == scores[1] else 1.0 + (scores[1] > scores[0]))
        assert row["generator_1"].startswith("miniature/")


def test_gaps_are_spread_around_nothing_and_lengths_are_not_what_they_follow() -> None:
    rows = make_pairs(800, seed=0)
    gaps = [row["score_2"] - row["score_1"] for row in rows]
    words = [len(row["output_2"].split()) - len(row["output_1"].split()) for row in rows]
    assert all(count > 100 for _, count in Counter(gaps).most_common(5))
    assert max(map(abs, gaps)) <= 3
    assert sum(abs(w) >= 4 for w in words) > 500
    assert abs(correlation(gaps, words)) < 0.5


def test_the_same_seed_makes_the_same_pairs_and_another_file_is_not_overwritten(tmp_path: Path) -> None:
    out = write_pairs(PairsConfig(out=tmp_path / "pairs.jsonl", num=20))
    assert [json.loads(line) for line in out.read_text().splitlines()] == make_pairs(20, seed=0)
    assert write_pairs(PairsConfig(out=out, num=20)) == out
    with pytest.raises(StoreError, match="holds something else"):
        write_pairs(PairsConfig(out=out, num=20, seed=1))
