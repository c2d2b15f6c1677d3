"""Encoded rows on disk: the same as those in memory, made once, found by what they are made of, never half there."""

from __future__ import annotations

import functools
import json
import os
import signal
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers

from running import in_two
from tiny import CHATML, byte_level, leave, model, sentencepiece_like
from tutelage.data.normal import group_of
from tutelage.errors import DataError, StoreError
from tutelage.inputs import Finished
from tutelage.records import Completion, Message, Preference, Prompt, digest
from tutelage.stages.preparing import prepared_preferences, prompts_of
from tutelage.store import Made, Work
from tutelage.train import parallel
from tutelage.train.columns import column
from tutelage.train.encode import Encoder, Example, Unusable
from tutelage.train.examples import encode_preferences
from tutelage.train.fit import make_scorer
from tutelage.train.pairs import PairExample
from tutelage.train.prepared import PREPARED, ROWS, SAID, SILENT, TOKENS, Prepared, identity_of, prepare
from tutelage.train.reference import reference_of
from tutelage.train.rows import chunks
from tutelage.train.scorer import LogpScorer
from tutelage.train.settings import Training, Truncation

SPECIAL = {"eos_token": "<|im_end|>", "pad_token": "<|pad|>", "bos_token": "<|im_start|>"}
PLAIN = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + ' ' }}{% endfor %}"
OPENED = PLAIN + "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"


OPENING = "<|im_start|>assistant\n"


def changed(tokenizer: Any, **parts: Any) -> Any:
    for name, part in parts.items():
        setattr(tokenizer.backend_tokenizer, name, part)
    return tokenizer


PREPENDED = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
TOKENIZERS: dict[str, Any] = {
    "byte_level": lambda: (byte_level(**SPECIAL), CHATML),
    "lowercase": lambda: (changed(byte_level(**SPECIAL), normalizer=normalizers.Lowercase()), CHATML),
    "sentencepiece": lambda: (sentencepiece_like(eos_token="</s>"), OPENED),
    "always_a_space": lambda: (sentencepiece_like(**SPECIAL), CHATML),
    "a_space_at_first": lambda: (
        changed(
            sentencepiece_like(**SPECIAL),
            pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
        ),
        CHATML,
    ),
    "a_space_by_the_normalizer": lambda: (
        changed(sentencepiece_like(**SPECIAL), normalizer=PREPENDED, pre_tokenizer=None),
        CHATML,
    ),
    "joined": lambda: (byte_level(eos_token="</s>"), "{% for m in messages %}{{ m['content'] }}{% endfor %}"),
}
"""The last has tokens that span the border between prompt and completion."""
WORDS = st.sampled_from(
    ["", " ", "  ", "\n", "the", "cap", "ital", "Paris", "é", "🦊", "assistant", "<|", "|>", "▁", "\u3000"]
)


def encoder(kind: str = "byte_level", template: str | None = None) -> Encoder:
    tokenizer, own = TOKENIZERS[kind]()
    tokenizer.chat_template = template or own
    return Encoder(tokenizer)


TEXTS = ["ital of France", " Paris is it.", "", "émoji 🦊", "two  spaces\n", "x<|im_end|>y", "half \ud83d", "Paris"]
PROMPTS = [
    Prompt.of("the cap"),
    Prompt.of("What is the capital of France?"),
    Prompt.of("a special <|im_end|> </s> token"),
    Prompt(messages=(Message(role="system", content="Be kind."), Message(role="user", content="hello there"))),
]


def preferences() -> list[tuple[Prompt, Preference]]:
    found = []
    for prompt in PROMPTS:
        sides = [Completion(prompt_id=prompt.id, author="t", text=text, stop_reason="stop") for text in TEXTS]
        for one, other in pairwise(sides):
            weight = 1.0 + len(found) / 4
            found.append(
                (
                    prompt,
                    Preference(prompt_id=prompt.id, chosen=one, rejected=other, verdict_ids=("v",), weight=weight),
                )
            )
    return found


ROWS_OF_TEXT = preferences()


def encoded(e: Encoder, count: Any = None, length: int = 60) -> list[PairExample]:
    counted = count or (lambda what, num: None)
    return [pair for _, pair in encode_preferences(e, ROWS_OF_TEXT, length, Truncation(), counted)]


