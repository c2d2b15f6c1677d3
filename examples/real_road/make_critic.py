"""A stand-in critic for a machine without one: a tiny Llama that answers pairwise prompts in the right form.

    OMP_NUM_THREADS=1 python make_critic.py --data DATA --tokenizer base --out critic

It reads tutelage's pairwise prompt and ends with "Verdict: A" or "Verdict: B". It was trained to name the
longer of the two answers, and not even that does it do reliably. ITS VERDICTS SAY NOTHING ABOUT QUALITY: it
is here so that the road can be walked over HTTP on one CPU core. Put a real model in its place to learn
anything. Each reply admits as much, so the reason is on record beside every verdict.

Training text: the pairwise template filled with teachers' completions and with pieces of them, cut to random
lengths. AlpacaEval instructions do not occur. With --steps a run on one thread repeats exactly.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
import re
from pathlib import Path

import torch
from tiny_llama import make_model, save, train
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, PreTrainedTokenizerFast

TEACHERS = ("teachers/alpaca_davinci003.jsonl.gz", "teachers/alpaca_gpt4.jsonl.gz")
TEMPLATE = Path(__file__).parents[2] / "src/tutelage/critic/templates/pairwise.txt"
REPLY = "Answer {better} is the longer one; this critic looks at nothing else.\nVerdict: {better}"
# Short answers first: counting is learnt on them within a few hundred steps and then carries over.
SHORT_PIECE, LONG_PIECE, SHORT_PROMPTS = 80, 400, 8000
Messages = list[dict[str, str]]


def arguments() -> argparse.Namespace:
    """Read the command line; stop with a sentence where a file is missing or a number makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with teachers/")
    add("--tokenizer", type=Path, required=True, help="folder of make_base.py: its tokenizer is used")
    add("--out", type=Path, required=True, help="model folder to write")
    add("--template", type=Path, default=TEMPLATE, help="pairwise template (default: tutelage's)")
    add("--steps", type=int, default=650, help="optimizer steps (default 650)")
    add("--minutes", type=float, help="train by the clock instead of --steps; not repeatable")
    add("--batch", type=int, default=16, help="prompts a step (default 16)")
    add("--context", type=int, default=2048, help="positions the model is made for (default 2048)")
    add("--width", type=int, default=64, help="a multiple of 32 (default 64)")
    add("--layers", type=int, default=3, help="(default 3)")
    add("--lr", type=float, default=3e-3, help="peak learning rate of AdamW (default 3e-3)")
    add("--seed", type=int, default=0, help="(default 0); another seed makes another critic, or a judge")
    args = parser.parse_args()
    for path in [*(args.data / name for name in TEACHERS), args.template, args.tokenizer / "tokenizer.json"]:
        if not path.is_file():
            parser.error(f"{path}: no such file")
    if min(args.steps, args.batch, args.layers) < 1 or (args.minutes is not None and args.minutes <= 0):
        parser.error("--steps, --minutes, --batch and --layers must be positive")
    if args.width < 32 or args.width % 32:
        parser.error("--width must be a multiple of 32")
    if (args.out / "config.json").exists():
        parser.error(f"--out {args.out}: already holds a model; remove it or choose another folder")
    return args


