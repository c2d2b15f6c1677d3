"""How many planted leaks the gate finds, how many it finds where there are none, and how quick it is.

    benchmarks/data/leaks.py DATA_DIR [--minhash]

DATA_DIR holds alpaca_eval/, teachers/, hh/ and sharegpt/. Every instruction of AlpacaEval is planted in every way, as
a prompt of its own, as the first and as a later turn of a real conversation. What is found in the real prompts as
they are, is printed: whether it is a leak is for a person to say; all of it counts as wrong here.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from tutelage.data.leaks import KINDS, Leaks
from tutelage.data.normal import words_of
from tutelage.records import Message, Prompt

Plant = Callable[[str, random.Random], str]
CONVERSATIONS = "\n\nHuman:"
SENTENCE = re.compile(r"(?<=[.!?])\s+")
SPACES = (" ", "  ", "\n", "\t", "\u00a0", " \n\n")
STYLES = {"'": "’‘ʼ`´", '"': "“”„«»″", "-": "–—‑", "’": "'", "“": '"', "”": '"', "–": "-"}


def white_space(text: str, rng: random.Random) -> str:
    """Other white space between the words, and around them."""
    return rng.choice(SPACES) + "".join(word + rng.choice(SPACES) for word in text.split())


def no_punctuation(text: str, rng: random.Random) -> str:
    """Nothing but letters, digits and white space."""
    return re.sub(r"[^\w\s]|_", "", text)


def other_punctuation(text: str, rng: random.Random) -> str:
    """A mark after every third word, and others at the end."""
    words = [word + rng.choice((",", ";", " -", "...")) * (rng.random() < 0.3) for word in text.split()]
    return " ".join(words) + rng.choice(("", ".", "!!", "?!", "..."))


def quotes(text: str, rng: random.Random) -> str:
    """Apostrophes, quotes and dashes of another style; where there are none, a word gets quotes."""
    if not any(mark in text for mark in STYLES):
        words = text.split()
        place = rng.randrange(len(words))
        words[place] = rng.choice(("“{}”", "«{}»", "'{}'", "‹{}›", "„{}“")).format(words[place])
        return " ".join(words)
    return "".join(rng.choice(STYLES.get(c, c)) for c in text)


class Inserted:
    """A sentence of a real prompt put into another."""

    def __init__(self, sentences: list[str]) -> None:
        self.sentences = sentences

    def before(self, text: str, rng: random.Random) -> str:
        return f"{rng.choice(self.sentences)} {text}"

    def after(self, text: str, rng: random.Random) -> str:
        return f"{text} {rng.choice(self.sentences)}"

    def between_sentences(self, text: str, rng: random.Random) -> str:
        sentences = SENTENCE.split(text)
        if len(sentences) == 1:
            return self.between_words(text, rng)
        sentences.insert(rng.randrange(1, len(sentences)), rng.choice(self.sentences))
        return " ".join(sentences)

    def between_words(self, text: str, rng: random.Random) -> str:
        words = text.split()
        place = rng.randrange(1, len(words))
        return " ".join([*words[:place], rng.choice(self.sentences), *words[place:]])

    def plants(self) -> dict[str, Plant]:
        return {
            "as it is": lambda text, rng: text,
            "case": lambda text, rng: rng.choice((str.upper, str.lower, str.title, str.swapcase))(text),
            "white space": white_space,
            "punctuation removed": no_punctuation,
            "punctuation changed": other_punctuation,
            "quotes": quotes,
            "sentence before": self.before,
            "sentence after": self.after,
            "sentence between sentences": self.between_sentences,
            "sentence between words": self.between_words,
            "case, white space, sentence after": lambda text, rng: white_space(self.after(text, rng).upper(), rng),
        }


def conversation(turns: list[str]) -> Prompt:
    """A prompt of these user turns, answered with a word."""
    said = [m for turn in turns for m in (Message(role="user", content=turn), Message(role="assistant", content="…"))]
    return Prompt(messages=tuple(said[:-1]))


def real(folder: Path) -> dict[str, list[list[str]]]:
    """The user turns of the training conversations, by where they come from."""
    turns: dict[str, list[list[str]]] = {"alpaca": [], "hh": [], "sharegpt": []}
    for path in sorted(folder.glob("teachers/alpaca_davinci003*.jsonl.gz")):
        turns["alpaca"] += [[row["instruction"]] for row in rows_of(path)]
    for path in sorted(folder.glob("hh/*.jsonl.gz")):
        for row in rows_of(path):
            said = row["chosen"].split(CONVERSATIONS)[1:]
            turns["hh"].append([turn.partition("\n\nAssistant:")[0].strip() for turn in said])
    for row in document(folder / "sharegpt/sharegpt_sample.json.gz"):
        turns["sharegpt"].append([m["value"] for m in row["conversations"] if m["from"] in ("human", "user")])
    return {name: [each for each in found if each and each[-1].strip()] for name, found in turns.items()}


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def document(path: Path) -> list[Any]:
    """The list that a file is."""
    return list(json.loads(gzip.decompress(path.read_bytes())))


def recall(evaluated: list[Prompt], turns: dict[str, list[list[str]]], leaks: Leaks) -> tuple[str, int]:
    """Plant every instruction in every way in three places; return a table and how many were found."""
    rng = random.Random(0)
    hosts = [each for each in (*turns["hh"], *turns["sharegpt"]) if len(each) > 1]
    lines, total = [], 0
    for name, plant in Inserted(sentences_of(turns)).plants().items():
        found, wrong, missed = Counter[str](), 0, []
        for prompt in evaluated:
            host = rng.choice(hosts)
            planted = plant(prompt.text, rng)
            places = {"alone": [planted], "first": [planted, *host[1:]], "later": [*host[:-1], planted]}
            for place, said in places.items():
                hit = {leak.evaluated.id for leak in leaks.of(conversation(said))}
                found[place] += prompt.id in hit
                wrong += len(hit - {prompt.id})
            if prompt.id not in hit:
                missed.append(planted)
        total += sum(found.values())
        share = 100 * sum(found.values()) / (3 * len(evaluated))
        lines.append([name, *(f"{found[p]}" for p in places), f"{share:.2f}", f"{wrong}"])
        for text in missed[:3]:
            print(f"  missed ({name}): {text[:120]!r}")
    head = ["planted", *(f"{p}, of {len(evaluated)}" for p in ("alone", "first turn", "later turn"))]
    return table([*head, "recall, %", "another one found"], lines), total


def precision(turns: dict[str, list[list[str]]], leaks: Leaks) -> tuple[str, int]:
    """Look at the real prompts as they are; print what is found."""
    lines, total = [], 0
    for name, conversations in turns.items():
        kinds = Counter[str]()
        for said in conversations:
            for leak in leaks.of(conversation(said)):
                kinds[leak.kind] += 1
                print(
                    f"  {name}, {leak.kind} {leak.overlap:.2f}: {leak.said[:100]!r} | {leak.evaluated.text[:100]!r}"
                )
        total += sum(kinds.values())
        lines.append([name, f"{len(conversations):,}", *(f"{kinds[kind]}" for kind in KINDS)])
    return table(["real prompts", "conversations", *KINDS], lines), total


def many(turns: dict[str, list[list[str]]], num: int) -> Iterator[Prompt]:
    """Yield `num` prompts of about 100 words, one in a thousand of 10,000, from the words of the real ones."""
    rng = random.Random(0)
    texts = [turn for found in turns.values() for said in found for turn in said]
    rng.shuffle(texts)
    words = cycle([word for text in texts for word in text.split()])
    for number in range(num):
        yield Prompt.of(" ".join(islice(words, 10_000 if number % 1000 == 0 else rng.randint(20, 180))))


def speed(turns: dict[str, list[list[str]]], evaluated: list[Prompt], num: int) -> str:
    """Look at `num` prompts, one after the other."""
    made = list(many(turns, num))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    leaks = Leaks(evaluated)
    indexed = time.process_time()
    found = sum(bool(leaks.of(prompt)) for prompt in made)
    seconds = time.process_time() - indexed
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    sizes = [len(prompt.text.split()) for prompt in made]
    return (
        f"{num:,} prompts x {len(evaluated)}: {indexed - start:.2f} s for the index, {seconds:.1f} s for the prompts "
        f"({sum(sizes) / num:.0f} words on average, {max(sizes):,} at most; {found} found), "
        f"{grown:.0f} MB more at the peak"
    )


class MinHashed:
    """The same question asked of datasketch: an index of estimates of the resemblance of words' trigrams."""

    def __init__(self, evaluated: list[Prompt], threshold: float, num_perm: int = 128) -> None:
        from datasketch import MinHashLSH

        self.num_perm = num_perm
        self.index = MinHashLSH(threshold=threshold, num_perm=num_perm)
        for prompt in evaluated:
            self.index.insert(prompt.id, self._hashed(prompt.text))

    def of(self, text: str) -> set[str]:
        """Return the ids of the evaluated prompts that a text seems to resemble."""
        return set(self.index.query(self._hashed(text)))

    def _hashed(self, text: str) -> object:
        from datasketch import MinHash

        hashed = MinHash(num_perm=self.num_perm)
        words = words_of(text)
        hashed.update_batch([" ".join(gram).encode() for gram in zip(words, words[1:], words[2:], strict=False)])
        return hashed