def made(folder: Path, items: Iterable[PairExample], e: Encoder | None = None, **ingredients: Any) -> Prepared[Any]:
    rows = ((digest(item.prompt_id), item) for item in items)
    return prepare(folder, ingredients, e or encoder(), lambda count: rows, 2, lambda what, num: None)


# ---- many in one call -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_many_texts_in_one_call_have_the_tokens_of_each_alone(kind: str) -> None:
    e, counts = encoder(kind), Counter[str]()
    together = {pair.id: pair for pair in encoded(e, lambda what, num: counts.update({what: num}), 10_000)}
    refused = 0
    for prompt, row in ROWS_OF_TEXT:
        try:
            alone = [e.example(prompt, side) for side in (row.chosen, row.rejected)]
        except Unusable:
            refused += 1
            assert row.id not in together
        else:
            assert list(together[row.id].branches) == alone
    assert 0 < refused == sum(counts.values()) < len(ROWS_OF_TEXT)


@functools.cache
def one(kind: str) -> Encoder:
    return encoder(kind)


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(st.lists(WORDS, max_size=5).map("".join), st.lists(WORDS, max_size=5).map("".join), st.booleans())
def test_so_have_any_texts(kind: str, asked: str, said: str, longer: bool) -> None:
    turns = [Message(role="user", content=f"x{asked}")]
    if longer:
        turns += [Message(role="assistant", content=said), Message(role="user", content=f"{said}y")]
    prompt, e = Prompt(messages=tuple(turns)), one(kind)
    completion = Completion(prompt_id=prompt.id, author="t", text=said, stop_reason="stop")
    try:
        alone = e.example(prompt, completion)
    except Unusable:
        return
    with e.knowing([(prompt, (completion,))]):
        assert e.example(prompt, completion) == alone


def test_a_prompt_that_is_known_is_not_encoded_again_and_is_forgotten_afterwards() -> None:
    e = encoder()
    calls: list[Any] = []
    tokenizer = e.tokenizer
    e.tokenizer = lambda texts, **settings: calls.append(texts) or tokenizer(texts, **settings)
    e.tokenizer.apply_chat_template, e.tokenizer.decode = tokenizer.apply_chat_template, tokenizer.decode
    prompt, row = ROWS_OF_TEXT[0]
    with e.knowing([(prompt, (row.chosen, row.rejected))]):
        e.example(prompt, row.chosen)
        e.example(prompt, row.rejected)
    (texts,) = calls
    assert texts == [e._prompt_text(prompt.messages), OPENING, OPENING + row.chosen.text, OPENING + row.rejected.text]
    e.example(prompt, row.chosen)
    assert len(calls) == 3


# ---- what is on disk is what was encoded ------------------------------------------------------------


def test_rows_on_disk_are_those_that_were_encoded(tmp_path: Path) -> None:
    items = encoded(encoder())
    found = made(tmp_path, items)
    assert list(found) == items
    assert found[-1] == items[-1]
    assert list(found[2:5]) == items[2:5]
    assert list(found.take(np.array([3, 1]))) == [items[3], items[1]]
    with pytest.raises(IndexError):
        found[len(items)]


def test_parts_without_loss_are_kept(tmp_path: Path) -> None:
    items = [
        Example("1", "p", (1, 2), (3, 4, 5, 6, 7), ((1, 2), (3, 4))),
        Example("2", "p", (), (3,)),
        Example("3", "q", (9,), (3, 4, 5), ((0, 1),)),
    ]
    rows = [("g", item) for item in items]
    found = prepare(tmp_path, {}, encoder(), lambda count: rows, 1, lambda what, num: None)
    assert list(found) == items
    assert found.column("num_labels").tolist() == [[3], [1], [2]]


def test_a_large_vocabulary_takes_four_bytes_a_token(tmp_path: Path) -> None:
    e = encoder()
    e.tokenizer.add_tokens([f"word{number}" for number in range(70_000)])
    pair = PairExample("1", Example("2", "p", (69_999,), (1,)), Example("3", "p", (69_999,), (70_001,)))
    found = made(tmp_path, [pair], e)
    assert list(found) == [pair]
    assert (found.path / TOKENS).stat().st_size == 3 * 4
    assert (made(tmp_path, [], encoder(), other=1).path / TOKENS).stat().st_size == 0


