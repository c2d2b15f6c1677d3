"""Evaluation while training: right numbers, once each, and training as if nothing had been."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

import tiny
from tutelage.generate.policy_samples import PolicySampler
from tutelage.generate.settings import Drawing, PolicyTraining
from tutelage.records import Prompt
from tutelage.train.encode import Encoder, Example
from tutelage.train.held_out import EVALUATIONS, SAMPLES, Evaluation, evaluate
from tutelage.train.loop import METRICS, Plan, Trainer
from tutelage.train.objectives import DPOObjective, SFTObjective
from tutelage.train.pairs import PairExample
from tutelage.train.scorer import LogpScorer
from tutelage.train.step_rows import append_rows, keep_rows
from tutelage.train.trackers import Trackers

ITEMS = [Example(str(i), f"p{i}", (1, 2, 3 + i), tuple(range(10 + i, 14 + i))) for i in range(10)]
HELD_OUT = [Example(f"h{i}", f"q{i}", (1, 2, 3 + i), tuple(range(20 + i, 22 + 2 * i))) for i in range(1, 6)]
PAIRS = [
    PairExample(str(i), a, b, reference_rejected=-20.0)
    for i, (a, b) in enumerate(zip(HELD_OUT, ITEMS[1:6], strict=True))
]
PROMPTS = [Prompt.of(text) for text in ("hello there", "What is the capital of France?", "the quick brown fox")]
SPECIAL = {"eos_token": "<|im_end|>", "pad_token": "<|pad|>", "bos_token": "<|im_start|>"}


def settings(**changed: Any) -> PolicyTraining:
    given: dict[str, Any] = {"lr": 1e-2, "epochs": 2, "batch_size": 4, "save_every_seconds": 0.0, "held_out": 0.5}
    return PolicyTraining(**given | changed)


class KilledError(Exception):
    """Stands for the end of the process."""


class DiesAfter:
    """An observer that ends the process when it is told of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def start(self, step: int) -> None: ...

    def after_step(self, step: int, row: dict[str, Any]) -> None:
        if step == self.step:
            raise KilledError


class SavesEveryStep(Trainer[Example]):
    """Tiny steps are shorter than saving; a trainer proper would not save after each."""

    def _save_is_due(self) -> bool:
        return True


def sampler(model: Any, config: PolicyTraining) -> PolicySampler:
    tokenizer = tiny.byte_level(**SPECIAL)
    tokenizer.chat_template = tiny.CHATML
    return PolicySampler(LogpScorer(model), Encoder(tokenizer), PROMPTS, config, lambda what, num: None)


def evaluation(model: Any, folder: Path, config: PolicyTraining, objective: Any = None) -> Evaluation[Example]:
    plan = Plan(len(ITEMS), config.batch_size, config.epochs, config.seed)
    samples = sampler(model, config) if config.eval_samples else None
    return Evaluation(
        LogpScorer(model), HELD_OUT, objective or SFTObjective(), config, plan, folder, Trackers({}), samples
    )


def train(
    folder: Path, *more: Any, model: Any = None, before: bool = False, trainer: Any = SavesEveryStep, **changed: Any
) -> tuple[Any, Evaluation[Example]]:
    """Train with evaluations; observers `more` come after the evaluation, or before it."""
    folder.mkdir(exist_ok=True)
    model = model or tiny.model("llama", 400).eval()
    config = settings(**changed)
    watching = evaluation(model, folder, config)
    observers = [*more, watching] if before else [watching, *more]
    run = trainer(LogpScorer(model), ITEMS, SFTObjective(), config, folder, observers)
    try:
        run.run("sft")
    finally:
        run.resume.finish()  # what was being written is on disk when the process ends
    return model, watching


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def steps_of(folder: Path) -> list[int]:
    return [row["step"] for row in rows_of(folder / EVALUATIONS)]


