"""Real public data -> the student's base: a byte-level BPE tokenizer and a small pre-trained Llama.

    OMP_NUM_THREADS=1 python make_base.py --data DATA --without prepared/prompts.jsonl --out base

Text: every teacher completion under its instruction (teachers/*.jsonl.gz) and the openings of the ShareGPT
conversations, as plain documents; the base never sees the chat format. Left out: whatever holds an AlpacaEval
instruction and, with --without, the road's own prompts, so that neither teacher's completions of them are in
the base. The folder is a plain Hugging Face one: bf16 safetensors, tokenizer, chat template, generation
config. With --steps (the default) a run on one thread repeats exactly; --minutes follows the clock instead.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
import sys
import time
from pathlib import Path

import torch
from tiny_llama import make_model, make_tokenizer, save, train
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

TEACHERS = (
    "teachers/alpaca_davinci003.jsonl.gz",
    "teachers/alpaca_davinci003_pool.jsonl.gz",
    "teachers/alpaca_gpt4.jsonl.gz",
)
SHAREGPT = "sharegpt/sharegpt_sample.json.gz"
EVALUATION = "alpaca_eval/eval_instructions.json.gz"
CONTEXT = 512


def arguments() -> argparse.Namespace:
    """Read the command line; stop with a sentence where a file is missing or a number makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with teachers/, sharegpt/ and alpaca_eval/")
    add("--out", type=Path, required=True, help="model folder to write")
    add("--without", type=Path, help="prompts.jsonl of prepare.py: prompts to leave out of the text")
    add("--steps", type=int, default=1400, help="optimizer steps (default 1400)")
    add("--minutes", type=float, help="train by the clock instead of --steps; not repeatable")
    add("--rows", type=int, default=2, help=f"rows of {CONTEXT} tokens a step (default 2)")
    add("--vocabulary", type=int, default=8192, help="tokens (default 8192)")
    add("--width", type=int, default=256, help="a multiple of 64 (default 256)")
    add("--layers", type=int, default=4, help="(default 4)")
    add("--lr", type=float, default=2e-3, help="peak learning rate of AdamW (default 2e-3)")
    add("--sharegpt-characters", type=int, default=3000, help="of each conversation's opening (default 3000)")
    add("--seed", type=int, default=0, help="(default 0)")
    args = parser.parse_args()
    for name in (*TEACHERS, SHAREGPT, EVALUATION):
        if not (args.data / name).is_file():
            parser.error(f"--data {args.data}: the file {name} is missing there")
    if args.without and not args.without.is_file():
        parser.error(f"--without {args.without}: no such file; prepare.py writes it")
    if args.width < 64 or args.width % 64:
        parser.error("--width must be a multiple of 64")
    if args.vocabulary < 300:
        parser.error("--vocabulary must be at least 300: 256 bytes, 4 chat tokens and some merges")
    if min(args.steps, args.rows, args.layers) < 1 or (args.minutes is not None and args.minutes <= 0):
        parser.error("--steps, --minutes, --rows and --layers must be positive")
    if (args.out / "config.json").exists():
        parser.error(f"--out {args.out}: already holds a model; remove it or choose another folder")
    return args


def same(text: str) -> str:
    """Return the form in which two prompts count as the same."""
    return "".join(filter(str.isalnum, text.lower()))


def read_documents(data: Path, without: Path | None, sharegpt_characters: int) -> list[str]:
    """Return the text as documents; print how many came from where and how many were left out."""
    with gzip.open(data / EVALUATION, "rt", encoding="utf-8") as text:
        held_out = {same(row["instruction"]) for row in json.load(text)}
    if without:
        lines = without.read_text("utf-8").split("\n")
        held_out |= {same(json.loads(line)["instruction"]) for line in lines if line}
    documents = []
    for name in TEACHERS:
        with gzip.open(data / name, "rt", encoding="utf-8") as packed:
            rows = [json.loads(line) for line in packed]
        kept = [f"{r['instruction']}\n\n{r['output']}" for r in rows if same(r["instruction"]) not in held_out]
        print(f"{name}: {len(kept)} documents, {len(rows) - len(kept)} left out")
        documents += kept
    with gzip.open(data / SHAREGPT, "rt", encoding="utf-8") as text:
        talks = [[turn["value"] for turn in talk["conversations"]] for talk in json.load(text)]
    kept = ["\n\n".join(turns)[:sharegpt_characters] for turns in talks if not held_out & set(map(same, turns))]
    print(f"{SHAREGPT}: {len(kept)} documents, {len(talks) - len(kept)} left out")
    return documents + kept


def pack(documents: list[str], tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """Return rows [N, CONTEXT]: documents end to end, each closed with eos; a last partial row is dropped."""
    # split_special_tokens: a document that spells a chat token means the text, not the token.
    encoded = tokenizer(documents, add_special_tokens=False, split_special_tokens=True, verbose=False)
    ids = [token for document in encoded["input_ids"] for token in (*document, tokenizer.eos_token_id)]
    num_rows = len(ids) // CONTEXT
    return torch.tensor(ids[: num_rows * CONTEXT]).view(num_rows, CONTEXT)


def mean_loss(model: LlamaForCausalLM, rows: torch.Tensor) -> float:
    """Return the mean loss over `rows` in nats a token."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        losses = [model(input_ids=chunk, labels=chunk).loss.item() * len(chunk) for chunk in rows.split(4)]
    return sum(losses) / len(rows)


def main() -> None:
    """Text -> tokenizer -> rows -> model -> folder."""
    args = arguments()
    torch.manual_seed(args.seed)
    documents = read_documents(args.data, args.without, args.sharegpt_characters)
    random.Random(args.seed).shuffle(documents)
    num_held = len(documents) // 100
    started = time.monotonic()
    tokenizer = make_tokenizer(documents[num_held:], args.vocabulary, CONTEXT)
    held, rows = pack(documents[:num_held], tokenizer), pack(documents[num_held:], tokenizer)
    if len(rows) < args.rows or not len(held):
        sys.exit("too little text for one step; give more documents or fewer --rows")
    bytes_a_token = sum(len(d.encode()) for d in documents) / (rows.numel() + held.numel())
    seconds = time.monotonic() - started
    print(f"tokenizer: {len(tokenizer)} tokens, {bytes_a_token:.2f} bytes a token, {seconds:.0f} s")
    model = make_model(tokenizer, CONTEXT, args.width, args.layers)
    print(f"model: {model.num_parameters() / 1e6:.2f}M parameters; text: {len(rows)} rows of {CONTEXT} tokens")

    order: list[int] = []
    num_shown = 0

    def next_loss() -> tuple[torch.Tensor, int, str]:
        nonlocal num_shown
        while len(order) < args.rows:
            order[:0] = torch.randperm(len(rows)).tolist()
        batch = rows[[order.pop() for _ in range(args.rows)]]
        num_shown += len(batch)
        loss = model(input_ids=batch, labels=batch).loss
        return loss, batch.numel(), f"{num_shown / len(rows):.2f} epochs"

    train(model, next_loss, lr=args.lr, steps=args.steps, minutes=args.minutes)
    model.eval()
    loss = mean_loss(model, held)
    print(f"held-out loss {loss:.3f} nats a token, {loss / math.log(2) / bytes_a_token:.3f} bits a byte")
    save(model, tokenizer, args.out)


if __name__ == "__main__":
    main()