@pytest.mark.parametrize("name", ["id", "prompt_id", "weight", "lengths", "num_labels", "num_tokens"])
def test_what_is_known_of_all_rows_is_what_each_says(name: Any, tmp_path: Path) -> None:
    items = encoded(encoder())
    found = column(made(tmp_path, items), name)
    wanted = column(items, name)
    assert (found.astype(str) if found.dtype.kind == "S" else found).tolist() == wanted.tolist()


def test_chunks_of_rows_on_disk_are_those_of_rows_in_memory(tmp_path: Path) -> None:
    items = encoded(encoder())
    sizes = [item.num_tokens for item in items]
    assert list(chunks(made(tmp_path, items), sizes, 60)) == list(chunks(items, sizes, 60))


def test_references_belong_to_their_rows_in_every_view(tmp_path: Path) -> None:
    items = encoded(encoder())
    rows = made(tmp_path, items)
    train, held_out = rows.take(np.array([4, 0, 2])), rows.take(np.array([3]))
    both = train.together(held_out)
    values = np.array([[item.weight, -item.weight] for item in both])
    told = train.with_references(both, values)
    assert list(told) == [
        replace(items[i], reference_chosen=items[i].weight, reference_rejected=-items[i].weight) for i in (4, 0, 2)
    ]
    assert train[0] == items[4]
    assert both.content == held_out.together(train).content != train.content


def test_a_row_takes_no_memory_before_it_is_asked_for(tmp_path: Path) -> None:
    """Neither while rows are written nor while they are split and divided; in lists these would take 20 MB."""
    prompt, side = tuple(range(300)), tuple(range(100))
    num = 3000

    def rows() -> Iterator[PairExample]:
        for i in range(num):
            yield PairExample(
                f"{i}", Example(f"{i}c", f"p{i}", prompt, side), Example(f"{i}r", f"p{i}", prompt, side)
            )

    e = encoder()
    made(tmp_path, rows(), e, warm="up")
    tracemalloc.start()
    found = made(tmp_path, rows(), e)
    part = found.take(np.arange(0, num, 2))
    assert sum(map(len, chunks(part, part.column("num_tokens").tolist(), 5000))) == num // 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.path / TOKENS).stat().st_size == num * 500 * 2
    assert peak < 6e6


# ---- found again, or made again ---------------------------------------------------------------------


def once(folder: Path, e: Encoder | None = None, **ingredients: Any) -> int:
    """How often rows were encoded to prepare them: 0 or 1."""
    calls: list[int] = []

    def rows(count: Any) -> list[tuple[str, PairExample]]:
        calls.append(1)
        count("skipped: it rained", 2)
        return [("g", pair) for pair in encoded(encoder())]

    counts: Counter[str] = Counter()
    prepare(folder, ingredients, e or encoder(), rows, 2, lambda what, num: counts.update({what: num}))
    assert counts == {"skipped: it rained": 2}, "counted when they are found too"
    assert sorted(p.name for p in folder.iterdir() if p.name.endswith(".tmp")) == []
    return len(calls)


def test_the_same_is_found_and_anything_else_is_made(tmp_path: Path) -> None:
    assert once(tmp_path, rows="a", max_length=60) == 1
    assert once(tmp_path, rows="a", max_length=60) == 0
    assert once(tmp_path, rows="b", max_length=60) == 1
    assert once(tmp_path, rows="a", max_length=61) == 1
    assert once(tmp_path, encoder(template=CHATML + "\n"), rows="a", max_length=60) == 1
    assert once(tmp_path, encoder("joined"), rows="a", max_length=60) == 1
    assert once(tmp_path, rows="a", max_length=60) == 0


def test_what_a_tokenizer_did_before_does_not_change_who_it_is_and_what_it_knows_does() -> None:
    e = encoder()
    before = identity_of(e)
    e.tokenizer(["one", "two and three"], padding=True, truncation=True, max_length=2)
    assert identity_of(e) == before
    assert identity_of(encoder()) == before
    e.tokenizer.add_tokens(["another"])
    assert identity_of(e) != before


def test_a_template_that_writes_the_date_is_another_one_tomorrow(monkeypatch: pytest.MonkeyPatch) -> None:
    e = encoder(template="{{ strftime_now('%Y') }}" + CHATML)
    before = identity_of(e)
    monkeypatch.setattr(e.tokenizer, "apply_chat_template", lambda *a, **k: "2027<|im_start|>user\nquestion")
    assert identity_of(e) != before


