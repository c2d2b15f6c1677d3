"""`split`: prompts divided once, frozen, and obeyed by every stage that reads rows about them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tutelage.chat import Endpoint
from tutelage.data.leaks import Leakage
from tutelage.data.pairs import read_pairs
from tutelage.data.split import PARTS, InPart
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Finished, Model, Pairs, Prompts, Rows, Source
from tutelage.records import Completion, Pair, Preference, Prompt, Verdict
from tutelage.stages import dpo, evaluate, get, importing, label, prefer, reward, sample, sft, splitting, teach
from tutelage.stages.judging import Critic, Judging
from tutelage.store import Artifact, Made, Work

PROMPTS = [Prompt.of(f"Add {a} and {b}.") for a in range(1, 9) for b in range(1, 6)]
TRAIN: dict[str, Any] = {"epochs": 1, "batch_size": 8, "max_length": 60, "held_out": 0.0}
CRITIC = Critic(provider="miniature", model="critic_unbiased")


@pytest.fixture
def prompts(write_rows: Callable[[str, list[Any]], Path]) -> Path:
    return write_rows("p.jsonl", [{"prompt": p.text} for p in PROMPTS])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A split of PROMPTS, a quarter each."""
    folder = tmp_path_factory.mktemp("split")
    path = folder / "p.jsonl"
    path.write_text("".join(json.dumps({"prompt": p.text}) + "\n" for p in PROMPTS))
    sizes: dict[str, Any] = dict.fromkeys(PARTS, 0.25)
    config = splitting.Config(artifacts=folder, **sizes)
    return splitting.run(config, splitting.Inputs(prompts=Prompts(path=str(path))))


def in_part(made: Artifact, part: str) -> set[str]:
    return {row.prompt_id for row in made.rows("parts.jsonl", InPart) if row.part == part}


def run(tmp_path: Path, prompts: Path, evaluated: Path | None = None, **sizes: Any) -> Artifact:
    asked = None if evaluated is None else Prompts(path=str(evaluated))
    inputs = splitting.Inputs(prompts=Prompts(path=str(prompts)), evaluated=asked)
    return splitting.run(splitting.Config(artifacts=tmp_path / "a", **sizes), inputs)


# ---- the artifact -----------------------------------------------------------------------------------


def test_it_writes_all_prompts_in_their_order_and_the_part_of_each(prompts: Path, tmp_path: Path) -> None:
    split = run(tmp_path, prompts, sft=0.5, preference=0.25)
    assert split.path.parent.name == "0-split"
    assert [p.id for p in split.rows("prompts.jsonl", Prompt)] == [p.id for p in PROMPTS]
    rows = split.rows("parts.jsonl", InPart)
    assert [row.prompt_id for row in rows] == [p.id for p in PROMPTS]
    found = Counter(row.part for row in rows)
    assert split.record.counts == {
        "prompts for sft": found["sft"],
        "prompts for preference": found["preference"],
        "prompts for validation": 0,
        "prompts for evaluation": 0,
        "prompts in no part": found[None],
    }
    assert split.record.summary["parts"]["sft"] == {"prompts": found["sft"], "groups": found["sft"]}
    assert split.record.summary["largest_group"] == 1


def test_the_same_prompts_in_another_order_are_another_artifact_with_the_same_parts(
    prompts: Path, tmp_path: Path, write_rows: Callable[[str, list[Any]], Path]
) -> None:
    other = write_rows("o.jsonl", [{"prompt": p.text} for p in [*PROMPTS[::-1], Prompt.of("Add 9 and 9.")]])
    first, second = run(tmp_path, prompts), run(tmp_path, other)
    assert first.path != second.path
    for part in ("sft", "preference"):
        assert in_part(first, part) <= in_part(second, part)