def weights(model: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# ---- the numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [1, 20, 10_000])
def test_an_evaluation_is_the_loss_of_all_items_as_one_batch_whatever_the_micro_batches(budget: int) -> None:
    scorer = LogpScorer(tiny.model("llama", 64).eval())
    whole, metrics = SFTObjective()(scorer, HELD_OUT, HELD_OUT)
    found = evaluate(SFTObjective(), scorer, HELD_OUT, settings(micro_batch_tokens=budget))
    assert found["eval/loss"] == pytest.approx(whole.item(), abs=1e-6)
    assert found["eval/nll_per_token"] == pytest.approx(metrics["nll_per_token"], abs=1e-6)


def test_of_pairs_every_metric_is_there_and_the_accuracy_under_a_name_of_its_own() -> None:
    scorer, objective = LogpScorer(tiny.model("llama", 64).eval()), DPOObjective("sigmoid", beta=0.1)
    _, metrics = objective(scorer, PAIRS, PAIRS)
    found = evaluate(objective, scorer, PAIRS, settings(micro_batch_tokens=20))
    named = {"loss", "accuracy", "perplexity/chosen", *metrics}
    assert found.keys() == {f"eval/{name}" for name in named}
    assert found["eval/accuracy"] == found["eval/rewards/accuracies"]
    right = [objective(scorer, [pair], [pair])[1]["rewards/accuracies"] for pair in PAIRS]
    assert found["eval/accuracy"] == pytest.approx(sum(right) / len(PAIRS))


def test_no_gradient_is_left_behind(tmp_path: Path) -> None:
    model = tiny.model("llama", 64).eval()
    evaluation(model, tmp_path, settings(eval_every=1)).start(0)
    assert all(p.grad is None for p in model.parameters())


# ---- when -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("every", "steps"), [(None, [0, 3, 6]), (4, [0, 4, 6]), (100, [0, 6]), (1, [*range(7)])])
def test_there_is_one_before_the_first_step_then_as_often_as_asked_and_one_after_the_last(
    tmp_path: Path, every: int | None, steps: list[int]
) -> None:
    _, watching = train(tmp_path, eval_every=every)
    rows = rows_of(tmp_path / EVALUATIONS)
    assert [row["step"] for row in rows] == steps
    assert [row["epoch"] for row in rows] == [step / 3 for step in steps]
    for row in rows:
        found = {name: value for name, value in row.items() if name not in ("step", "epoch")}
        assert watching.found_at(row["step"]) == found
    assert watching.found_at(99) == {}


def test_what_is_evaluated_after_a_step_are_the_weights_of_that_step(tmp_path: Path) -> None:
    model, _ = train(tmp_path)
    rows = rows_of(tmp_path / EVALUATIONS)
    assert rows[-1]["eval/loss"] == evaluate(SFTObjective(), LogpScorer(model), HELD_OUT, settings())["eval/loss"]
    untrained = tiny.model("llama", 400).eval()
    assert rows[0]["eval/loss"] == evaluate(SFTObjective(), LogpScorer(untrained), HELD_OUT, settings())["eval/loss"]


# ---- nothing about training changes -------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["rmsprop", "adamw"])
def test_weights_are_the_same_bit_for_bit_with_and_without_evaluations(tmp_path: Path, optimizer: str) -> None:
    """With dropout on, so that a random number drawn by an evaluation would show."""
    (tmp_path / "without").mkdir()
    without = tiny.model("gpt2", 400).train()
    torch.manual_seed(7)
    Trainer(LogpScorer(without), ITEMS, SFTObjective(), settings(optimizer=optimizer), tmp_path / "without").run(
        "sft"
    )
    watched = tiny.model("gpt2", 400).train()
    torch.manual_seed(7)
    drawing = Drawing(temperature=1.0, max_tokens=4)
    train(tmp_path / "with", model=watched, optimizer=optimizer, eval_every=1, eval_samples=3, eval_drawing=drawing)
    assert torch.equal(weights(without), weights(watched))
    with_, without_ = (
        [
            {k: v for k, v in row.items() if not k.endswith("_per_second")}
            for row in rows_of(tmp_path / name / METRICS)
        ]
        for name in ("with", "without")
    )
    assert with_ == without_


def test_dropout_is_off_while_evaluating_and_as_it_was_afterwards(tmp_path: Path) -> None:
    model = tiny.model("gpt2", 400).train()
    model.transformer.h[0].eval()
    modes = [module.training for module in model.modules()]
    watching = evaluation(model, tmp_path, settings())
    watching.start(0)
    assert [module.training for module in model.modules()] == modes
    assert (
        watching.found_at(0)["eval/loss"]
        == evaluate(SFTObjective(), LogpScorer(model.eval()), HELD_OUT, settings())["eval/loss"]
    )


def test_the_random_state_is_untouched(tmp_path: Path) -> None:
    model = tiny.model("llama", 400).eval()
    watching = evaluation(model, tmp_path, settings(eval_samples=2, eval_drawing=Drawing(max_tokens=3)))
    before = torch.get_rng_state()
    watching.start(0)
    assert torch.equal(torch.get_rng_state(), before)
    assert rows_of(tmp_path / SAMPLES)


def test_samples_leave_the_models_own_generation_settings_alone(tmp_path: Path) -> None:
    model = tiny.model("llama", 400).eval()
    model.generation_config.top_k = 17
    evaluation(model, tmp_path, settings(eval_samples=2, eval_drawing=Drawing(max_tokens=3))).start(0)
    assert model.generation_config.top_k == 17


# ---- killed and gone on -----------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 3, 6])
@pytest.mark.parametrize("before", [True, False])
def test_a_killed_run_ends_with_the_same_weights_and_the_same_evaluations(
    tmp_path: Path, step: int, before: bool
) -> None:
    """Killed after the save of a step: before its evaluation, or after it."""
    changed: dict[str, Any] = {"eval_every": 2, "eval_samples": 2, "eval_drawing": Drawing(max_tokens=3)}
    whole, _ = train(tmp_path / "whole", **changed)
    with pytest.raises(KilledError):
        train(tmp_path / "killed", DiesAfter(step), before=before, **changed)
    again, _ = train(tmp_path / "killed", **changed)
    assert torch.equal(weights(whole), weights(again))
    for name in (EVALUATIONS, SAMPLES):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_evaluation_done_before_the_kill_is_not_done_twice(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        train(tmp_path, DiesAfter(4), eval_every=2)
    row = (tmp_path / EVALUATIONS).read_text().splitlines()[2]
    marked = row.replace('"step": 4', '"step": 4, "mark": 1')
    (tmp_path / EVALUATIONS).write_text((tmp_path / EVALUATIONS).read_text().replace(row, marked))
    train(tmp_path, eval_every=2)
    assert [row.get("mark") for row in rows_of(tmp_path / EVALUATIONS)] == [None, None, 1, None]


def test_evaluations_of_steps_after_the_last_save_are_dropped_and_done_again(tmp_path: Path) -> None:
    train(tmp_path / "whole", eval_every=2, eval_samples=1, eval_drawing=Drawing(max_tokens=3))
    folder = tmp_path / "killed"
    changed: dict[str, Any] = {"eval_every": 2, "eval_samples": 1, "eval_drawing": Drawing(max_tokens=3)}
    with pytest.raises(KilledError):  # nothing was saved at all
        train(folder, DiesAfter(5), trainer=Trainer, save_every_seconds=1e9, **changed)
    assert steps_of(folder) == [0, 2, 4]
    with (folder / EVALUATIONS).open("a") as file:
        file.write('{"step": 6, "eval/lo')  # torn by the kill
    train(folder, **changed)
    for name in (EVALUATIONS, SAMPLES):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_samples_whose_evaluation_was_not_finished_are_dropped(tmp_path: Path) -> None:
    changed: dict[str, Any] = {"eval_samples": 2, "eval_drawing": Drawing(max_tokens=3)}
    append_rows(tmp_path / SAMPLES, [{"step": 0, "completion": "half an evaluation"}])
    train(tmp_path, **changed)
    assert [row["step"] for row in rows_of(tmp_path / SAMPLES)] == [0, 0, 3, 3, 6, 6]


# ---- samples ----------------------------------------------------------------------------------------


def test_samples_say_what_was_asked_what_was_written_and_how_it_ended(tmp_path: Path) -> None:
    _, watching = train(tmp_path, eval_samples=3, eval_drawing=Drawing(temperature=0, max_tokens=5, batch_size=2))
    rows = rows_of(tmp_path / SAMPLES)
    assert [row["step"] for row in rows] == [0, 0, 0, 3, 3, 3, 6, 6, 6]
    assert {(row["prompt_id"], row["prompt"]) for row in rows} == {(p.id, p.text) for p in PROMPTS}
    last = rows[-3:]
    assert watching.found_at(6)["eval/num_tokens"] == sum(row["num_tokens"] for row in last) / 3
    assert watching.found_at(6)["eval/ended"] == sum(row["stop_reason"] == "stop" for row in last) / 3
    assert all(row["num_tokens"] <= 5 for row in rows)


def test_a_policy_that_ends_its_turns_is_seen_to(tmp_path: Path) -> None:
    model = tiny.model("llama", 400).eval()
    config = settings(eval_samples=3, eval_drawing=Drawing(temperature=0, max_tokens=4))
    draw = sampler(model, config)
    with torch.no_grad():  # whatever comes before, the end of the turn is most likely
        model.model.norm.weight.zero_()
        model.lm_head = torch.nn.Linear(32, 400)
        model.lm_head.bias[draw.encoder.end_id] = 100.0
    watching = evaluation(model, tmp_path, config)
    watching.start(0)
    assert (watching.found_at(0)["eval/ended"], watching.found_at(0)["eval/num_tokens"]) == (1.0, 0.0)


def test_prompts_that_cannot_be_completed_are_passed_over_and_counted() -> None:
    counts: dict[str, int] = {}
    tokenizer = tiny.byte_level(**SPECIAL)
    tokenizer.chat_template = tiny.CHATML
    prompts = [Prompt.of("no <|im_end|> here"), Prompt.of("hello " * 200), *PROMPTS]
    config = settings(eval_samples=2, eval_drawing=Drawing(max_tokens=3))
    made = PolicySampler(
        LogpScorer(tiny.model("llama", 400)), Encoder(tokenizer), prompts, config, counts.__setitem__
    )
    assert {draw.prompt.id for draw in made.draws} == {p.id for p in PROMPTS[:2]}
    assert list(counts.values()) == [1, 1]
    assert all(what.startswith("skipped: ") and what.endswith("(as a sample at evaluations)") for what in counts)


# ---- the best ---------------------------------------------------------------------------------------


def with_losses(folder: Path, losses: dict[int, float | None]) -> Evaluation[Example]:
    append_rows(folder / EVALUATIONS, [{"step": step, "eval/loss": loss} for step, loss in losses.items()])
    made = evaluation(tiny.model("llama", 64), folder, settings(eval_every=1000))
    made.start(max(losses))
    return made


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ({0: 3.0, 2: 2.0, 4: 1.0}, 4),
        ({0: 3.0, 2: 1.0, 4: 2.0}, 2),
        ({0: 0.1, 2: 2.0, 4: 2.5}, 2),  # the untrained weights do not compete
        ({0: 3.0, 2: 2.0, 4: 2.0}, 2),
        ({0: 3.0, 2: None, 4: 2.0}, 4),
        ({0: 3.0, 2: None}, None),
        ({0: 3.0}, None),
    ],
)
def test_the_best_is_the_first_with_the_lowest_loss(
    tmp_path: Path, losses: dict[int, float | None], best: int | None
) -> None:
    made = with_losses(tmp_path, losses)
    assert made.best() == best


