"""What is too long: which rule cuts what, what it keeps, and that every token that is lost is counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny import CHATML, byte_level, llama_like, word_pieces
from tutelage import stages
from tutelage.errors import ConfigError
from tutelage.records import Completion, Preference, Prompt
from tutelage.train.encode import Encoder, Example, Unusable
from tutelage.train.examples import encode_completions, encode_preferences
from tutelage.train.settings import Truncation
from tutelage.train.template import chat_template
from tutelage.train.truncation import truncate

END = -1
ORIGINAL = Truncation(rule="original")
INPUTS = {
    "sft": ["model=m", "completions=c.jsonl"],
    "dpo": ["model=m", "preferences=p"],
    "reward": ["model=m", "preferences=p"],
}


def example(prompt: int, completion: int, name: str = "c") -> Example:
    """Ids that count up, so that what is left tells what was cut; `completion` tokens and an end."""
    return Example(name, "p", tuple(range(prompt)), (*range(completion), END))


def cut(prompt: int, completion: int, rule: Truncation, max_length: int = 512) -> Example:
    return truncate([example(prompt, completion)], max_length, rule)[0]


# ---- the end of the completion ----------------------------------------------------------------------


def test_the_end_of_a_long_completion_is_cut_and_then_not_trained_on() -> None:
    kept = cut(10, 50, Truncation(), 30)
    assert kept.prompt_ids == tuple(range(10))
    assert kept.completion_ids == tuple(range(20))


def test_a_completion_that_just_fits_is_whole_and_one_token_more_costs_one_token_and_the_end() -> None:
    # the original cut 206 tokens and the end off as soon as one token was too many (its case 461 -> 462)
    assert cut(50, 461, Truncation()).completion_ids == (*range(461), END)
    assert cut(50, 462, Truncation()).completion_ids == tuple(range(462))


@pytest.mark.parametrize("prompt", [512, 600])
def test_a_prompt_that_fills_the_length_is_refused(prompt: int) -> None:
    with pytest.raises(Unusable, match=r"^the prompt is longer than max_length \(512 tokens\)$"):
        cut(prompt, 5, Truncation())


def test_a_pair_loses_only_the_ends_that_are_too_long() -> None:
    long, short = truncate([example(50, 600), example(50, 5)], 512, Truncation())
    assert long.completion_ids == tuple(range(462))
    assert short == example(50, 5)


# ---- nothing is cut ---------------------------------------------------------------------------------


def test_skip_leaves_out_what_is_too_long_and_cuts_nothing() -> None:
    skip = Truncation(rule="skip")
    assert cut(50, 461, skip) == example(50, 461)
    for prompt, completion in ((50, 462), (600, 5)):
        with pytest.raises(Unusable, match=r"^longer than max_length \(512 tokens\)$"):
            cut(prompt, completion, skip)


def test_skip_leaves_out_a_pair_of_which_one_side_is_too_long() -> None:
    with pytest.raises(Unusable):
        truncate([example(50, 5), example(50, 600)], 512, Truncation(rule="skip"))


# ---- the research code's rule -----------------------------------------------------------------------


CASES = [
    ((50, 600), (50, 256), False),
    ((50, 461), (50, 462), True),
    ((50, 462), (50, 256), False),
    ((300, 100), (300, 101), True),
    ((500, 5), (500, 6), True),
    ((600, 5), (256, 6), True),
]
"""Tokens of prompt and completion before, and after with the end; obtained by running `tokenize_batch_element`."""


@pytest.mark.parametrize(("before", "after", "ended"), CASES)
def test_original_cuts_what_the_research_code_cut(
    before: tuple[int, int], after: tuple[int, int], ended: bool
) -> None:
    kept = cut(*before, ORIGINAL)
    assert (len(kept.prompt_ids), len(kept.completion_ids)) == after
    assert (kept.completion_ids[-1] == END) == ended
    assert kept.completion_ids[:-1] == tuple(range(after[1] - 1))


def test_original_keeps_the_end_of_a_prompt_or_its_start() -> None:
    assert cut(600, 5, ORIGINAL).prompt_ids == tuple(range(344, 600))
    assert cut(600, 5, Truncation(rule="original", keep="start")).prompt_ids == tuple(range(256))


def test_in_original_the_longer_of_a_pair_decides_for_both() -> None:
    short, long = truncate([example(300, 5), example(300, 400)], 512, ORIGINAL)
    assert short.prompt_ids == long.prompt_ids == tuple(range(44, 300))
    assert long.completion_ids == tuple(range(256))
    assert short.completion_ids == example(300, 5).completion_ids
    middle, _ = truncate([example(50, 300), example(50, 600)], 512, ORIGINAL)
    assert middle.completion_ids == tuple(range(256))  # although it fitted


def test_original_with_a_context_that_leaves_no_room_for_completions_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"truncation.max_prompt_length=256 leaves no room .* within 256 tokens"):
        cut(50, 5, ORIGINAL, 256)


RULES = st.builds(
    Truncation, rule=st.just("original"), max_prompt_length=st.integers(1, 9), keep=st.sampled_from(["end", "start"])
) | st.builds(Truncation, rule=st.sampled_from(["completion", "skip"]))
SIZES = st.integers(0, 30)


@given(SIZES, SIZES, SIZES, st.integers(10, 40), RULES)
def test_by_any_rule_a_pair_fits_keeps_one_prompt_and_loses_nothing_but_ends(
    prompt: int, chosen: int, rejected: int, max_length: int, rule: Truncation
) -> None:
    whole = [example(prompt, chosen, "chosen"), example(prompt, rejected, "rejected")]
    try:
        kept = truncate(whole, max_length, rule)
    except Unusable:
        assert max(e.num_tokens for e in whole) > max_length
        return
    assert kept[0].prompt_ids == kept[1].prompt_ids
    assert [e.id for e in kept] == ["chosen", "rejected"]
    for before, after in zip(whole, kept, strict=True):
        assert after.num_tokens <= max_length
        assert after.completion_ids
        assert before.completion_ids[: len(after.completion_ids)] == after.completion_ids
        size = len(after.prompt_ids)
        assert after.prompt_ids in (before.prompt_ids[:size], before.prompt_ids[len(before.prompt_ids) - size :])
    if max(e.num_tokens for e in whole) <= max_length:
        assert kept == whole


# ---- records and counts -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    tokenizer = byte_level(eos_token="<|im_end|>", pad_token="<|pad|>", bos_token="<|im_start|>")
    tokenizer.chat_template = CHATML
    return Encoder(tokenizer)


def completion(prompt: Prompt, num_tokens: int, letter: str = "@") -> Completion:
    """One of `num_tokens` tokens and an end: the tokenizer has merged neither `@` nor `%` with anything."""
    return Completion(prompt_id=prompt.id, author="t", text=letter * num_tokens)


def preference(prompt: Prompt, chosen: int, rejected: int, letter: str = "%") -> Preference:
    sides = completion(prompt, chosen), completion(prompt, rejected, letter)
    return Preference(prompt_id=prompt.id, chosen=sides[0], rejected=sides[1], verdict_ids=("v",))


def counted(found: Counter[str]) -> Any:
    return lambda what, num: found.update({what: num})


def completions_of(
    encoder: Encoder, rows: list[Completion], max_length: int, rule: Truncation, counts: Counter[str]
) -> list[Example]:
    asked = ((SHORT, row) for row in rows)
    return [example for _, example in encode_completions(encoder, asked, max_length, rule, counted(counts))]


SHORT, LONG = Prompt.of("@"), Prompt.of("@" * 60)


def test_every_completion_that_is_cut_is_counted_with_its_tokens(encoder: Encoder) -> None:
    size = len(encoder.prompt_ids(SHORT))
    rows = [completion(SHORT, num) for num in (3, 10, 15)]
    counts: Counter[str] = Counter()
    kept = completions_of(encoder, rows, size + 8, Truncation(), counts)
    assert [len(e.completion_ids) for e in kept] == [4, 8, 8]
    assert counts == {"completions cut": 2, "tokens cut from completions": 3 + 8}


def test_what_is_skipped_for_its_length_is_counted_and_nothing_is_cut(encoder: Encoder) -> None:
    size = len(encoder.prompt_ids(SHORT))
    rows = [completion(SHORT, num) for num in (3, 10, 15)]
    counts: Counter[str] = Counter()
    kept = completions_of(encoder, rows, size + 8, Truncation(rule="skip"), counts)
    assert [len(e.completion_ids) for e in kept] == [4]
    assert counts == {f"skipped: longer than max_length ({size + 8} tokens)": 2}


def test_the_prompt_of_a_pair_is_counted_once_and_each_of_its_completions(encoder: Encoder) -> None:
    rule = Truncation(rule="original", max_prompt_length=20)
    size = len(encoder.prompt_ids(LONG))
    counts: Counter[str] = Counter()
    rows = [(LONG, preference(LONG, 30, 25)), (SHORT, preference(SHORT, 2, 3))]
    (_, cut_pair), (_, whole_pair) = encode_preferences(encoder, rows, 40, rule, counted(counts))
    assert cut_pair.chosen.prompt_ids == cut_pair.rejected.prompt_ids == encoder.prompt_ids(LONG)[-20:]
    assert whole_pair.chosen.prompt_ids == encoder.prompt_ids(SHORT)
    assert counts == {
        "prompts cut": 1,
        "tokens cut from prompts": size - 20,
        "completions cut": 2,
        "tokens cut from completions": 11 + 6,
    }


def test_a_pair_that_is_the_same_after_cutting_is_skipped_and_its_cuts_are_not_counted(encoder: Encoder) -> None:
    size = len(encoder.prompt_ids(SHORT))
    counts: Counter[str] = Counter()
    rows = [(SHORT, preference(SHORT, 30, 25, letter="@"))]
    assert not list(encode_preferences(encoder, rows, size + 8, Truncation(), counted(counts)))
    assert counts == {"skipped: chosen and rejected are the same after cutting": 1}


# ---- the research code's cases from text to ids -----------------------------------------------------


@pytest.fixture(scope="module", params=[byte_level, llama_like, word_pieces], ids=lambda make: make.__name__)
def originals(request: Any) -> Encoder:
    tokenizer = request.param(eos_token="</s>")
    tokenizer.chat_template = chat_template("original")
    return Encoder(tokenizer)


def sized(e: Encoder, num_tokens: int) -> Prompt:
    """A prompt that is so many tokens long as the original writes it, "Human: ... Assistant: " and all."""
    around = len(e.prompt_ids(Prompt.of("@"))) - 1
    found = Prompt.of("@" * (num_tokens - around))
    assert len(e.prompt_ids(found)) == num_tokens
    return found


@pytest.mark.parametrize(("before", "after", "ended"), CASES)
@pytest.mark.parametrize("keep", ["end", "start"])
def test_a_text_becomes_the_tokens_that_the_research_code_made_of_it(
    originals: Encoder, before: tuple[int, int], after: tuple[int, int], ended: bool, keep: Any
) -> None:
    e, rule = originals, Truncation(rule="original", keep=keep)
    prompt = sized(e, before[0])
    counts: Counter[str] = Counter()
    row = completion(prompt, before[1])
    ((_, kept),) = encode_completions(e, [(prompt, row)], 512, rule, counted(counts))
    assert (len(kept.prompt_ids), len(kept.completion_ids)) == after
    assert (kept.completion_ids[-1] == e.end_id) == ended
    whole = e.prompt_ids(prompt)
    assert kept.prompt_ids == (whole[-after[0] :] if keep == "end" else whole[: after[0]])
    assert kept.num_labels == after[1]  # of the completion and its end, none of the prompt
    lost = before[0] - after[0], before[1] + 1 - after[1]
    assert (counts["tokens cut from prompts"], counts["tokens cut from completions"]) == lost


@pytest.mark.parametrize(("before", "after", "ended"), CASES)
def test_so_does_the_pair_of_which_it_is_the_longer_side(
    originals: Encoder, before: tuple[int, int], after: tuple[int, int], ended: bool
) -> None:
    e, prompt = originals, sized(originals, before[0])
    sides = completion(prompt, before[1]), completion(prompt, 3, letter="%")
    row = Preference(prompt_id=prompt.id, chosen=sides[0], rejected=sides[1], verdict_ids=("v",))
    ((_, pair),) = encode_preferences(e, [(prompt, row)], 512, ORIGINAL, counted(Counter()))
    assert (len(pair.chosen.prompt_ids), len(pair.chosen.completion_ids)) == after
    assert (pair.chosen.completion_ids[-1] == e.end_id) == ended
    assert pair.rejected.prompt_ids == pair.chosen.prompt_ids
    assert len(pair.rejected.completion_ids) == 4
    assert pair.chosen.silent == pair.rejected.silent == ()


# ---- settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", INPUTS)
def test_a_rule_is_one_word(stage: str) -> None:
    config = stages.get(stage).configure([*INPUTS[stage], "truncation=original", "truncation.max_prompt_length=100"])[
        0
    ]
    assert config.truncation == Truncation(rule="original", max_prompt_length=100)
    assert stages.get(stage).configure(INPUTS[stage])[0].truncation == Truncation()


@pytest.mark.parametrize("word", ["truncation.max_prompt_length=100", "truncation.keep=start"])
@pytest.mark.parametrize("rule", ["completion", "skip"])
def test_what_a_rule_does_not_read_is_refused(word: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=r"is read by truncation=original; (completion|skip) cuts no prompt"):
        stages.get("sft").configure([*INPUTS["sft"], f"truncation={rule}", word])


def test_the_originals_own_word_is_answered_with_ours() -> None:
    with pytest.raises(ConfigError, match=r"max_prompt_length: unknown key; did you mean truncation"):
        stages.get("dpo").configure([*INPUTS["dpo"], "max_prompt_length=128"])


def test_prompts_that_leave_no_room_are_refused_before_anything_is_loaded() -> None:
    with pytest.raises(ConfigError, match=r"max_prompt_length=256 leaves no room .* max_length=200; lower the one"):
        stages.get("dpo").configure([*INPUTS["dpo"], "truncation=original", "max_length=200"])
