"""The nouns: what the road carries. Frozen, unknown fields refused, no I/O.

Ids are hashes of content, so that one text has one id wherever it appears, and `grep <id>` follows it
through every folder of the road.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticSerializationError, to_json

Role = Literal["system", "user", "assistant"]
StopReason = Literal["stop", "length", "filtered", "unknown"]
Outcome = Literal["LEFT", "RIGHT", "TIE", "INVALID"]
Order = Literal["left_first", "right_first", "left_alone", "right_alone", "unknown"]
"""How a pair was shown: both completions in this order, or (pointwise, or to a reward model) one alone; unknown: the
verdict comes from a file that does not say."""
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), check_circular=False)


def digest(value: object, length: int = 16, is_simple: bool = False) -> str:
    """Return the first `length` hex digits of the SHA-256 of `value` as canonical JSON.

    Args:
        is_simple: there is no float in it, and no object but with sorted keys. A writer that is three times as fast
            then gives the same bytes; a million rows are read in half the time.
    """
    try:
        data = to_json(value) if is_simple else None
    except PydanticSerializationError:  # half a character
        data = None
    if data is None:
        data = _CANONICAL.encode(value).encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).hexdigest()[:length]


class Record(BaseModel):
    """Base of all records."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Identified(Record):
    """A record whose `id` is the hash of what `identity` returns; a stored id that differs is refused."""

    id: str = ""

    @abstractmethod
    def identity(self) -> object:
        """Return the JSON-able content that the id stands for."""

    @property
    def _is_simple(self) -> bool:
        """What `digest` may take the identity for."""
        return False

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; one with other content gets an id of its own, and is checked like any record."""
        if not update:
            return super().model_copy(deep=deep)
        fields = {name: getattr(self, name) for name in type(self).model_fields if name != "id"}
        return type(self)(**fields | dict(update))

    @model_validator(mode="after")
    def _fill_id(self) -> Self:
        is_stored = "id" in self.__pydantic_fields_set__
        if self.id and not is_stored:
            return self  # filled below, when this very record was made: it is nested in another one now
        if is_stored and not self.id:
            raise ValueError("id is empty; leave it out or give the hash of the content")
        expected = digest(self.identity(), is_simple=self._is_simple)
        if self.id and self.id != expected:
            raise ValueError(f"id {self.id} does not belong to this content (expected {expected})")
        object.__setattr__(self, "id", expected)
        return self


class Message(Record):
    """One turn of a conversation."""

    role: Role
    content: str


class Usage(Record):
    """What calls to a model cost. Adds up; `dollars` is None as soon as one price is unknown."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    """Those of `input_tokens` that the provider had in its prompt cache and bills at a lower price."""
    dollars: float | None = 0.0

    def __add__(self, other: Usage) -> Usage:
        known = self.dollars is not None and other.dollars is not None
        return Usage(
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            dollars=(self.dollars or 0.0) + (other.dollars or 0.0) if known else None,
        )

    @property
    def tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens

    @classmethod
    def total(cls, usages: Iterable[Usage]) -> Usage:
        """Return the sum of `usages`."""
        return sum(usages, cls())


class LongPromptPrice(Record):
    """What all tokens of a request cost whose prompt has more than `above` tokens."""

    above: int
    input: float
    output: float
    cached_input: float | None = None


class Price(Record):
    """What a model costs, in US dollars per million tokens, and who says so."""

    input: float
    output: float
    cached_input: float | None = None
    """None: as much as `input`."""
    long_prompt: LongPromptPrice | None = None
    batch_discount: float = 0.5
    """What a batch API multiplies all of it by."""
    source: str


class Bill(Record):
    """What an artifact cost over APIs, in all runs that it took to make it.

    `paid` counts the replies that were paid for on its account. Replies that earlier work had paid for cost
    nothing again: `reused` says what they had cost. An attempt that brought no whole, readable reply may have
    been billed all the same: `lost` counts those, and the most that they can have cost.
    """

    paid: Usage = Usage()
    reused: Usage = Usage()
    lost: Usage = Usage()
    price: Price | None = None


class Sampling(Record):
    """How a completion was drawn: what was really asked of the model. None means "not sent"."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    top_logprobs: int | None = None

    def identity(self) -> dict[str, float | None]:
        """Return what changes a text: all but top_logprobs."""
        return {
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "temperature": self.temperature,
            "top_p": self.top_p,
        }


class Prompt(Identified):
    """A conversation that waits for an answer; `id` is the hash of its messages."""

    messages: tuple[Message, ...]
    source: str = ""

    @property
    def _is_simple(self) -> bool:
        return True

    def identity(self) -> object:
        """Return the messages."""
        return [[m.role, m.content] for m in self.messages]

    @model_validator(mode="after")
    def _is_a_conversation(self) -> Self:
        turns = [m for m in self.messages if m.role != "system"]
        if not turns:
            raise ValueError("a prompt needs a user message")
        if turns[0].role != "user":
            raise ValueError("the conversation starts with the assistant; a prompt starts with the user")
        if turns[-1].role != "user":
            raise ValueError("the conversation ends with the assistant; a prompt ends with the user")
        if not turns[-1].content.strip():
            raise ValueError("the prompt is empty or only white space")
        return self

    @classmethod
    def of(cls, text: str, source: str = "") -> Prompt:
        """Return the one-turn prompt that asks `text`."""
        return cls(messages=(Message(role="user", content=text),), source=source)

    @property
    def text(self) -> str:
        """The last user message alone, or the whole conversation as a transcript if there is more."""
        if len(self.messages) == 1:
            return self.messages[0].content
        return "\n\n".join(f"{m.role.capitalize()}: {m.content}" for m in self.messages)


