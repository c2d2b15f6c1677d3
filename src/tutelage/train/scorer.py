"""A model as training sees it: items in, one number per completion out, however their rows are laid out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tutelage.train import attention
from tutelage.train.columns import column
from tutelage.train.encode import Example
from tutelage.train.head import Squash, token_logps
from tutelage.train.rows import Item, Rows, pack, pad

HEADS = ("score.", "classifier.")
"""What architectures call the head that makes a score of a hidden state."""


class Layout(NamedTuple):
    """How items become rows, and which of a model's attention functions reads them.

    shared: packed, the prompt of a pair once; packed: every completion after a prompt of its own; padded: one
    row each. Of a packed row our own attention function is told the segments, any other gets a mask.
    """

    rows: Literal["shared", "packed", "padded"]
    attention: str
    whole_head: bool = False
    """Logits by the model's own code, all at once: for a head that is more than we know of."""


class Scorer(nn.Module, ABC):
    """Holds a model and reads one number per completion off its last hidden states.

    All that is computed goes through `forward`, as sharded weights are gathered there. The model keeps the
    layout's attention function: activation checkpointing calls it again in the backward pass. To sample or
    save, take the model `as_loaded`.
    """

    memory: Any = None
    """What training was planned to take, for the message if it takes more."""

    def __init__(self, model: Any, layout: Layout | None = None) -> None:
        super().__init__()
        self.model = model
        self.loaded_attention = model.config._attn_implementation
        self.use(layout or Layout("padded", self.loaded_attention))

    def use(self, layout: Layout) -> None:
        """Take another layout.

        Raises:
            ValueError: the model has no such attention function.
        """
        self.layout = layout
        self.model.set_attn_implementation(layout.attention)

    @property
    def device(self) -> Any:
        """Where the model is."""
        return self.model.device

    @contextmanager
    def as_loaded(self) -> Iterator[Any]:
        """Lend the model with the attention function it came with."""
        self.model.set_attn_implementation(self.loaded_attention)
        try:
            yield self.model
        finally:
            self.model.set_attn_implementation(self.layout.attention)

    def forward(self, items: Sequence[Item], what: Literal["numbers", "details", "alone"] = "numbers") -> Tensor:
        """Return one number per completion, (N, K): N items of K completions each.

        details: instead all that is compared when a layout is tried, (any,); alone: the same by the model's own
        code on each completion alone, with no padding, no mask, no code of ours.
        """
        if what == "alone":
            return self.alone([branch for item in items for branch in item.branches])
        rows = self.rows(items)
        # no view: what is done in place to one would pass by the hooks that gather weights for the backward pass
        return self.details(rows) if what == "details" else self.read(rows).view(len(items), -1).clone()

    def rows(self, items: Sequence[Item]) -> Rows:
        """Lay out `items` as this model needs it."""
        if self.layout.rows == "padded":
            return pad(items, self.device)
        return pack(items, self.device, share=self.layout.rows == "shared")

    def sizes(self, items: Sequence[Item]) -> list[int]:
        """Return what each item costs in these rows, in tokens."""
        lengths = column(items, "lengths")
        prompts, num_branches = lengths[:, :1], lengths.shape[1] - 1
        if self.layout.rows == "shared":
            sizes = lengths.sum(1)
        elif self.layout.rows == "packed":
            sizes = (lengths[:, 1:] + prompts).sum(1)
        else:
            width = (lengths[:, 1:] + prompts).max(initial=0)
            sizes = np.full(len(lengths), width * num_branches)
        return sizes.tolist()  # type: ignore[no-any-return]

    @abstractmethod
    def read(self, rows: Rows) -> Tensor:
        """Return the number of each completion, (C,)."""

    @abstractmethod
    def details(self, rows: Rows) -> Tensor:
        """Return what `read` is made from, float32."""

    @abstractmethod
    def alone(self, completions: Sequence[Example]) -> Tensor:
        """Return the same as `details`, by the model's own code."""

    def hidden(self, rows: Rows) -> Tensor:
        """Return the last hidden states, (R * T, D)."""
        found = self.model.base_model(**self.arguments(rows)).last_hidden_state
        return found.flatten(0, 1)  # type: ignore[no-any-return]

    def arguments(self, rows: Rows) -> dict[str, Any]:
        """Return what the model is called with."""
        given: dict[str, Any] = {"input_ids": rows.input_ids, "use_cache": False}
        if rows.segments is None:
            return given | {"attention_mask": rows.attention_mask}
        given["position_ids"] = rows.position_ids
        if self.layout.attention == attention.NAME:
            return given | {"segments": rows.segments}
        mask = rows.segments.mask()
        if self.layout.attention == "eager":  # which adds its mask
            mask = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, torch.finfo(torch.float32).min)
        return given | {"attention_mask": mask}


