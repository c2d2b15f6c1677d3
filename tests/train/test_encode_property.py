"""For any text: the prompt's ids are the sampler's, the completion's what it could have drawn, and the end follows.

Kept to the letter by byte-level BPE, and by Llama-like tokenizers but for ▁, which is how they write a space. The
other two read less than is written, and what is left is kept: Unigram NFKC and one space for several, WordPiece no
case, accents or white space at all. The research code's prompt ends with a space itself (`original`), after which
the tokenizers with a Metaspace keep no other one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken

from tiny import byte_level, llama_like, sentencepiece_like, unigram, word_pieces
from tutelage.records import Completion, Prompt
from tutelage.train.encode import Encoder, Unusable
from tutelage.train.template import chat_template

TOKENS: dict[str, Any] = {"eos_token": "<|im_end|>", "pad_token": "<|pad|>", "bos_token": "<|im_start|>"}
FORMATS = ("human_assistant", "chatml", "original")
TOKENIZERS = {
    kind.__name__: kind(**TOKENS) for kind in (byte_level, sentencepiece_like, llama_like, unigram, word_pieces)
}
ANY_TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from(" \n\t'.éa"), max_size=20).filter(
    lambda text: not any(token in text for token in (*TOKENS.values(), "<unk>"))
)
KNOWN = st.text(st.sampled_from("abc DEF é \n .,'"), max_size=20)
"""What Unigram and WordPiece, which know no bytes, have no unknown token for."""


def encoder(tokenizer: Any, chat_format: str) -> Encoder:
    tokenizer.chat_template = chat_template(chat_format)
    return Encoder(tokenizer)


def no_first_space(name: str, chat_format: str) -> bool:
    return name == "word_pieces" or (chat_format == "original" and name in ("unigram", "sentencepiece_like"))


def read_by(name: str) -> Callable[[str], str]:
    """What is left of a completion that the tokenizer has read."""
    return {
        "byte_level": lambda text: text,
        "sentencepiece_like": lambda text: text.replace("▁", " "),
        "llama_like": lambda text: text.replace("▁", " "),
        "unigram": lambda text: re.sub(" {2,}", " ", unicodedata.normalize("NFKC", text)),
        "word_pieces": lambda text: "".join(unicodedata.normalize("NFD", text.lower()).replace("\u0301", "").split()),
    }[name]


@pytest.mark.parametrize("chat_format", FORMATS)
@pytest.mark.parametrize("name", TOKENIZERS)
@given(data=st.data())
def test_ids_are_those_of_sampling_and_give_the_text_back(name: str, chat_format: str, data: Any) -> None:
    e = encoder(TOKENIZERS[name], chat_format)
    texts = KNOWN if name in ("unigram", "word_pieces") else ANY_TEXT
    prompt, said = Prompt.of(data.draw(texts.filter(str.strip))), data.draw(texts)
    said = said.lstrip(" ▁") if no_first_space(name, chat_format) else said
    example = e.example(prompt, Completion(prompt_id=prompt.id, author="t", text=said))
    assert example.prompt_ids == e.prompt_ids(prompt)
    *drawn, end = example.completion_ids
    assert end == e.end_id
    assert e.end_id not in drawn
    written, left = e.decode(drawn), read_by(name)
    assert left(written) == left(said)
    if name not in ("unigram", "word_pieces"):
        assert written == left(said)
    # what the sampler writes of these tokens is trained on as these tokens
    again = e.example(prompt, Completion(prompt_id=prompt.id, author="t", text=written, stop_reason="stop"))
    assert again.completion_ids == example.completion_ids


@pytest.mark.parametrize("chat_format", FORMATS)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_space_that_a_completion_begins_with_is_neither_lost_nor_made(name: str, chat_format: str) -> None:
    """A Llama-like decoder takes the first space off: a sampled " Paris" became "Paris", which is another token."""
    e = encoder(TOKENIZERS[name], chat_format)
    prompt = Prompt.of("capital?")
    for said in ("paris", " paris"):
        ids = e.example(prompt, Completion(prompt_id=prompt.id, author="t", text=said)).completion_ids
        assert e.decode(ids) == (said.strip() if no_first_space(name, chat_format) else said)


def test_a_token_that_spans_the_border_puts_no_space_before_the_completion() -> None:
    """Alone, a Llama-like tokenizer puts a ▁ before every text; the completion goes on within a word here."""
    tokenizer = llama_like(eos_token="</s>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] + ('</s>' if m['role'] == 'assistant' else ' The cap') }}{% endfor %}"
    )
    e = Encoder(tokenizer)
    prompt = Prompt.of("What is it?")
    example = e.example(prompt, Completion(prompt_id=prompt.id, author="t", text="ital"))
    assert example.prompt_ids == e.prompt_ids(prompt)
    assert tokenizer.decode(example.prompt_ids + example.completion_ids[:-1]) == "What is it? The capital"
    assert e.decode(example.completion_ids) == "ital"


def test_the_research_codes_prompt_ends_with_a_space_and_its_completions_begin_with_another() -> None:
    """As it tokenised the two apart, a Llama-like tokenizer put a ▁ before both; its weights have learnt that."""
    e = encoder(TOKENIZERS["llama_like"], "original")
    prompt = Prompt.of("capital?")
    example = e.example(prompt, Completion(prompt_id=prompt.id, author="t", text="Paris"))
    tokens = e.tokenizer.convert_ids_to_tokens
    assert tokens(example.prompt_ids)[-1] == "▁"
    assert tokens(example.completion_ids)[0].startswith("▁")
    assert e.decode(example.completion_ids) == "Paris"


@pytest.mark.parametrize("name", TOKENIZERS)
@given(before=ANY_TEXT, after=ANY_TEXT, surrogate=st.integers(0xD800, 0xDFFF).map(chr))
def test_half_a_character_is_refused_wherever_it_stands(name: str, before: str, after: str, surrogate: str) -> None:
    e = encoder(TOKENIZERS[name], "chatml")
    text, fine = before + surrogate + after, Prompt.of("x")
    with pytest.raises(Unusable, match="half a character"):
        e.example(fine, Completion(prompt_id=fine.id, author="t", text=text))
    with pytest.raises(Unusable, match="half a character"):
        e.prompt_ids(Prompt.of("x" + text))


@pytest.mark.parametrize("name", TOKENIZERS)
@given(before=ANY_TEXT, after=ANY_TEXT, token=st.sampled_from([*TOKENS.values()]))
def test_a_special_token_is_refused_wherever_it_stands(name: str, before: str, after: str, token: str) -> None:
    e = encoder(TOKENIZERS[name], "chatml")
    fine = Prompt.of("x")
    with pytest.raises(Unusable, match=r"the completion contains the special token"):
        e.example(fine, Completion(prompt_id=fine.id, author="t", text=before + token + after))


def test_a_special_token_that_only_the_tokenizer_sees_is_refused() -> None:
    """One that is looked for in the normalised text: <|IM_END|> is the end of a turn to a lower-casing tokenizer."""
    tokenizer = word_pieces(**TOKENS | {"eos_token": AddedToken("<|done|>", normalized=True, special=True)})
    e = encoder(tokenizer, "human_assistant")
    assert e.end_id in tokenizer("x <|DONE|> y")["input_ids"]
    prompt = Prompt.of("x")
    with pytest.raises(Unusable, match=r"the completion contains the special token <\|done\|>"):
        e.example(prompt, Completion(prompt_id=prompt.id, author="t", text="x <|DONE|> y"))
    with pytest.raises(Unusable, match=r"the prompt contains the special token"):
        e.prompt_ids(Prompt.of("x <|Done|>"))