def cut_short(path: Path) -> None:
    os.truncate(path / TOKENS, 10)


def garbled(path: Path) -> None:
    (path / SAID).write_text('{"rows": ')


def of_another_kind(path: Path) -> None:
    (path / SAID).write_text('{"rows": []}')


def without_its_counts(path: Path) -> None:
    said = json.loads((path / SAID).read_text())
    del said["counts"]
    (path / SAID).write_text(json.dumps(said))


@pytest.mark.parametrize("name", [TOKENS, ROWS, SILENT, SAID])
def test_what_lacks_a_file_is_made_again(name: str, tmp_path: Path) -> None:
    once(tmp_path)
    (path,) = tmp_path.iterdir()
    (path / name).unlink()
    assert (once(tmp_path), once(tmp_path)) == (1, 0)


@pytest.mark.parametrize("damage", [cut_short, garbled, of_another_kind, without_its_counts])
def test_what_is_damaged_is_made_again(damage: Any, tmp_path: Path) -> None:
    once(tmp_path)
    (path,) = tmp_path.iterdir()
    damage(path)
    assert (once(tmp_path), once(tmp_path)) == (1, 0)


def test_what_an_error_interrupts_leaves_nothing(tmp_path: Path) -> None:
    def rows(count: Any) -> Iterator[tuple[str, PairExample]]:
        yield "g", encoded(encoder())[0]
        raise DataError("line 2 is damaged")

    with pytest.raises(DataError, match="line 2 is damaged"):
        prepare(tmp_path, {}, encoder(), rows, 2, lambda what, num: None)
    assert list(tmp_path.iterdir()) == []


def test_a_kill_in_the_middle_breaks_nothing_and_the_same_goes_on(tmp_path: Path) -> None:
    pairs, e = encoded(encoder()), encoder()

    def rows(count: Any) -> Iterator[tuple[str, PairExample]]:
        yield from (("g", pair) for pair in pairs[:5])
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        prepare(tmp_path, {}, e, rows, 2, lambda what, num: None)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
    assert (once(tmp_path), once(tmp_path)) == (1, 0)


def test_of_two_that_want_the_same_at_once_one_makes_it_and_the_other_waits(tmp_path: Path) -> None:
    calls, found = [], []
    begun = threading.Event()

    def rows(count: Any) -> Iterator[tuple[str, PairExample]]:
        calls.append(1)
        begun.set()
        threading.Event().wait(0.2)
        yield from (("g", pair) for pair in encoded(encoder()))

    def run() -> None:
        found.append(list(prepare(tmp_path, {}, encoder(), rows, 2, lambda what, num: None)))

    threads = [threading.Thread(target=run) for _ in range(2)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert calls == [1]
    assert found[0] == found[1] == encoded(encoder())
    assert [path.suffix for path in tmp_path.iterdir()] == [""]


def test_what_another_finishes_while_we_begin_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder, others = os.mkdir, list[int]()

    def slow(name: Any, *mode: Any) -> None:
        if not others:
            others.append(0)
            others[0] = once(tmp_path)
        make_folder(name, *mode)

    monkeypatch.setattr(os, "mkdir", slow)
    assert (once(tmp_path), others) == (0, [1])
    assert [path.suffix for path in tmp_path.iterdir()] == [""]


def test_two_that_finish_the_same_reference_at_once_both_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, config, e = encoded(encoder()), Training(rows="padded"), encoder()
    scorer = make_scorer(LogpScorer, model("llama", len(e.tokenizer)), pairs, config)
    sync, others = os.fsync, list[Any]()

    def reference() -> Any:
        return reference_of(scorer, pairs, config, tmp_path / "references", {}, "tokens").tolist()

    def slow(file: int) -> None:
        if not others:
            others.append(None)
            with monkeypatch.context() as other_process:
                other_process.setattr(os, "getpid", lambda: 1)
                others[0] = reference()
        sync(file)

    monkeypatch.setattr(os, "fsync", slow)
    assert reference() == others[0] == reference()
    assert [path.suffix for path in (tmp_path / "references").iterdir()] == [".npy"]


def one_of_two(rank: int, folder: Path, port: int) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), MASTER_ADDR="localhost", MASTER_PORT=str(port)
    )
    parallel.start()
    parallel._WORD_EVERY_SECONDS = -1.0  # the first tells after each row that it is still at it

    def rows(count: Any) -> list[tuple[str, PairExample]]:
        assert rank == 0, "only the first encodes"
        count("skipped: it rained", 2)
        return [("g", pair) for pair in encoded(encoder())]

    counts: Counter[str] = Counter()
    found = prepare(folder, {}, encoder(), rows, 2, lambda what, num: counts.update({what: num}))
    assert list(found) == encoded(encoder())
    assert counts == {"skipped: it rained": 2}

    def refused(count: Any) -> Any:
        raise DataError("line 7 is damaged")

    with pytest.raises(DataError, match="line 7"):
        prepare(folder, {"other": 1}, encoder(), refused, 2, lambda what, num: None)
    (folder / f"done-{rank}").touch()
    leave()