def test_a_metric_that_is_no_number_is_null_and_does_not_stop_training(tmp_path: Path) -> None:
    def objective(scorer: Any, micro: Any, batch: Any) -> Any:
        loss, metrics = SFTObjective()(scorer, micro, batch)
        return loss * math.nan, {**metrics, "importance_weights/rejected": math.inf}

    made = evaluation(tiny.model("llama", 64).eval(), tmp_path, settings(), objective)
    made.start(0)
    (row,) = rows_of(tmp_path / EVALUATIONS)
    assert (row["eval/loss"], row["eval/importance_weights/rejected"]) == (None, None)
    assert made.found_at(0)["eval/loss"] is None
    assert row["eval/nll_per_token"] > 0


# ---- rows by step -----------------------------------------------------------------------------------


@example([(0, "line\u2028separator"), (1, "next\x85line")], 0)
@examples(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 9), st.text()), max_size=8), st.integers(0, 9))
def test_rows_come_back_as_they_were_written_whatever_their_text(rows: list[tuple[int, str]], last: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        written = [{"step": step, "completion": text} for step, text in rows]
        append_rows(path, written)
        assert keep_rows(path, last) == [row for row in written if row["step"] <= last]
        assert keep_rows(path, 9) == [row for row in written if row["step"] <= last]