def test_a_second_call_finds_the_split_and_changes_nothing(prompts: Path, tmp_path: Path) -> None:
    first = run(tmp_path, prompts)
    before = (first.path / "parts.jsonl").stat().st_mtime_ns
    assert run(tmp_path, prompts) == first
    assert (first.path / "parts.jsonl").stat().st_mtime_ns == before


def test_a_size_written_in_two_ways_is_one_split(prompts: Path, tmp_path: Path) -> None:
    words = [f"prompts={prompts}", f"artifacts={tmp_path}"]
    config, _ = get("split").configure([*words, "sft=.10", "validation=0", "evaluation=010"])
    typed, _ = get("split").configure([*words, "sft=0.1", "evaluation=10"])
    assert config == typed
    assert config.identity() == splitting.Config(evaluation=10).identity()
    with pytest.raises(ConfigError, match=r"sft: found '1': 1 may be one prompt or all of them"):
        get("split").configure([*words, "sft=1"])


def test_prompts_that_come_twice_are_divided_once_and_counted(
    tmp_path: Path, write_rows: Callable[[str, list[Any]], Path]
) -> None:
    path = write_rows("p.jsonl", [{"prompt": p.text} for p in [*PROMPTS, *PROMPTS]])
    split = run(tmp_path, path)
    assert split.record.counts["skipped: the same prompt again"] == len(PROMPTS)
    assert len(split.rows("parts.jsonl", InPart)) == len(PROMPTS)


def test_a_prompt_that_is_evaluated_elsewhere_is_in_no_part(
    prompts: Path, tmp_path: Path, write_rows: Callable[[str, list[Any]], Path]
) -> None:
    evaluated = write_rows("e.jsonl", [{"instruction": PROMPTS[3].text}, {"instruction": "Sing."}])
    with pytest.raises(
        DataError, match=r"p\.jsonl: 1 of 40 training prompts are evaluated too \(1 exact\).*\n.*Add 1 and 4\."
    ):
        run(tmp_path, prompts, evaluated)
    assert run(tmp_path, prompts, write_rows("f.jsonl", [{"instruction": "Sing."}]))


def test_what_is_evaluated_elsewhere_can_be_left_out_and_is_counted(
    prompts: Path, tmp_path: Path, write_rows: Callable[[str, list[Any]], Path]
) -> None:
    evaluated = write_rows("e.jsonl", [{"instruction": PROMPTS[3].text}, {"instruction": PROMPTS[5].text.upper()}])
    split = run(tmp_path, prompts, evaluated, leakage=Leakage(action="remove"))
    assert {p.id for p in PROMPTS} - {p.id for p in split.rows("prompts.jsonl", Prompt)} == {
        PROMPTS[3].id,
        PROMPTS[5].id,
    }
    assert split.record.counts["left out: prompts that are evaluated (exact)"] == 1
    assert split.record.counts["left out: prompts that are evaluated (normalised)"] == 1


def test_what_is_nearly_a_prompt_of_the_part_for_evaluation_is_in_no_part(
    tmp_path: Path, write_rows: Callable[[str, list[Any]], Path]
) -> None:
    texts = [f"Please {p.text[:-1]} and then {n} times as much again" for n, p in enumerate(PROMPTS)]
    rows = [{"prompt": f"{text}{more}."} for text in texts for more in ("", ". Thank you very much")]
    path = write_rows("p.jsonl", rows)
    sizes: dict[str, Any] = {"sft": 0.25, "preference": 0.5, "evaluation": 0.25}
    with pytest.raises(DataError, match=r"p\.jsonl: \d+ of \d+ training prompts are evaluated too \(\d+ near\)"):
        run(tmp_path, path, **sizes)
    split = run(tmp_path, path, leakage=Leakage(action="remove"), **sizes)
    texts_of = {p.id: p.text for p in split.rows("prompts.jsonl", Prompt)}
    measured = {texts_of[i] for i in in_part(split, "evaluation")}
    learnt = {texts_of[i] for part in ("sft", "preference") for i in in_part(split, part)}
    assert measured
    assert not any(a in b or b in a for a in {m[:-1] for m in measured} for b in {text[:-1] for text in learnt})
    assert split.record.counts["left out: prompts that are evaluated (near)"] > 0
    everything = run(tmp_path, path, leakage=Leakage(action="allow"), **sizes)
    assert measured == {texts_of[i] for i in in_part(everything, "evaluation")}


