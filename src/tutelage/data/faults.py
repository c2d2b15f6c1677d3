"""What can be wrong with one decided pair, or with one of its completions: small rules, pure.

The rules are rough where texts are looked at: they say where to look, and are wrong now and then.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tutelage.data.normal import normal, words_of
from tutelage.data.texts import special_tokens
from tutelage.records import Completion, Prompt, Verdict

Severity = Literal["error", "warning"]
"""error: must not be trained on; warning: look."""


@dataclass(frozen=True)
class Decided:
    """Two completions of a prompt, of which a verdict chose one."""

    prompt: Prompt
    chosen: Completion
    rejected: Completion
    id: str
    """The verdict's."""


def decided(prompt: Prompt, verdict: Verdict) -> Decided | None:
    """Return what a verdict decided; None for a tie, and for one that cannot be read."""
    left, right = verdict.pair.left, verdict.pair.right
    match verdict.outcome:
        case "LEFT":
            return Decided(prompt, left, right, verdict.id)
        case "RIGHT":
            return Decided(prompt, right, left, verdict.id)
        case "TIE" | "INVALID":
            return None


# ---- of a pair --------------------------------------------------------------------------------------


def is_same(pair: Decided) -> bool:
    """True if both completions are one text: neither can be better."""
    return pair.chosen.text == pair.rejected.text


def is_alike(pair: Decided) -> bool:
    """True if the two texts differ in case, white space, punctuation or quotes alone."""
    one, other = pair.chosen.text, pair.rejected.text
    # most pairs differ from the first words on; the last word of a part may be cut
    first, second = words_of(one[:80])[:-1], words_of(other[:80])[:-1]
    if any(a != b for a, b in zip(first, second, strict=False)):
        return False
    return one != other and normal(one) == normal(other)


# ---- of a completion --------------------------------------------------------------------------------

_REFUSES = re.compile(
    r"\W*(?:(?:i'm|i am|we're|we are)\s+(?:so\s+|very\s+)?sorry,?\s+(?:but|i)\b|sorry,\s+(?:but|i)\b"
    r"|i apologi[sz]e,?\s+but|i(?:'m| am) (?:unable|not able) to\b|unfortunately,\s+i\s+(?:can|am|do)"
    r"|i (?:cannot|can't|can not|won't) (?:help|assist|provide|fulfill?|answer|comply|generate|create|write|do that)"
    r"|<?no ?(?:output|input)>)"
)
_SPEAKS_OF_ITSELF = re.compile(
    r"\bas an? (?:large |artificial |virtual )?(?:ai\b|language model|artificial intelligence|intelligence model)"
    r"|\bi(?:'m| am) (?:just |only )?an? (?:ai|language model)\b|\bmy (?:knowledge cutoff|training data)\b"
)


def is_empty(prompt: Prompt, completion: Completion) -> bool:
    """True if there is nothing but white space."""
    return not completion.text.strip()


def is_boilerplate(prompt: Prompt, completion: Completion) -> bool:
    """True if it begins as refusals do ("I'm sorry, but", <nooutput>), or says that it is an AI."""
    text = completion.text.replace("’", "'").lower()
    return _REFUSES.match(text) is not None or _SPEAKS_OF_ITSELF.search(text) is not None


_ITEM = re.compile(r"\s*(?:[-*•·#>|]|\(?\w{1,2}[.):])\s|\s*\||\s{4,}")
_FENCE = re.compile(r"^\s*```", re.MULTILINE)


def is_cut(prompt: Prompt, completion: Completion) -> bool:
    """True if its author did not finish it: its stop reason says so, or, where that is unknown, its end looks so."""
    match completion.stop_reason:
        case "length" | "filtered":
            return True
        case "stop":
            return False
        case "unknown":
            return ends_midway(completion.text)


def ends_midway(text: str) -> bool:
    """True if a code fence is left open, or the last line ends in a comma, a bracket that opens or a small letter.

    Short texts (under ten words) and last lines that may well end so are taken for whole: those of under five words
    (a title, a name), of a list, a table or code, and those that end in an address or a tag.
    """
    if len(_FENCE.findall(text)) % 2:
        return True
    end = text.rstrip()
    last = end[end.rfind("\n") + 1 :]
    words = last.split()
    if len(words) < 5 or len(end.split(None, 10)) < 10 or _ITEM.match(last):
        return False
    return (end[-1] in ",(" or end[-1].islower()) and not any(c in words[-1] for c in "/@#.=_")


def has_special_tokens(prompt: Prompt, completion: Completion) -> bool:
    """True if it holds a special token of a well-known model, written out (texts.SPECIAL_TOKENS)."""
    return bool(special_tokens(completion.text))


_OWN_NAME = re.compile(r"\s*(?:assistant|human|user|###\s*(?:response|assistant))\s*:", re.IGNORECASE)


def begins_with_prompt(prompt: Prompt, completion: Completion) -> bool:
    """True if it repeats the question (of five words or more) first, or begins with a name such as "Assistant:"."""
    if _OWN_NAME.match(completion.text):
        return True
    question = prompt.messages[-1].content.split()
    return len(question) >= 5 and completion.text.split(None, len(question))[: len(question)] == question


_NEXT_TURN = re.compile(
    r"\n\s*(?:Human:|###\s*(?:Human|User|Instruction)\b|USER:|<\|user\|>|<\|im_start\|>\s*user|\[INST\])"
)


def goes_on(prompt: Prompt, completion: Completion) -> bool:
    """True if it carries on with a next turn of the user, such as a line that begins with "Human:"."""
    return _NEXT_TURN.search(completion.text) is not None


# ---- by name ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairRule:
    """Something that can be wrong with the two completions together."""

    says: str
    severity: Severity
    finds: Callable[[Decided], bool]


@dataclass(frozen=True)
class TextRule:
    """Something that can be wrong with a completion; `severity` is that of a chosen one, else it is a warning."""

    says: str
    severity: Severity
    finds: Callable[[Prompt, Completion], bool]


PAIR_RULES = {
    "same": PairRule("chosen and rejected are the same text", "error", is_same),
    "alike": PairRule("both alike but for case and punctuation", "warning", is_alike),
}
TEXT_RULES = {
    "empty": TextRule("the completion is empty", "error", is_empty),
    "next_turn": TextRule("it carries on with a turn of the user", "error", goes_on),
    "echo": TextRule('it begins with prompt or "Assistant:"', "warning", begins_with_prompt),
    "special": TextRule("it holds special tokens, written out", "warning", has_special_tokens),
    "cut": TextRule("it is cut off, or ends midway", "warning", is_cut),
    "boilerplate": TextRule("it refuses, or speaks as an AI", "warning", is_boilerplate),
}