def test_of_several_processes_the_first_prepares_and_all_map_the_same_files(tmp_path: Path) -> None:
    in_two(one_of_two, tmp_path)
    assert {path.name for path in tmp_path.glob("done-*")} == {"done-0", "done-1"}


# ---- as the stages call it --------------------------------------------------------------------------


@pytest.fixture
def preferred(tmp_path: Path) -> Path:
    """An artifact of prefer."""
    work = Work(tmp_path, "prefer", "run", {})
    with work.locked():
        work.write("prompts.jsonl", PROMPTS)
        work.write("preferences.jsonl", [row for _, row in ROWS_OF_TEXT if "\ud83d" not in str(row)])
        work.finish({}, {}, Made())
    return work.path


def stage_rows(preferred: Path, root: Path, length: int = 60, **asked: Any) -> tuple[Prepared[PairExample], Any]:
    work = Work(root, "dpo", "run", {})
    given = Finished(path=str(preferred), **asked)
    return prepared_preferences(given, Training(), encoder(), length, work), work.counts


def test_a_stage_prepares_the_rows_of_its_input_with_the_group_of_each_prompt(
    preferred: Path, tmp_path: Path
) -> None:
    found, counts = stage_rows(preferred, tmp_path / "out")
    wanted = [p for p in encoded(encoder()) if p.id in {i.decode() for i in found.column("id")}]
    assert list(found) == wanted
    assert found.path.parent == tmp_path / "out" / PREPARED
    groups = {prompt.id: group_of(prompt) for prompt in PROMPTS}
    assert found.column("group").astype(str).tolist() == [groups[pair.prompt_id] for pair in wanted]
    assert sum(num for what, num in counts.items() if what.startswith("skipped: the prompt contains")) > 0


def test_a_stage_that_finds_its_rows_reads_no_text_and_counts_the_same(preferred: Path, tmp_path: Path) -> None:
    first, counts = stage_rows(preferred, tmp_path / "out")
    for name in ("prompts.jsonl", "preferences.jsonl"):
        (preferred / name).write_text("not to be read")
    again, counted = stage_rows(preferred, tmp_path / "out")
    assert list(again) == list(first)
    assert counted == counts


def test_another_length_is_other_rows_and_the_same_content_under_another_name_is_not(
    preferred: Path, tmp_path: Path
) -> None:
    first, _ = stage_rows(preferred, tmp_path / "out")
    shorter, _ = stage_rows(preferred, tmp_path / "out", length=40)
    record = json.loads((preferred / "record.json").read_text())
    moved = preferred.with_name("run-12345678")
    preferred.rename(moved)
    (moved / "record.json").write_text(json.dumps(record | {"fingerprint": "1" * 64}))
    same, _ = stage_rows(moved, tmp_path / "out")
    assert shorter.path != first.path == same.path


def test_prompts_for_samples_come_in_the_order_of_the_rows_and_are_read_when_asked_for(
    preferred: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = stage_rows(preferred, tmp_path / "out")
    backwards = found.take(np.arange(len(found))[::-1])
    wanted = list(dict.fromkeys(pair.prompt_id for pair in backwards))
    monkeypatch.setattr("tutelage.stages.preparing._AT_FIRST", 1)
    prompts = prompts_of(backwards, Finished(path=str(preferred)))
    assert [prompt.id for prompt in prompts] == wanted
    unread = prompts_of(backwards, Finished(path="nowhere"))
    assert len(wanted) > 1
    with pytest.raises(StoreError, match="nowhere"):
        next(unread)