def test_a_count_that_cannot_be_filled_says_so(
    tmp_path: Path, write_rows: Callable[[str, list[Any]], Path], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("TUTELAGE_QUIET", raising=False)
    again = [{"role": "assistant", "content": "?"}, {"role": "user", "content": "Again."}]
    talks = [[{"role": "user", "content": p.text}, *again[: 2 * n]] for p in PROMPTS for n in (0, 1)]
    split = run(tmp_path, write_rows("p.jsonl", [{"prompt": talk} for talk in talks]), evaluation=7)
    assert split.record.counts["prompts for evaluation"] == 6
    assert split.record.summary["parts"]["evaluation"] == {"prompts": 6, "groups": 3}
    assert (
        "note: evaluation is smaller than 7: conversations that begin alike stay together" in capsys.readouterr().err
    )


# ---- every stage obeys it ---------------------------------------------------------------------------


@pytest.fixture
def of_all(made: Artifact, tmp_path: Path) -> Callable[..., Any]:
    """Write an artifact of a stage about all prompts; return it as an input that takes one part."""

    def write(stage: str, part: str | None = "sft", kind: Any = Finished, **files: Any) -> Any:
        work = Work(tmp_path / "a", stage, "run", {})
        if work.finished() is None:
            work.path.mkdir(parents=True, exist_ok=True)
            work.write("prompts.jsonl", PROMPTS)
            for name, rows in files.items():
                work.write(f"{name}.jsonl", rows)
            work.finish({}, {}, Made(summary={"critic": "c", "both_orders": False}))
        return kind(path=str(work.path), part=part, part_of=str(made.path) if part else None)

    return write


GOOD, BAD = (
    [Completion(prompt_id=p.id, author=text, text=text, stop_reason="stop") for p in PROMPTS]
    for text in ("It is a sum.", "No.")
)
VERDICTS = [
    Verdict(pair=Pair(left=a, right=b), orders=("left_first",), outcome="LEFT", critic="c", replies=("A",))
    for a, b in zip(GOOD, BAD, strict=True)
]
PREFERENCES = [
    Preference(prompt_id=p.id, chosen=a, rejected=b, verdict_ids=("v",))
    for p, a, b in zip(PROMPTS, GOOD, BAD, strict=True)
]


def ids(made: Artifact, name: str = "prompts.jsonl") -> set[str]:
    """The prompts that an artifact's rows are about."""
    rows = [json.loads(line) for line in (made.path / name).read_text().splitlines()]
    return {row.get("prompt_id", row["id"]) for row in rows}


def test_teach_asks_about_one_part(made: Artifact, tmp_path: Path) -> None:
    config = teach.Config(artifacts=tmp_path, teacher=Endpoint(provider="miniature", model="weak"))
    inputs = teach.Inputs(prompts=Prompts(path=str(made.path), part="sft"))
    plan = teach.plan(config, inputs)
    assert plan is not None
    assert len(plan.requests) == len(in_part(made, "sft"))
    assert ids(teach.run(config, inputs)) == in_part(made, "sft")


def test_teach_imports_the_completions_of_one_part(
    made: Artifact, tmp_path: Path, write_rows: Callable[[str, list[Any]], Path]
) -> None:
    path = write_rows("c.jsonl", [{"prompt": p.text, "completion": "x", "author": "me"} for p in PROMPTS])
    asked = Rows(path=str(path), part="sft", part_of=str(made.path))
    imported = teach.run(teach.Config(artifacts=tmp_path), teach.Inputs(completions=asked))
    assert ids(imported) == ids(imported, "completions.jsonl") == in_part(made, "sft")
    left_out = len(PROMPTS) - len(in_part(made, "sft"))
    assert imported.record.counts["left out: rows of prompts of other parts of the split"] == left_out
    assert imported.record.inputs["completions.part_of"].artifact == made.record.fingerprint


def test_import_takes_one_part(made: Artifact, tmp_path: Path, write_rows: Callable[[str, list[Any]], Path]) -> None:
    path = write_rows("c.jsonl", [{"prompt": p.text, "completion": "x", "author": "me"} for p in PROMPTS])
    asked = Source(path=str(path), part="validation", part_of=str(made.path))
    imported = importing.run(importing.Config(artifacts=tmp_path), importing.Inputs(rows=asked))
    assert ids(imported) == ids(imported, "completions.jsonl") == in_part(made, "validation")


def test_a_split_of_a_split_divides_one_part(made: Artifact, tmp_path: Path) -> None:
    inputs = splitting.Inputs(prompts=Prompts(path=str(made.path), part="preference"))
    halves = splitting.run(splitting.Config(artifacts=tmp_path, sft=0.5, preference=0.5, seed=1), inputs)
    assert in_part(halves, "sft") | in_part(halves, "preference") == in_part(made, "preference")
    assert in_part(halves, "sft")
    assert in_part(halves, "preference")


def test_sft_trains_on_one_part(of_all: Callable[..., Any], made: Artifact, tmp_path: Path) -> None:
    asked = of_all("teach", "sft", Rows, completions=GOOD)
    trained = sft.run(
        sft.Config(artifacts=tmp_path, **TRAIN), sft.Inputs(model=Model(path="miniature"), completions=asked)
    )
    assert ids(trained, "trained.jsonl") == in_part(made, "sft")
    assert trained.record.counts["left out: completions of other prompts"] == len(PROMPTS) - len(in_part(made, "sft"))


def test_sample_draws_for_one_part(made: Artifact, tmp_path: Path) -> None:
    config = sample.Config(artifacts=tmp_path, num_samples=1, max_tokens=2, top_p=1.0)
    asked = sample.Inputs(model=Model(path="miniature"), prompts=Prompts(path=str(made.path), part="preference"))
    assert ids(sample.run(config, asked)) == in_part(made, "preference")


def test_label_judges_one_part_of_both_its_inputs(of_all: Callable[..., Any], made: Artifact, tmp_path: Path) -> None:
    config = label.Config(artifacts=tmp_path, critic=CRITIC, order="random", max_invalid=1.0)
    both = of_all("sample", "preference", Rows, completions=[*GOOD, *BAD])
    labelled = label.run(config, label.Inputs(completions=both))
    assert {v.prompt_id for v in labelled.rows("verdicts.jsonl", Verdict)} == in_part(made, "preference")
    one, other = of_all("teach", "sft", Rows, completions=GOOD), of_all("sample", None, Rows)
    assert {v.prompt_id for v in label.run(config, label.Inputs(completions=one, against=other)).rows(
        "verdicts.jsonl", Verdict)} == in_part(made, "sft")  # fmt: skip


def test_prefer_takes_the_verdicts_of_one_part(of_all: Callable[..., Any], made: Artifact, tmp_path: Path) -> None:
    asked = of_all("label", "preference", verdicts=VERDICTS)
    chosen = prefer.run(prefer.Config(artifacts=tmp_path), prefer.Inputs(verdicts=asked))
    for name in ("prompts.jsonl", "preferences.jsonl", "completions.jsonl"):
        assert ids(chosen, name) == in_part(made, "preference")
    left_out = len(PROMPTS) - len(in_part(made, "preference"))
    assert chosen.record.counts["left out: verdicts of other prompts"] == left_out
    assert chosen.record.inputs["verdicts.part_of"].artifact == made.record.fingerprint


@pytest.mark.parametrize("stage", [dpo, reward])
def test_dpo_and_reward_train_on_the_preferences_of_one_part(
    stage: Any, of_all: Callable[..., Any], made: Artifact, tmp_path: Path
) -> None:
    asked = of_all("prefer", "preference", preferences=PREFERENCES)
    config = stage.Config(artifacts=tmp_path, **TRAIN)
    trained = stage.run(config, stage.Inputs(model=Model(path="miniature"), preferences=asked))
    assert ids(trained, "trained.jsonl") == in_part(made, "preference")
    left_out = len(PROMPTS) - len(in_part(made, "preference"))
    assert trained.record.counts["left out: preferences of other prompts"] == left_out


def test_another_part_is_another_artifact(of_all: Callable[..., Any], tmp_path: Path) -> None:
    made = [
        prefer.run(
            prefer.Config(artifacts=tmp_path), prefer.Inputs(verdicts=of_all("label", part, verdicts=VERDICTS))
        )
        for part in ("sft", "preference", None)
    ]
    assert len({each.record.fingerprint for each in made}) == 3


def test_evaluate_judges_one_part_of_the_baseline_or_of_the_prompts(
    of_all: Callable[..., Any], made: Artifact, tmp_path: Path
) -> None:
    config = evaluate.Config(artifacts=tmp_path, judge=CRITIC, judging=Judging(order="random"))
    policy = of_all("sample", None, Rows, completions=GOOD)
    baseline = {part: of_all("teach", part, Rows, completions=BAD) for part in ("evaluation", None)}
    by_baseline = evaluate.Inputs(completions=policy, baseline=baseline["evaluation"])
    by_prompts = evaluate.Inputs(
        completions=policy, baseline=baseline[None], prompts=Prompts(path=str(made.path), part="evaluation")
    )
    for inputs in (by_baseline, by_prompts):
        assert {p.id for p in evaluate.read_baseline(inputs, lambda what, num: None)[0]} == in_part(
            made, "evaluation"
        )
        assert len(evaluate.plan(config, inputs).requests) == len(in_part(made, "evaluation"))


def test_an_audit_reads_the_pairs_of_one_part_of_artifacts_and_files(
    of_all: Callable[..., Any], made: Artifact, write_rows: Callable[[str, list[Any]], Path]
) -> None:
    counted: Counter[str] = Counter()

    def prompts_of(asked: Pairs) -> set[str]:
        counted.clear()
        return {k.prompt.id for k in read_pairs(asked, lambda what, num: counted.update({what: num}))}

    wanted, left_out = in_part(made, "validation"), len(PROMPTS) - len(in_part(made, "validation"))
    assert prompts_of(of_all("label", "validation", Pairs, verdicts=VERDICTS)) == wanted
    assert counted["left out: verdicts of other prompts"] == left_out
    path = write_rows("pairs.jsonl", [{"instruction": p.text, "output_1": "a", "output_2": "b"} for p in PROMPTS])
    assert prompts_of(Pairs(path=str(path), part="validation", part_of=str(made.path))) == wanted
    assert counted == {"left out: rows of prompts of other parts of the split": left_out}
    assert len(prompts_of(Pairs(path=str(path), max_prompts=7))) == 7
    with pytest.raises(DataError, match="holds no usable pair"):
        prompts_of(Pairs(path=str(path), max_words=1))
    assert counted == {"skipped: the prompt has more than 1 words": len(PROMPTS)}


@pytest.mark.parametrize("words", [["verdicts.part_of=x"], ["verdicts.part=train"], ["verdicts.fraction=0"]])
def test_what_cannot_be_taken_is_one_error(words: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"verdicts(\.part|\.fraction)?: .*part_of is given without part|found"):
        get("prefer").configure(["verdicts=v", *words])


def test_a_panel_takes_all_of_its_critics() -> None:
    with pytest.raises(ConfigError, match=r"verdicts\.part: unknown key"):
        get("panel").configure(["verdicts={paths: [a, b], part: sft}"])
