"""Examples as a person can read them: every token, whether it carries loss, and what was cut. Imports no torch.

«token» carries loss, token│ does not: the marks say it without colour, and colour only says it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tutelage.disk import visible
from tutelage.train.encode import Encoder, Example

_GREEN, _DIM, _RED, _OFF = "\x1b[32m", "\x1b[2m", "\x1b[31m", "\x1b[0m"
_LOST = "\ufffd"
_MOST_OF_A_CHARACTER = 8
"""Tokens that a character may be spread over."""


@dataclass(frozen=True)
class Style:
    """How tokens are shown. width: columns of a line, which only a single long token exceeds."""

    colour: bool = False
    ids: bool = False
    width: int = 100


class TokenView:
    """Shows the examples that `encoder` makes."""

    def __init__(self, encoder: Encoder, style: Style) -> None:
        self.encoder, self.style = encoder, style
        self._anchor: list[int] = encoder.tokenizer("(", add_special_tokens=False)["input_ids"]

    def legend(self) -> str:
        """Return what the marks mean, in a line."""
        end = visible(str(self.encoder.tokenizer.convert_ids_to_tokens(self.encoder.end_id)))
        number = ", token#id" if self.style.ids else ""
        return (
            f"{self._coloured(_GREEN, '«token»')} carries loss, {self._coloured(_DIM, 'token│')} does not{number}; "
            f"⏎ new line, … more of the same character; {end} ends a turn"
        )

    def lines(self, whole: Example, kept: Example, with_prompt: bool = True) -> Iterator[str]:
        """Yield the tokens of `kept`, what was cut of `whole`, and how many there are of each kind."""
        yield from self._wrapped(self._shown(whole, kept, with_prompt))
        yield f"  {'; '.join(self._counts(whole, kept))}"

    def _shown(self, whole: Example, kept: Example, with_prompt: bool) -> Iterator[tuple[str, str, bool]]:
        """Yield (text, colour, a line ends here) of every token and every cut."""
        from_prompt = len(whole.prompt_ids) - len(kept.prompt_ids)
        from_start = bool(from_prompt) and kept.prompt_ids == whole.prompt_ids[from_prompt:]
        cut = (f"[{from_prompt} tokens of the prompt cut]", _RED, True)
        if with_prompt:
            if from_start:
                yield cut
            yield from self._tokens(kept.prompt_ids, [False] * len(kept.prompt_ids))
            if from_prompt and not from_start:
                yield cut
        learnt = {place for start, end in kept.learnt for place in range(start, end)}
        yield from self._tokens(kept.completion_ids, [i in learnt for i in range(len(kept.completion_ids))])
        from_end = len(whole.completion_ids) - len(kept.completion_ids)
        if from_end:
            yield f"[{from_end} tokens cut]", _RED, True

    def _tokens(self, ids: Sequence[int], learnt: Sequence[bool]) -> Iterator[tuple[str, str, bool]]:
        for token_id, text, has_loss in zip(ids, self._texts(ids), learnt, strict=True):
            said = "".join("⏎" if c == "\n" else f"\\{c}" if c in "«»│⏎" else visible(c) for c in text)
            said += f"#{token_id}" if self.style.ids else ""
            yield (f"«{said}»", _GREEN, "\n" in text) if has_loss else (f"{said}│", _DIM, "\n" in text)

    def _texts(self, ids: Sequence[int]) -> Iterator[str]:
        """Yield the text of each token; a character of several is the first one's, and … the others'."""
        place = 0
        while place < len(ids):
            for num in range(1, _MOST_OF_A_CHARACTER):
                text = self._text(ids[place : place + num])
                if _LOST not in text or place + num >= len(ids):
                    break
            if _LOST in text:  # no beginning of a character: one cut in two, or a token of this very sign
                text, num = self._text(ids[place : place + 1]), 1
            yield text
            yield from ["…"] * (num - 1)
            place += num

    def _text(self, ids: Sequence[int]) -> str:
        """Return the text within another: tokenizers treat the beginning of one otherwise."""
        before, text = (
            self.encoder.tokenizer.decode(each, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            for each in (self._anchor, [*self._anchor, *ids])
        )
        return str(text[len(before) :])

    def _wrapped(self, shown: Iterator[tuple[str, str, bool]]) -> Iterator[str]:
        line, used = "", 0
        for text, colour, ends in shown:
            if used and used + len(text) > self.style.width - 2:
                yield f"  {line}"
                line, used = "", 0
            line, used = line + self._coloured(colour, text), used + len(text)
            if ends:
                yield f"  {line}"
                line, used = "", 0
        if line:
            yield f"  {line}"

    def _counts(self, whole: Example, kept: Example) -> Iterator[str]:
        silent = len(kept.completion_ids) - kept.num_labels
        yield f"{len(kept.prompt_ids):,} tokens of the prompt without loss"
        if silent:
            yield f"{silent:,} between turns without loss"
        turns = f" in {len(kept.learnt)} turns" if silent else ""
        yield f"{kept.num_labels:,} with loss{turns}"
        if kept.completion_ids[-1:] == (self.encoder.end_id,):
            return
        if len(kept.completion_ids) < len(whole.completion_ids):
            yield "its end is cut, so it is not taught to stop there"
        else:
            yield "its author did not end it, so no end is taught"

    def _coloured(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_OFF}" if self.style.colour else text