def minhash(turns: dict[str, list[list[str]]], evaluated: list[Prompt], num: int) -> str:
    """Plant the same in datasketch's way, and look at `num` prompts and at the real ones."""
    lines = []
    for threshold in (0.9, 0.7, 0.5, 0.3):
        hashed = MinHashed(evaluated, threshold)
        rng, cells = random.Random(0), []
        plants = Inserted(sentences_of(turns)).plants()
        for name in COMPARED:
            found = sum(prompt.id in hashed.of(plants[name](prompt.text, rng)) for prompt in evaluated)
            cells.append(f"{100 * found / len(evaluated):.1f}")
        others = sum(len(hashed.of(turn)) for said in turns["hh"][::4] for turn in said)
        start = time.process_time()
        for prompt in many(turns, num):
            hashed.of(prompt.text)
        lines.append([f"{threshold}", *cells, f"{others}", f"{(time.process_time() - start) / num * 1e5:.0f}"])
    head = ["resemblance", *(f"{name}, %" for name in COMPARED), "pairs in a quarter of hh", "s for 100,000"]
    return table(head, lines)


COMPARED = ("case", "punctuation removed", "sentence after", "sentence between sentences")


def sentences_of(turns: dict[str, list[list[str]]]) -> list[str]:
    """Whole sentences of real prompts."""
    found = (s for (text,) in turns["alpaca"][:5000] for s in SENTENCE.split(text) if 4 <= len(s.split()) <= 25)
    return [sentence for sentence in found if sentence[-1] in ".!?"]


def table(head: list[str], lines: list[list[str]]) -> str:
    """Return a Markdown table; all columns but the first are numbers."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *lines])


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--num", type=int, default=100_000, help="prompts for the speed")
    parser.add_argument("--minhash", action="store_true", help="ask datasketch too, which must be installed")
    options = parser.parse_args()
    turns = real(options.data)
    instructions = document(options.data / "alpaca_eval/eval_instructions.json.gz")
    evaluated = [Prompt.of(row["instruction"]) for row in instructions]
    leaks = Leaks(evaluated)
    print("## Planted leaks\n")
    planted, found = recall(evaluated, turns, leaks)
    print(f"\n{planted}\n\n## Real prompts\n")
    others, wrong = precision(turns, leaks)
    print(f"\n{others}\n\nprecision at the least: {100 * found / (found + wrong):.2f} %")
    print(f"\n## Speed\n\n{speed(turns, evaluated, options.num)}")
    if options.minhash:
        print(f"\n## MinHash\n\n{minhash(turns, evaluated, options.num // 100)}")


if __name__ == "__main__":
    main()