def read_template(path: Path) -> Messages:
    """Split a template file at its [system] and [user] lines into messages with open fields."""
    pieces = re.split(r"^\[(system|user)\]\n", path.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return [{"role": role, "content": text.strip()} for role, text in zip(pieces[::2], pieces[1::2], strict=True)]


def fill(template: Messages, fields: dict[str, str]) -> Messages:
    """Fill all fields in one pass."""

    def value(match: re.Match[str]) -> str:
        return fields[match[1]]

    return [
        {"role": m["role"], "content": re.sub(r"\{(instruction|first|second|fence)\}", value, m["content"])}
        for m in template
    ]


class Prompts:
    """Endless training prompts, each as token ids with the letter of its longer answer."""

    def __init__(self, args: argparse.Namespace, tokenizer: PreTrainedTokenizerFast) -> None:
        """Read the teachers' rows and the template."""
        self.rows: list[tuple[str, str]] = []
        for name in TEACHERS:
            with gzip.open(args.data / name, "rt", encoding="utf-8") as lines:
                found = [json.loads(line) for line in lines]
            self.rows += [(row["instruction"], row["output"]) for row in found if row["output"].strip()]
        print(f"text: {len(self.rows)} completions of two teachers")
        self.template = read_template(args.template)
        self.tokenizer = tokenizer
        self.random = random.Random(args.seed)
        self.num_drawn = 0
        self.replies = {
            better: [*tokenizer.encode(REPLY.format(better=better)), tokenizer.eos_token_id] for better in "AB"
        }

    def answer(self) -> str:
        """Return a completion, or part of one, or parts of several, of a length drawn log-uniformly."""
        words = self.random.choice(self.rows)[1].split(" ")
        longest = SHORT_PIECE if self.num_drawn < SHORT_PROMPTS else LONG_PIECE
        wanted = round(math.exp(self.random.uniform(0, math.log(longest))))
        while len(words) < wanted:
            words += self.random.choice(self.rows)[1].split(" ")
        start = self.random.choice((0, self.random.randint(0, len(words) - wanted)))
        return " ".join(words[start : start + wanted])

    def draw(self) -> tuple[list[int], str]:
        """Return the token ids of one prompt, ready for the reply, and the letter of the longer answer."""
        self.num_drawn += 1
        first, second = self.answer(), self.answer()
        while len(first) == len(second):
            second = self.answer()
        fence = f"{self.random.getrandbits(48):012x}"
        instruction = self.random.choice(self.rows)[0]
        fields = {"instruction": instruction, "first": first, "second": second, "fence": fence}
        messages = fill(self.template, fields)
        text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return self.tokenizer.encode(text, verbose=False), "A" if len(first) > len(second) else "B"

    def batches(self, size: int, longest: int) -> list[list[tuple[list[int], str]]]:
        """Return 8 batches of prompts of similar length, in random order, none over `longest` tokens."""
        drawn = [prompt for prompt in (self.draw() for _ in range(12 * size)) if len(prompt[0]) <= longest]
        drawn = sorted(drawn[: 8 * size], key=lambda prompt: len(prompt[0]))
        batches = [drawn[at : at + size] for at in range(0, len(drawn), size)]
        self.random.shuffle(batches)
        return batches


def main() -> None:
    """Template and completions -> a model that answers in the right form."""
    args = arguments()
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    tokenizer.model_max_length = args.context
    prompts = Prompts(args, tokenizer)
    size = len(prompts.replies["A"])
    # The first letter that differs between the two replies: the decision. The rest of a reply is form.
    decision = next(i for i in range(size) if prompts.replies["A"][i] != prompts.replies["B"][i])
    weights = torch.ones(size)
    weights[decision] = size
    model = make_model(tokenizer, args.context, args.width, args.layers, head_width=32)
    print(f"model: {model.num_parameters() / 1e6:.2f}M parameters, replies of {size} tokens")
    waiting: list[list[tuple[list[int], str]]] = []
    right = [0.5]

    def next_loss() -> tuple[torch.Tensor, int, str]:
        if not waiting:
            waiting.extend(prompts.batches(args.batch, args.context - size))
        batch = waiting.pop()
        replies = torch.tensor([prompts.replies[better] for _, better in batch])  # [B, T]
        width = max(len(ids) for ids, _ in batch) + size
        ids = torch.full((len(batch), width), tokenizer.pad_token_id)
        for row, (prompt, better) in zip(ids, batch, strict=True):
            row[: len(prompt) + size] = torch.tensor(prompt + prompts.replies[better])
        hidden = model.model(input_ids=ids).last_hidden_state  # [B, T, D]; pads stand last, so nothing sees them
        starts = torch.tensor([[len(prompt) - 1] for prompt, _ in batch])
        places = (starts + torch.arange(size)).unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
        logits = model.lm_head(hidden.gather(1, places)).float()  # [B, T, V]
        losses = cross_entropy(logits.transpose(1, 2), replies, reduction="none")  # [B, T]
        hits = (logits[:, decision].argmax(-1) == replies[:, decision]).float().mean().item()
        right.append(0.95 * right[-1] + 0.05 * hits)
        return (
            (losses * weights).sum() / weights.sum() / len(batch),
            ids.numel(),
            f"longer named {right[-1]:.2f}",
        )

    train(model, next_loss, lr=args.lr, steps=args.steps, minutes=args.minutes)
    save(model, tokenizer, args.out)
    print("its verdicts name the longer answer at best; they say nothing about quality")


if __name__ == "__main__":
    main()
