"""Text -> token ids, once, in one place: the same for SFT, DPO, reward models, sampling and evaluation.

The prompt is the chat template's text with its opening for the assistant; the completion is what follows,
and the end-of-turn token is the one the template puts after an assistant's words. Texts that hold one of
the model's special tokens are refused: encoded as that token they could end a turn or open another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tutelage.errors import ModelError
from tutelage.records import Completion, Message, Prompt

_PROBE = "probe-of-the-chat-template"


class Unusable(Exception):  # noqa: N818 - not an error: a row that is skipped and counted under this reason
    """A text that cannot be used; the message is the reason it is counted under."""


@dataclass(frozen=True)
class Example:
    """One completion after its prompt. `completion_ids` ends with the end-of-turn token if it ended and is whole.

    Where all turns of a conversation are learnt, the completion begins with the assistant's first turn, and
    `silent` has the parts of it that carry no loss, as positions `[start, end)` in `completion_ids`, in order:
    what the user says in between and how the turns are opened.
    """

    id: str
    prompt_id: str
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    silent: tuple[tuple[int, int], ...] = ()

    @property
    def learnt(self) -> tuple[tuple[int, int], ...]:
        """The parts that carry loss, `[start, end)` in `completion_ids`: a turn and its end each."""
        if not self.silent:
            return ((0, len(self.completion_ids)),)
        starts = (0, *(end for _, end in self.silent))
        return tuple(zip(starts, (*(start for start, _ in self.silent), len(self.completion_ids)), strict=True))

    @property
    def branches(self) -> tuple[Example]:
        """The one completion there is."""
        return (self,)

    @property
    def num_tokens(self) -> int:
        """Prompt and completion together."""
        return len(self.prompt_ids) + len(self.completion_ids)

    @property
    def num_labels(self) -> int:
        """Tokens that carry loss."""
        return len(self.completion_ids) - sum(end - start for start, end in self.silent)


class Encoder:
    """Encodes with one tokenizer and its chat template.

    Raises:
        ModelError: the tokenizer has no chat template, or no token that ends a turn.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._one_of_each: dict[int, int] = {}
        self._written: dict[tuple[Message, ...], str] = {}
        self._known: dict[str, list[int]] = {}
        self.notes: list[str] = []
        """What a user should know of the chat template, in words."""
        if not tokenizer.chat_template:
            raise ModelError("the tokenizer has no chat template")
        added = getattr(tokenizer, "added_tokens_decoder", {}).values()
        special = {*tokenizer.all_special_tokens, *(t.content for t in added if t.special)}
        self._special_ids = set(tokenizer.convert_tokens_to_ids(list(special)))
        self._special = _any_of(special)
        # some are looked for once the text is in lower case, or in another Unicode form, if the tokenizer does that
        normal = [self._normalized(t.content) for t in added if t.special and t.normalized]
        self._special_once_normal = _any_of(normal) if normal else None
        self._context: list[int] | None = None
        try:
            self.end_id = self._end_of_turn()
            self._context = self._context_to_decode_in()
        except ModelError:
            raise
        except Exception as error:  # jinja's errors, and whatever a template's expressions raise
            raise ModelError(f"the chat template cannot be used: {error}") from None

    def _end_of_turn(self) -> int:
        """The special token the template writes after the assistant's text, else the tokenizer's EOS.

        Raises:
            ModelError: there is neither; or the template writes something else there, which would not be learnt.
        """
        question = {"role": "user", "content": "question"}
        turns = [question, {"role": "assistant", "content": _PROBE}]
        before, probe, after = self.tokenizer.apply_chat_template(turns, tokenize=False).partition(_PROBE)
        if not probe:
            raise ModelError("the chat template leaves the assistant's text out; write one that keeps it")
        found = self._special.search(after)
        between = after[: found.start()] if found else after
        if between.strip():
            raise ModelError(
                f"the chat template ends the assistant's text with {between[:40]!r}, which is no special token of "
                "the tokenizer; expected one that ends a turn, such as {{ eos_token }}: change the template"
            )
        if before != self.tokenizer.apply_chat_template([question], tokenize=False, add_generation_prompt=True):
            self.notes.append("its chat template opens a completion otherwise than it writes an earlier one")
        if found is not None:
            return int(self.tokenizer.convert_tokens_to_ids(found[0]))
        if self.tokenizer.eos_token_id is None:
            raise ModelError(
                "neither the chat template nor the tokenizer has a token that ends a turn; "
                "set the tokenizer's eos_token"
            )
        end = self.tokenizer.eos_token
        self.notes.append(f"its chat template ends no completion; the tokenizer's EOS {end} does, as a label too")
        return int(self.tokenizer.eos_token_id)

    @contextmanager
    def knowing(self, rows: Iterable[tuple[Prompt, Sequence[Completion]]]) -> Iterator[None]:
        """While this lasts, `example` finds the ids of these completions after their prompts already there.

        All are encoded in one call of the tokenizer, and of a prompt that ends as chat templates do only what stands
        after its last special token is encoded again with each completion: tokenizers cut a text there first of all.
        A row that is unusable is left for `example` to refuse.
        """
        texts: dict[str, None] = {}
        joined: list[tuple[str, str, str]] = []
        for prompt, completions in rows:
            try:
                text = self._written[prompt.messages] = self._prompt_text(prompt.messages)
                text.encode()  # a template may write half a character too
                *_, last = (0, *(found.start() for found in self._special.finditer(text)))
                for completion in completions:
                    self._check("completion", completion.text)
                    joined.append((text, text[last:], completion.text))
                    texts |= {text: None, text[last:]: None, text[last:] + completion.text: None}
            except (Unusable, UnicodeEncodeError):
                continue
        try:
            if texts:
                encoded = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
                self._known = dict(zip(texts, encoded, strict=True))
            for text, tail, added in joined:
                before, end = self._known[text], self._known[tail]
                cut = len(before) - len(end)
                if end and end[0] in self._special_ids and before[cut:] == end:
                    self._known[text + added] = before[:cut] + self._known[tail + added]
            yield
        finally:
            self._known, self._written = {}, {}

    def _normalized(self, text: str) -> str:
        normalizer = getattr(getattr(self.tokenizer, "backend_tokenizer", None), "normalizer", None)
        return text if normalizer is None else str(normalizer.normalize_str(text))

    def _context_to_decode_in(self) -> list[int]:
        """Return the ids to put before those of a completion so that its text is what was encoded; most need none.

        A Llama-like tokenizer drops the space that a text begins with, which a completion's first token may hold.
        """
        text = self._prompt_text((Message(role="user", content="question"),))
        before = self._ids(text)

        def num_right(context: list[int], space: str) -> int:
            words = [space + word for word in ("a", "the", "is")]
            return sum(self._decoded(context, self._after(text, before, word)) == word for word in words)

        return max(([], before), key=lambda context: (num_right(context, ""), num_right(context, " ")))

    def _ids(self, text: str) -> list[int]:
        if (known := self._known.get(text)) is not None:
            return list(known)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _check(self, what: str, text: str) -> None:
        found = self._special.search(text)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Unusable(f"the {what} contains half a character (a lone surrogate)") from None
        if found is None and self._special_once_normal is not None:
            found = self._special_once_normal.search(self._normalized(text))
        if found is not None:
            raise Unusable(f"the {what} contains the special token {found[0]}")

    def _prompt_text(self, messages: tuple[Message, ...]) -> str:
        if (written := self._written.get(messages)) is not None:
            return written
        for message in messages:
            self._check("prompt", message.content)
        turns = [m.model_dump() for m in messages]
        try:
            return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # a template raises what its author wrote, e.g. for system messages
            raise Unusable(f"the chat template refuses the prompt: {error}") from None

    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """Return the ids a model is given to complete `prompt`.

        Raises:
            Unusable: the prompt holds a special token or half a character, or the template refuses it.
        """
        return tuple(self._ids(self._prompt_text(prompt.messages)))

    def example(self, prompt: Prompt, completion: Completion, turns: Sequence[int] = ()) -> Example:
        """Encode `completion` after `prompt`, both whole, however long they are.

        Args:
            turns: places in the prompt's messages, in order, of turns of the assistant that carry loss as well.

        Raises:
            Unusable: as `prompt_ids`; the completion has neither text nor end; the chat template writes one of
                `turns` otherwise once the conversation goes on.
        """
        if not completion.text and not completion.ended:
            raise Unusable("the completion is empty")
        self._check("completion", completion.text)
        text = self._prompt_text(prompt.messages)
        before = self._ids(text)
        ids = before + self._after(text, before, completion.text)
        if completion.ended:
            ids.append(self.end_id)
        spans = [self._turn(prompt, place, text, before) for place in turns]
        starts, ends = [*(start for start, _ in spans), len(before)], [end for _, end in spans]
        first = starts[0]
        silent = tuple((end - first, start - first) for end, start in zip(ends, starts[1:], strict=True))
        return Example(completion.id, prompt.id, self._lean(ids[:first]), self._lean(ids[first:]), silent)

    def _after(self, text: str, before: list[int], added: str) -> list[int]:
        """Return the ids of what is `added` to a text whose ids are `before`.

        The two texts are encoded joined, so that no space is doubled at the border; if a token spans it, what is
        added is encoded alone, because sampling also starts right after the prompt's tokens. If that puts a space
        before it, it is encoded after a character that merges with nothing.
        """
        joined = self._ids(text + added)
        together = joined[len(before) :] if joined[: len(before)] == before else None
        if together is not None and (not added.startswith(" ") or self._gives(together, added)):
            return together
        alone = self._ids(added)
        if self._gives(alone, added):
            return alone
        bracket, after_bracket = self._ids("("), self._ids("(" + added)
        apart = after_bracket[len(bracket) :]
        if together is None and after_bracket[: len(bracket)] == bracket and self._gives(apart, added):
            return apart
        return alone if together is None else together

    def _gives(self, ids: list[int], text: str) -> bool:
        """True if these ids are decoded to `text`; also while it is not known yet how they are to be decoded."""
        return self._context is None or self.decode(ids) == text

    def _turn(self, prompt: Prompt, place: int, text: str, ids: list[int]) -> tuple[int, int]:
        """Return where in `ids`, those of the prompt's `text`, an earlier turn of the assistant and its end stand.

        It has to be what it would be as a completion: the same tokens after the same ones.
        """
        opened = self._prompt_text(prompt.messages[:place])
        if not text.startswith(opened):
            raise Unusable(
                "the chat template opens an earlier turn otherwise than a new one, which loss_on=all needs"
            )
        end = self.tokenizer.convert_ids_to_tokens(self.end_id)
        said, ended, _ = text[len(opened) :].partition(end)
        if not ended or said.strip() != prompt.messages[place].content.strip():
            raise Unusable(
                f"the chat template does not keep an earlier turn with {end} after it, which loss_on=all needs"
            )
        before = self._ids(opened)
        turn = [*before, *self._after(opened, before, said), self.end_id]
        if ids[: len(turn)] != turn:
            raise Unusable("a token spans the start of an earlier turn, which loss_on=all cannot have")
        return len(before), len(turn)

    def _lean(self, ids: list[int]) -> tuple[int, ...]:
        """Return `ids` with one object per token of the vocabulary: with one each, 100,000 pairs take 4 GB more."""
        return tuple(map(self._one_of_each.setdefault, ids, ids))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of sampled `ids`, without special tokens.

        Encoded again it gives these ids, if a text has them at all and the tokenizer keeps what it reads. One that
        normalises (WordPiece: case, accents, spaces) gives the text it would have given for the original.
        """
        return self._decoded(self._context or [], ids)

    def _decoded(self, context: list[int], ids: Sequence[int]) -> str:
        before, text = (
            self.tokenizer.decode(each, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            for each in (context, [*context, *ids])
        )
        return str(text[len(before) :])


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern of any of `tokens`, the longest first; of one that matches nothing if there are none."""
    return re.compile("|".join(re.escape(t) for t in sorted(tokens, key=len, reverse=True)) or "(?!)")
