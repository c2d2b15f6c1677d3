"""checkpoint -> text, in this process, with Hugging Face `generate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from transformers import GenerationConfig

from tutelage.disk import dump_rows
from tutelage.errors import ConfigError, DataError
from tutelage.generate.settings import Drawing
from tutelage.inputs import Model
from tutelage.progress import Progress, say
from tutelage.records import Completion, Prompt, Sampling, Usage, digest
from tutelage.store import Work
from tutelage.train.checkpoint import check_vocabulary, context_length, load_encoder, load_model, pad_id
from tutelage.train.encode import Encoder, Unusable

PARTIAL = "completions.partial.jsonl"


@dataclass(frozen=True)
class Draw:
    """A completion to be drawn: the prompt, its ids, and which of the prompt's samples it is."""

    prompt: Prompt
    ids: tuple[int, ...]
    index: int


def sample(
    source: Model, prompts: Sequence[Prompt], drawing: Drawing, num_samples: int, work: Work
) -> list[Completion]:
    """Draw `num_samples` completions of each prompt, in the order of `prompts`.

    Every batch has a seed of its own and is appended to a file when it is done, so a run that was stopped
    goes on after its last batch and draws what it would have drawn. Prompts that leave no room for
    `max_tokens`, or hold special tokens, are skipped and counted.

    Raises:
        DataError: no prompt could be used.
        ModelError: see `load_model`.
    """
    encoder = load_encoder(source)
    on_gpu = torch.cuda.is_available()
    model = load_model(source, dtype="bfloat16" if on_gpu and torch.cuda.is_bf16_supported() else "float32")
    check_vocabulary(model, encoder, source.path)
    draws = _draws(encoder, prompts, num_samples, drawing.max_tokens, context_length(model), work)
    # Prompts of one length together: little padding, and an order that depends on nothing but the prompts.
    draws.sort(key=lambda d: (len(d.ids), d.prompt.id, d.index))
    batches = [draws[i : i + drawing.batch_size] for i in range(0, len(draws), drawing.batch_size)]
    path = work.path / PARTIAL
    done = _keep_whole_batches(path, batches)
    author = source.author()
    with (
        Progress("sample", len(draws), "completions", done=len(done)) as progress,
        path.open("a", encoding="utf-8") as file,
    ):
        for batch in batches[_num_batches(done, batches) :]:
            made = draw_batch(model, encoder, batch, drawing, author)
            file.write(dump_rows(made))
            file.flush()
            done += made
            progress.advance(len(made))
    work.remove_when_finished(path)
    place = {p.id: i for i, p in enumerate(prompts)}
    return sorted(done, key=lambda c: (place[c.prompt_id], c.index))


def usable_prompts(
    encoder: Encoder, prompts: Iterable[Prompt], max_tokens: int, context: int, count: Callable[[str, int], None]
) -> Iterator[tuple[Prompt, tuple[int, ...]]]:
    """Yield the prompts that can be completed, with their token ids; the others are counted.

    Args:
        max_tokens: limit of a completion; a prompt must leave room for it.
        context: how many tokens the model can attend to.

    Raises:
        ConfigError: no prompt whatever would leave that room.
    """
    room = context - max_tokens
    if room < 1:
        raise ConfigError(
            f"max_tokens={max_tokens} leaves no room for a prompt: the model's context is {context} tokens"
        )
    for prompt in prompts:
        try:
            ids = encoder.prompt_ids(prompt)
            if len(ids) > room:
                raise Unusable(f"the prompt is longer than the context less max_tokens ({room} tokens)")
        except Unusable as reason:
            count(f"skipped: {reason}", 1)
            continue
        yield prompt, ids


def _draws(
    encoder: Encoder, prompts: Sequence[Prompt], num_samples: int, max_tokens: int, context: int, work: Work
) -> list[Draw]:
    usable = usable_prompts(encoder, prompts, max_tokens, context, work.count)
    draws = [Draw(prompt, ids, index) for prompt, ids in usable for index in range(num_samples)]
    if not draws:
        counts = ", ".join(f"{num} {what}" for what, num in work.counts.items())
        raise DataError(f"none of {len(prompts)} prompts can be sampled: {counts or 'there are none'}")
    return draws


def _num_batches(done: Sequence[Completion], batches: Sequence[Sequence[Draw]]) -> int:
    total, num = 0, 0
    while total < len(done):
        total += len(batches[num])
        num += 1
    return num


def _keep_whole_batches(path: Path, batches: Sequence[Sequence[Draw]]) -> list[Completion]:
    """Return what an interrupted run left, up to its last whole batch, and cut the file there."""
    found: list[Completion] = []
    if path.is_file():
        for line in path.read_bytes().split(b"\n"):
            try:
                found.append(Completion.model_validate_json(line))
            except ValidationError:
                break  # the end, or the line a kill tore
    whole: list[Completion] = []
    for batch in batches:
        rows = found[len(whole) : len(whole) + len(batch)]
        if [(r.prompt_id, r.index) for r in rows] != [(d.prompt.id, d.index) for d in batch]:
            break
        whole += rows
    path.write_text(dump_rows(whole), "utf-8")
    if whole:
        say(f"  goes on after {len(whole):,} completions")
    return whole


@torch.no_grad()
def draw_batch(
    model: Any, encoder: Encoder, batch: Sequence[Draw], drawing: Drawing, author: str
) -> list[Completion]:
    """Draw the completions of `batch` with a seed that depends on it and `drawing` alone."""
    width, pad = max(len(d.ids) for d in batch), pad_id(encoder)
    ids = torch.full((len(batch), width), pad)
    mask = torch.zeros_like(ids)
    for row, draw in enumerate(batch):
        ids[row, width - len(draw.ids) :] = torch.tensor(draw.ids)
        mask[row, width - len(draw.ids) :] = 1
    torch.manual_seed(int(digest([drawing.seed, [(d.prompt.id, d.index) for d in batch]], 15), 16))
    # A configuration of our own: the folder's may hold a top_k or a length limit nobody asked for.
    chances = {"do_sample": True, "temperature": drawing.temperature, "top_p": drawing.top_p, "top_k": 0}
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=drawing.max_tokens,
        eos_token_id=encoder.end_id,
        pad_token_id=pad,
        **(chances if drawing.temperature > 0 else {"do_sample": False}),
    )
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # or `generate` fills our gaps from the folder's
    out = model.generate(
        input_ids=ids.to(model.device), attention_mask=mask.to(model.device), generation_config=config
    )
    rows = out[:, width:].tolist()
    return [_completion(encoder, d, row, drawing, author) for d, row in zip(batch, rows, strict=True)]


def _completion(encoder: Encoder, draw: Draw, row: list[int], drawing: Drawing, author: str) -> Completion:
    ended = encoder.end_id in row
    ids = row[: row.index(encoder.end_id)] if ended else row
    return Completion(
        prompt_id=draw.prompt.id,
        author=author,
        text=encoder.decode(ids),
        stop_reason="stop" if ended else "length",
        sampling=Sampling(
            temperature=drawing.temperature,
            top_p=drawing.top_p,
            max_tokens=drawing.max_tokens,
            seed=drawing.seed,
        ),
        index=draw.index,
        usage=Usage(requests=1, input_tokens=len(draw.ids), output_tokens=len(ids)),
    )
