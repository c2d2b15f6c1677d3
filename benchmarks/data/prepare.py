"""Measures how preferences become tokens on disk: time per row, memory, and what a second run costs.

    python benchmarks/data/prepare.py [--rows 10000,100000,1000000]

Makes an artifact of prefer with so many rows of made-up words, prepares it for training in a process of its own,
and plans one epoch's micro-batches, without a model. Prints Markdown tables. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VOCABULARY, MAX_LENGTH, BATCH_SIZE, MICRO_BATCH_TOKENS = 32_000, 512, 64, 8192
PROMPT_WORDS, COMPLETION_WORDS = 80, 120
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class Texts:
    """Made-up words, a few of them often and most of them seldom, as in a language."""

    def __init__(self) -> None:
        drawn = random.Random(0)
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        weights = range(len(letters), 0, -1)
        self.words = ["".join(drawn.choices(letters, weights, k=drawn.randint(2, 9))) for _ in range(40_000)]
        self.places = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(self.words))))

    def text(self, drawn: random.Random, num_words: int) -> str:
        """Return a text of about so many words."""
        num = max(3, int(num_words * drawn.uniform(0.3, 1.7)))
        top = self.places[-1]
        found = [self.words[bisect.bisect(self.places, drawn.random() * top)] for _ in range(num)]
        return " ".join(found).capitalize() + "."


def save_tokenizer(folder: Path, texts: Texts) -> None:
    """Train a byte-level BPE on the texts, of the size that models have."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>", "<|pad|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator((texts.text(random.Random(i), 400) for i in range(4000)), trainer)
    whole = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=special[0], eos_token=special[1], pad_token=special[2]
    )
    whole.chat_template = TEMPLATE
    whole.save_pretrained(folder)


def row(texts: Texts, number: int) -> tuple[Any, Any, Any]:
    """Return a prompt and two completions of it."""
    from tutelage.records import Completion, Prompt

    drawn = random.Random(number)
    prompt = Prompt.of(texts.text(drawn, PROMPT_WORDS))
    chosen, rejected = (
        Completion(prompt_id=prompt.id, author=name, text=texts.text(drawn, COMPLETION_WORDS), stop_reason="stop")
        for name in ("teacher", "student")
    )
    return prompt, chosen, rejected


def save_preferences(root: Path, num: int, texts: Texts) -> Path:
    """Make an artifact of prefer; return its folder."""
    from tutelage.records import Preference, Prompt
    from tutelage.store import Made, Work

    def prompts() -> Iterator[Prompt]:
        return (row(texts, number)[0] for number in range(num))

    def preferences() -> Iterator[Preference]:
        for number in range(num):
            prompt, chosen, rejected = row(texts, number)
            yield Preference(prompt_id=prompt.id, chosen=chosen, rejected=rejected, verdict_ids=("v",))

    work = Work(root, "prefer", "benchmark", {"rows": num})
    with work.locked():
        work.write("prompts.jsonl", prompts())
        work.write("preferences.jsonl", preferences())
        return work.finish({}, {}, Made()).path


def encoder_of(folder: str) -> Any:
    """Return the tokenizer of a folder, as training loads it."""
    from transformers import AutoTokenizer

    from tutelage.train.encode import Encoder

    return Encoder(AutoTokenizer.from_pretrained(folder))


def prepare(root: str, artifact: str) -> dict[str, float]:
    """Prepare an artifact's preferences and plan an epoch; return the seconds of each, and the peak of memory."""
    import torch  # noqa: F401 - it is there in training, and its memory is not the rows'

    from tutelage.inputs import Finished
    from tutelage.stages.preparing import prepared_preferences
    from tutelage.store import Work
    from tutelage.train.loop import Plan
    from tutelage.train.rows import micro_batches
    from tutelage.train.settings import Training

    encoder = encoder_of(f"{root}/tokenizer")
    before = peak()
    started, cpu = time.monotonic(), time.process_time()
    work = Work(Path(root), "dpo", "benchmark", {})
    pairs = prepared_preferences(Finished(path=artifact), Training(), encoder, MAX_LENGTH, work)
    made, cpu = time.monotonic(), time.process_time() - cpu
    plan = Plan(len(pairs), BATCH_SIZE, 1, 0)
    micro = 0
    for step in range(plan.num_steps):
        batch = [pairs[i] for i in plan.indices(step)]
        micro += len(micro_batches(batch, [p.num_tokens for p in batch], MICRO_BATCH_TOKENS, 1)[0])
    return {
        "prepared": made - started,
        "cpu": cpu,
        "planned": time.monotonic() - made,
        "peak": peak(),
        "before": before,
        "tokens": float(pairs.column("num_tokens").sum()),
        "rows": len(pairs),
        "steps": plan.num_steps,
        "size": sum(file.stat().st_size for file in pairs.path.iterdir()),
    }


def peak() -> float:
    """Return the most memory this process has had, in MB; pages of mapped files are among it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def measured(root: Path, artifact: Path) -> dict[str, float]:
    """Return what `prepare` finds in a process of its own."""
    words = [sys.executable, __file__, "--prepare", str(root), str(artifact)]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(said.splitlines()[-1]))


def encoding(folder: Path, texts: Texts, num: int = 1000) -> list[tuple[str, float]]:
    """Return the CPU milliseconds that encoding a pair takes: a completion at a time, and many rows in one call."""
    encoder = encoder_of(str(folder))
    rows = [row(texts, number) for number in range(num)]
    rows_of_prompts = [(prompt, (chosen, rejected)) for prompt, chosen, rejected in rows]

    def alone() -> list[Any]:
        return [encoder.example(prompt, side) for prompt, sides in rows_of_prompts for side in sides]

    def together() -> list[Any]:
        found = []
        for start in range(0, num, 256):
            some = rows_of_prompts[start : start + 256]
            with encoder.knowing(some):
                found += [encoder.example(prompt, side) for prompt, sides in some for side in sides]
        return found

    timed, results = [], []
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for name, run in (("one by one", alone), ("together", together)):
        started = time.process_time()
        results.append(run())
        timed.append((name, 1000 * (time.process_time() - started) / num))
    assert results[0] == results[1], "the same tokens"
    return timed


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="10000,100000", help="sizes, separated by commas")
    parser.add_argument("--prepare", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.prepare:
        print(json.dumps(prepare(*given.prepare)))
        return
    texts = Texts()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        save_tokenizer(root / "tokenizer", texts)
        print("| encoding a pair | CPU ms |\n| --- | ---: |")
        for what, milliseconds in encoding(root / "tokenizer", texts):
            print(f"| {what} | {milliseconds:.2f} |")
        print(
            "\n| rows | tokens a row | prepared, s | ms a row | CPU ms a row | an epoch planned, s | ms a step "
            "| peak MB (before rows) | on disk, MB | again, s | its peak MB |\n| ---: " + "| ---: " * 10 + "|"
        )
        for num in map(int, given.rows.split(",")):
            artifact = save_preferences(root, num, texts)
            first, again = measured(root, artifact), measured(root, artifact)
            print(
                f"| {num:,} | {first['tokens'] / first['rows']:.0f} | {first['prepared']:,.1f} "
                f"| {1000 * first['prepared'] / num:.2f} | {1000 * first['cpu'] / num:.2f} | {first['planned']:,.1f} "
                f"| {1000 * first['planned'] / first['steps']:.2f} | {first['peak']:,.0f} ({first['before']:,.0f}) "
                f"| {first['size'] / 1e6:,.0f} | {again['prepared']:.2f} | {again['peak']:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