class LogpScorer(Scorer):
    """Reads log p(completion | prompt), summed over the tokens that carry loss, in double precision.

    In single precision sums over long completions are off by 1e-4.
    """

    def read(self, rows: Rows) -> Tensor:
        """Return the log-probability of each completion, (C,) float64."""
        values = self.details(rows)
        sums = torch.zeros(len(rows.ends), dtype=torch.float64, device=values.device)
        return sums.index_add(0, rows.branch, values.double())

    def details(self, rows: Rows) -> Tensor:
        """Return log p(token | what comes before) of each token that carries loss, (L,) float32."""
        if self.layout.whole_head:
            logits = self.model(**self.arguments(rows)).logits.flatten(0, 1)[rows.predictors].float()
            return -torch.nn.functional.cross_entropy(logits, rows.targets, reduction="none")
        head = self.model.get_output_embeddings()
        hidden = self.hidden(rows)[rows.predictors]
        return token_logps(hidden, head, rows.targets, Squash.of(self.model.config))

    def alone(self, completions: Sequence[Example]) -> Tensor:
        """Return the same from the logits of each completion alone."""
        found = []
        for each in completions:
            ids = torch.tensor([each.prompt_ids + each.completion_ids], device=self.device)
            start = len(each.prompt_ids)
            logits = self.model(input_ids=ids, use_cache=False).logits[0, start - 1 : -1]
            logps = logits.float().log_softmax(-1).gather(1, ids[0, start:, None])[:, 0]
            found += [logps[first:end] for first, end in each.learnt]
        return torch.cat(found)


class RewardScorer(Scorer):
    """Reads the score of each completion at its last token, as Hugging Face's sequence classifiers do."""

    def read(self, rows: Rows) -> Tensor:
        """Return the scores, (C,) float32."""
        return self._scores(self.hidden(rows)[rows.ends])

    def details(self, rows: Rows) -> Tensor:
        """Return the scores and the hidden states: one score tells little of what it was computed from."""
        hidden = self.hidden(rows)
        return torch.cat([self._scores(hidden[rows.ends]), hidden[rows.predictors].float().flatten()])

    def alone(self, completions: Sequence[Example]) -> Tensor:
        """Return the same of each completion alone."""
        scores, found = [], []
        for each in completions:
            ids = torch.tensor([each.prompt_ids + each.completion_ids], device=self.device)
            hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
            scores.append(self.model(input_ids=ids, use_cache=False).logits.float().view(-1))
            found.append(hidden[len(each.prompt_ids) - 1 : -1].float().flatten())
        return torch.cat(scores + found)

    def _scores(self, hidden: Tensor) -> Tensor:
        """The head computes in float32: bfloat16 has 8 bits, and many scores would tie."""
        head = next(module for name, module in self.model.named_children() if f"{name}." in HEADS)
        with torch.autocast(hidden.device.type, enabled=False):
            scores: Tensor = head(hidden.float())[:, 0]
        return scores