class Completion(Identified):
    """One author's answer to one prompt. `index` counts an author's several samples of one prompt."""

    prompt_id: str
    author: str
    text: str
    stop_reason: StopReason = "unknown"
    sampling: Sampling = Sampling()
    index: Annotated[int, Field(ge=0)] = 0
    usage: Usage = Usage()

    @property
    def _is_simple(self) -> bool:
        return self.sampling.temperature is None and self.sampling.top_p is None

    def identity(self) -> object:
        """Return everything but what it cost."""
        return [
            self.prompt_id,
            self.author,
            self.text,
            self.stop_reason,
            self.sampling.identity(),
            self.index,
        ]

    @property
    def ended(self) -> bool:
        """True if the author finished by itself: then its end-of-sequence token is trained on."""
        return self.stop_reason in ("stop", "unknown")


class Pair(Identified):
    """Two different completions of one prompt."""

    left: Completion
    right: Completion

    def identity(self) -> object:
        """Return the two ids, in order."""
        return [self.left.id, self.right.id]

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        if self.left.prompt_id != self.right.prompt_id:
            raise ValueError(f"a pair needs one prompt, found {self.left.prompt_id} and {self.right.prompt_id}")
        if self.left.id == self.right.id:
            raise ValueError(f"completion {self.left.id} cannot be compared with itself")
        return self

    @property
    def prompt_id(self) -> str:
        """The prompt both completions answer."""
        return self.left.prompt_id


class Verdict(Identified):
    """What a critic (or judge) said of a pair. A tie and an unreadable reply are outcomes of their own."""

    pair: Pair
    orders: tuple[Order, ...]
    outcome: Outcome
    critic: str
    replies: tuple[str, ...]
    probability: Annotated[float, Field(ge=0, le=1)] | None = None
    """That the left completion is the better one, if the critic says so; the mean over the orders asked."""
    usage: Usage = Usage()

    def identity(self) -> object:
        """Return the pair, the critic, the orders asked and what it answered."""
        return [self.pair.id, self.critic, list(self.orders), list(self.replies), self.outcome]

    @property
    def prompt_id(self) -> str:
        """The prompt both completions answer."""
        return self.pair.prompt_id

    @model_validator(mode="after")
    def _one_reply_per_order(self) -> Self:
        if not self.orders or len(self.orders) != len(self.replies):
            raise ValueError(f"{len(self.orders)} orders asked but {len(self.replies)} replies")
        return self


class Preference(Identified):
    """`chosen` was found better than `rejected` by the verdicts named."""

    prompt_id: str
    chosen: Completion
    rejected: Completion
    verdict_ids: tuple[str, ...]
    weight: Annotated[float, Field(gt=0)] = 1.0

    def identity(self) -> object:
        """Return the two completions, the verdicts and the weight."""
        return [self.chosen.id, self.rejected.id, list(self.verdict_ids), self.weight]

    @model_validator(mode="after")
    def _comes_from_a_verdict(self) -> Self:
        if not self.verdict_ids:
            raise ValueError("a preference needs at least one verdict behind it")
        if {self.chosen.prompt_id, self.rejected.prompt_id} != {self.prompt_id}:
            raise ValueError("chosen and rejected must answer the preference's own prompt")
        if self.chosen.text == self.rejected.text:
            raise ValueError("chosen and rejected are the same text")
        return self


class Trained(Record):
    """A row that a checkpoint was trained on: `id` of the completion or preference, and its size."""

    id: str
    prompt_id: str
    num_tokens: int


class Margin(Record):
    """How much more a trained policy rewards the chosen than the rejected completion of the preference `id`."""

    id: str
    prompt_id: str
    margin: float


class Checkpoint(Record):
    """A plain Hugging Face folder with what is needed to use it as it was trained."""

    path: str
    base_model: str
    parent: str | None
    step: int
    chat_template: str


class WinRate(Record):
    """How often `policy` beat `baseline` in the eyes of `judge`, in percent; ties count half.

    `standard_error` (percentage points) is over prompts for one trained model; it says nothing of the
    spread between training runs, and it is None for a single prompt. `invalid` verdicts are left out of
    `rate` and counted here, and so are the `missing` ones: prompts without a verdict at all.
    """

    policy: str
    baseline: str
    judge: str
    wins: int
    losses: int
    ties: int
    invalid: int
    missing: int = 0
    rate: float
    standard_error: float | None

    @property
    def num_prompts(self) -> int:
        """How many prompts were to be judged."""
        return self.wins + self.losses + self.ties + self.invalid + self.missing

    @property
    def bounds(self) -> tuple[float, float]:
        """The rate if every invalid or missing verdict were a loss, and if it were a win."""
        unknown, judged = self.invalid + self.missing, self.wins + self.losses + self.ties
        total = self.rate * judged
        return total / self.num_prompts, (total + 100 * unknown) / self.num_prompts
