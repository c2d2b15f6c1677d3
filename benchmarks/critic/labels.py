"""How long does it take to read a critic's replies to 10,000 pairs and to turn the verdicts into preferences?

    python benchmarks/critic/labels.py [NUM_PAIRS]

Each pair was asked about in both orders, so there are twice as many replies; every tenth pair is undecided. Nothing
is asked and nothing is written: this is what is left of labelling once the replies are there. Medians of three turns.
Exit status 1 if a verdict is missing or nothing is preferred.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from tutelage.critic.evaluator import DEFAULT, load
from tutelage.critic.parse import Heard
from tutelage.critic.questions import opinion_of, questions, verdict_of
from tutelage.records import Completion, Pair, Prompt, Usage, Verdict
from tutelage.stages.choosing import Choosing, preferences_of

NUM_PAIRS, NUM_TURNS = 10_000, 3
WORDS = ["the", "answer", "names", "each", "step", "and", "says", "why", "it", "is", "taken"]
T = TypeVar("T")


def text(number: int, num_words: int) -> str:
    """Return a text of so many words that no other number has."""
    return f"{number}: " + " ".join(WORDS[(number + place) % len(WORDS)] for place in range(num_words))


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return what `work` returned, and the CPU seconds it took."""
    started = time.process_time()
    made = work()
    return made, time.process_time() - started


def main() -> None:
    """Print a table."""
    num = int(sys.argv[1]) if sys.argv[1:] else NUM_PAIRS
    prompts = [Prompt.of(text(number, 30)) for number in range(num)]
    pairs = [
        Pair(
            left=Completion(prompt_id=p.id, author="policy", text=text(2 * number, 200)),
            right=Completion(prompt_id=p.id, author="policy", text=text(2 * number + 1, 150), index=1),
        )
        for number, p in enumerate(prompts)
    ]
    evaluator = load(DEFAULT)
    asked = questions(pairs, {p.id: p for p in prompts}, evaluator, "both", 0)
    # the left one wins two pairs in three; it is first in one order and second in the other
    winners = ["tie" if n % 20 == 0 else "AB"[(n + (n // 2 % 3 == 0)) % 2] for n in range(2 * num)]
    said = [f"{text(number, 80)}\n\nVerdict: {winner}" for number, winner in enumerate(winners)]
    heard = [Heard(reply, usage=Usage(requests=1, input_tokens=700, output_tokens=110)) for reply in said]

    def parsed() -> list[Verdict]:
        verdicts = []
        for at in range(0, len(asked), 2):
            two, replies = asked[at : at + 2], heard[at : at + 2]
            verdicts.append(verdict_of(two, replies, opinion_of(two, replies, evaluator), "critic"))
        return verdicts

    def counted(settings: Choosing, verdicts: list[Verdict]) -> int:
        return len(preferences_of(verdicts, settings, lambda what, num: None))

    settings = {
        "all": Choosing(),
        "consistent, balanced by length": Choosing(consistent_only=True, balance="length"),
        "best against worst": Choosing(strategy="best_vs_worst"),
    }
    read = [timed(parsed) for _ in range(NUM_TURNS)]
    verdicts, seconds = read[0][0], statistics.median(each for _, each in read)
    print(f"{'replies':>8} {'verdicts':>9} {'CPU s':>6}")
    print(f"{len(heard):8,} {len(verdicts):9,} {seconds:6.2f}")
    print(f"\n{'preferences':>12} {'CPU s':>6} {'with the replies':>17}")
    complete = len(verdicts) == num
    for name, choosing in settings.items():
        turns = [timed(lambda choosing=choosing: counted(choosing, verdicts)) for _ in range(NUM_TURNS)]
        taken = statistics.median(each for _, each in turns)
        print(f"{turns[0][0]:12,} {taken:6.2f} {taken + seconds:17.2f}  {name}")
        complete = complete and turns[0][0] > 0
    sys.exit(not complete)


if __name__ == "__main__":
    main()
