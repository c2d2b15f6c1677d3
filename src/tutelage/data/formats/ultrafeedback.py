"""UltraFeedback, binarized: `prompt`, `chosen` and `rejected` with their scores.

The conversations are lists of messages (HuggingFaceH4/ultrafeedback_binarized), or texts that begin with the prompt
(Asap7772/ultrafeedback_binarized_relabelled_ultrarm and ..._narrow). The research code cut the latter by length,
whatever stood there; here the prompt must really be what a text begins with.
"""

from __future__ import annotations

from collections.abc import Iterator

from tutelage.data.formats.item import UNKNOWN, Format, Item, Options, Row, Skip, each, judged, one_turn, text_of
from tutelage.data.formats.turns import number_of, split_prompt
from tutelage.records import Completion

_PAIRS = (("reward_chosen", "reward_rejected"), ("score_chosen", "score_rejected"))
"""The reward model's word, where there is one, and GPT-4's."""
_CRITIC = "ultrafeedback"


def _read(where: str, row: Row, options: Options) -> Iterator[Item]:
    names = options.columns
    chosen, rejected = (row.get(names.get(name, name)) for name in ("chosen", "rejected"))
    gap = _gap(where, row)
    if isinstance(chosen, str) or isinstance(rejected, str):
        asked = text_of(where, row, names.get("prompt", "prompt"))
        prompt = one_turn(asked, options)
        better, worse = (_after(asked, text_of(where, row, names.get(n, n))) for n in ("chosen", "rejected"))
        tie = False  # the file was labelled anew; its scores may be older than that
    else:
        prompt, better, worse = split_prompt(where, chosen, rejected, options)
        tie = gap == 0  # binarized: the other was drawn among three, and may be as good
    author = options.author or UNKNOWN
    left, right = (Completion(prompt_id=prompt.id, author=author, text=text) for text in (better, worse))
    said = "chosen" if gap is None else f"chosen, scores {gap} apart"
    yield judged(prompt, left, right, "TIE" if tie else "LEFT", _CRITIC, said, gap=gap)


def renderings(prompt: str) -> tuple[str, ...]:
    """Return how a text may begin that holds the prompt too."""
    return tuple(f"{before}Human: {prompt}\n\nAssistant:{after}" for before in ("", "\n\n") for after in (" ", ""))


def _after(prompt: str, text: str) -> str:
    for beginning in renderings(prompt):
        if text.startswith(beginning):
            return text.removeprefix(beginning)
    raise Skip(
        "a text does not begin with its prompt, as 'Human: ...', 'Assistant: '; if the fields hold "
        "completions alone, give format=trl_preference"
    )


def _gap(where: str, row: Row) -> float | None:
    for pair in _PAIRS:
        chosen, rejected = (number_of(where, row, name) for name in pair)
        if chosen is not None and rejected is not None:
            return chosen - rejected
    return None


def is_ultrafeedback(row: Row) -> bool:
    """True if a row has scores, and chosen holds the prompt too."""
    chosen, prompt = row.get("chosen"), row.get("prompt")
    if "rejected" not in row or not {"score_chosen", "score_rejected"} <= row.keys():
        return False
    return isinstance(chosen, list) or (isinstance(chosen, str) and chosen.startswith(renderings(str(prompt))))


FORMAT = Format(
    "ultrafeedback",
    "UltraFeedback, binarized: prompt, chosen and rejected, messages or texts that begin with the prompt; scores",
    ("verdicts",),
    is_ultrafeedback,
    each(_read),
    columns=("prompt", "chosen", "rejected"),
)
