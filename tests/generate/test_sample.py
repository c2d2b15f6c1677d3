"""Sampling: exact texts, honest stop reasons, and going on where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tutelage.disk import read_rows
from tutelage.errors import DataError
from tutelage.generate import sample as module
from tutelage.generate.sample import PARTIAL, sample
from tutelage.generate.settings import Drawing
from tutelage.inputs import Model
from tutelage.records import Prompt
from tutelage.store import Work
from tutelage.train.checkpoint import load_encoder

MINIATURE = Model(path="miniature")
PROMPTS = [Prompt.of(f"Add {a} and {b}.") for a in range(1, 4) for b in range(1, 4)]
DRAWING = Drawing(temperature=1.0, top_p=1.0, max_tokens=12, batch_size=5)


def work(tmp_path: Path, name: str = "w") -> Work:
    made = Work(tmp_path, "sample", name, {"name": name})
    made.path.mkdir(parents=True)
    return made


def test_every_prompt_gets_its_samples_in_order(tmp_path: Path) -> None:
    made = sample(MINIATURE, PROMPTS, DRAWING, 2, work(tmp_path))
    assert [(c.prompt_id, c.index) for c in made] == [(p.id, i) for p in PROMPTS for i in range(2)]
    assert len({c.text for c in made}) > len(PROMPTS)


def test_the_same_seed_draws_the_same_and_another_seed_does_not(tmp_path: Path) -> None:
    one, two, other = (
        [c.text for c in sample(MINIATURE, PROMPTS, DRAWING.model_copy(update={"seed": s}), 1, work(tmp_path, n))]
        for s, n in ((0, "a"), (0, "b"), (1, "c"))
    )
    assert one == two
    assert one != other


def test_a_stopped_run_goes_on_after_its_last_whole_batch(tmp_path: Path, monkeypatch: Any) -> None:
    whole = sample(MINIATURE, PROMPTS, DRAWING, 2, work(tmp_path, "whole"))
    stopped, draw, calls = work(tmp_path, "stopped"), module.draw_batch, []

    def draw_and_stop(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return draw(*args)

    monkeypatch.setattr(module, "draw_batch", draw_and_stop)
    with pytest.raises(KeyboardInterrupt):
        sample(MINIATURE, PROMPTS, DRAWING, 2, stopped)
    path = stopped.path / PARTIAL
    path.write_text(path.read_text()[:-30])  # the kill tore the last line: its batch is drawn again
    calls.append(1)
    again = sample(MINIATURE, PROMPTS, DRAWING, 2, stopped)
    assert [c.text for c in again] == [c.text for c in whole]
    assert len(calls) == 4 + 3  # two batches, the stop, one mark of ours; then batches 2, 3 and 4
    assert path.exists()  # it goes when the artifact is finished, and not before


def test_a_sample_that_ran_into_the_limit_has_not_ended(tmp_path: Path) -> None:
    made = sample(MINIATURE, PROMPTS, DRAWING.model_copy(update={"max_tokens": 1}), 1, work(tmp_path))
    assert {c.stop_reason for c in made} == {"length"}
    assert all(c.usage.output_tokens == 1 for c in made)


def test_the_text_is_exactly_what_was_sampled(tmp_path: Path) -> None:
    encoder = load_encoder(MINIATURE)
    made = sample(MINIATURE, PROMPTS[:3], DRAWING, 1, work(tmp_path))
    for completion in made:
        assert "<|" not in completion.text
        ids = encoder._ids(completion.text)
        assert encoder.decode(ids) == completion.text


def test_temperature_0_is_greedy_whatever_the_seed(tmp_path: Path) -> None:
    greedy = DRAWING.model_copy(update={"temperature": 0.0})
    one = sample(MINIATURE, PROMPTS, greedy, 1, work(tmp_path, "a"))
    two = sample(MINIATURE, PROMPTS, greedy.model_copy(update={"seed": 5}), 1, work(tmp_path, "b"))
    assert [c.text for c in one] == [c.text for c in two]


def test_prompts_that_cannot_be_asked_are_counted(tmp_path: Path) -> None:
    long, special = Prompt.of("word " * 400), Prompt.of("hi <|end|> there")
    w = work(tmp_path)
    made = sample(MINIATURE, [long, PROMPTS[0], special], DRAWING, 1, w)
    assert len(made) == 1
    assert sorted(w.counts.values()) == [1, 1]
    assert any("longer than the context" in reason for reason in w.counts)
    assert any("special token" in reason for reason in w.counts)


def test_no_usable_prompt_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of 1 prompts can be sampled"):
        sample(MINIATURE, [Prompt.of("word " * 400)], DRAWING, 1, work(tmp_path))


def test_the_partial_file_holds_whole_records(tmp_path: Path, monkeypatch: Any) -> None:
    w = work(tmp_path)
    seen = []
    draw = module.draw_batch

    def spy(*args: Any) -> Any:
        seen.append(len(read_rows(w.path / PARTIAL, module.Completion)))
        return draw(*args)

    monkeypatch.setattr(module, "draw_batch", spy)
    sample(MINIATURE, PROMPTS, DRAWING, 1, w)
    assert seen == [0, 5]
