"""`tutelage data show`: what is in a file or an artifact, before anything is done with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from pydantic import Field

from tutelage.config import Group
from tutelage.data.artifacts import items_of_artifact
from tutelage.data.formats.item import Count, Item
from tutelage.data.histogram import Lengths, bars, beside
from tutelage.data.normal import normal
from tutelage.data.reading import format_of, read_items
from tutelage.data.repeats import Repeats
from tutelage.data.texts import SPECIAL_TOKENS, clip, fold, oddities, pad, special_tokens
from tutelage.inputs import Source
from tutelage.records import Completion, Prompt

COLUMNS = 100
HALF = 50
NUM_EXAMPLES, NUM_NAMES = 2, 8


class ShowConfig(Group):
    """Says what is in a file or an artifact."""

    rows: Source = Field(description="an artifact, or a file or data set of any known format")
    skip_bad: bool = Field(False, description="count rows that cannot be read and leave them out; false: stop at one")


def show(config: ShowConfig) -> str:
    """Return what is in it, in lines of at most 100 columns. Memory grows by some bytes a row, not by its text.

    Raises:
        DataError: it is damaged, of no known format, or a row cannot be read (unless `skip_bad`).
        StoreError: the artifact holds no prompts.
    """
    counts: Counter[str] = Counter()
    seen = Seen()
    for item in items_of(config.rows, lambda what, num: counts.update({what: num}), config.skip_bad):
        seen.add(item)
    return "\n".join([*_head(config.rows), *seen.lines(+counts)])


def items_of(rows: Source, count: Count, skip_bad: bool = False) -> Iterator[Item]:
    """Yield the items of an artifact or of a file."""
    made = rows.artifact()
    return read_items(rows, count, skip_bad) if made is None else items_of_artifact(made, rows, count)


def _head(rows: Source) -> Iterator[str]:
    made = rows.artifact()
    if made is None:
        yield clip(f"{format_of(rows).name}: {rows.path}", COLUMNS)
        return
    record = made.record
    yield clip(f"artifact of {record.stage}, {record.finished_at[:10]}: {rows.path}", COLUMNS)
    yield from _named("counts", [f"{num:,} {what}" for what, num in record.counts.items() if num])


class _Noted:
    """How many texts have something, and the prompt of the first."""

    def __init__(self) -> None:
        self.nums: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, kinds: Iterable[str], prompt_id: str) -> None:
        for kind in kinds:
            self.nums[kind] += 1
            self.first.setdefault(kind, prompt_id)


class _Texts:
    """Prompts, or completions: how many, how long, and what is odd about them."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.num = 0
        self.words, self.chars = Lengths(), Lengths()
        self.odd, self.special = _Noted(), _Noted()

    def add(self, text: str, prompt_id: str) -> None:
        self.num += 1
        self.words.add(len(text.split()))
        self.chars.add(len(text))
        self.odd.add(oddities(text), prompt_id)
        self.special.add(special_tokens(text), prompt_id)

    def lengths(self) -> list[str]:
        left = self.words.lines(f"{self.what}, words", HALF - 2)
        return beside(left, self.chars.lines("characters", HALF), HALF) if self.num else []


class Seen:
    """What was seen of items so far. Every prompt and every completion counts once, however often it comes."""

    def __init__(self) -> None:
        self.num = self.again = self.alike = self.empty = 0
        self.prompts, self.completions = _Texts("prompts"), _Texts("completions")
        self.sources: Counter[str] = Counter()
        self.authors: Counter[str] = Counter()
        self.critics: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.turns: Counter[int] = Counter()
        self.repeats = Repeats()
        self.examples: list[Item] = []
        self.first_again = self.first_alike = ""
        self._prompts: set[int] = set()
        self._normal: set[int] = set()
        self._completions: set[int] = set()

    def add(self, item: Item) -> None:
        """Take note of an item."""
        self.num += 1
        if len(self.examples) < NUM_EXAMPLES:
            self.examples.append(item)
        self._add_prompt(item.prompt)
        found = item.completions
        if item.verdict is not None:
            self.outcomes[item.verdict.outcome] += 1
            self.critics[item.verdict.critic] += 1
            found += (item.verdict.pair.left, item.verdict.pair.right)
        for completion in found:
            self._add_completion(completion)

    def _add_prompt(self, prompt: Prompt) -> None:
        if (key := int(prompt.id, 16)) in self._prompts:
            self.again += 1
            self.first_again = self.first_again or prompt.id
            return
        self._prompts.add(key)
        text = prompt.text
        if (alike := hash(normal(text))) in self._normal:
            self.alike += 1
            self.first_alike = self.first_alike or prompt.id
        self._normal.add(alike)
        self.prompts.add(text, prompt.id)
        self.sources[prompt.source] += 1
        self.turns[sum(m.role == "user" for m in prompt.messages)] += 1

    def _add_completion(self, completion: Completion) -> None:
        if (key := int(completion.id, 16)) in self._completions:
            return
        self._completions.add(key)
        self.completions.add(completion.text, completion.prompt_id)
        self.authors[completion.author] += 1
        if completion.text.strip():
            self.repeats.add(completion.text, int(completion.prompt_id, 16))
        else:
            self.empty += 1

    # ---- in words -----------------------------------------------------------------------------------

    def lines(self, counts: Counter[str]) -> Iterator[str]:
        """Yield all of it for people; `counts` says what was skipped or left out."""
        verdicts = self.outcomes.total()
        empty = f" ({self.empty:,} empty)" if self.empty else ""
        yield f"  {self.prompts.num:,} prompts, {self.completions.num:,} completions{empty}, {verdicts:,} verdicts"
        yield from _named("verdicts", _most(self.outcomes))
        yield from _named("critics", _most(self.critics))
        yield from _named("sources", _most(self.sources))
        yield from _named("authors", _most(self.authors))
        yield from _named(
            "left out",
            [f"{num:,} {what.removeprefix('skipped: ').removeprefix('left out: ')}" for what, num in counts.items()],
        )
        if self.num:
            yield from self._turns()
            for texts in (self.prompts, self.completions):
                yield from ("", *texts.lengths()) if texts.num else ()
            yield from self._duplicates()
            yield from _table("special tokens, written out", self.prompts.special, self.completions.special)
            yield from _table("scripts and odd characters", self.prompts.odd, self.completions.odd)
            for number, item in enumerate(self.examples, 1):
                yield from ("", *example(f"example {number}", item))

    def _turns(self) -> Iterator[str]:
        if set(self.turns) == {1}:
            yield "  turns      every prompt is one"
            return
        most = 10
        few = [(str(n), self.turns[n]) for n in range(1, min(max(self.turns), most - 1) + 1)]
        many = sum(num for turns, num in self.turns.items() if turns >= most)
        yield from ("", "turns of the user in a prompt", *bars(few + [(f"{most}+", many)] * bool(many), HALF))

    def _duplicates(self) -> Iterator[str]:
        found = []
        if self.again:
            found.append(f"{self.again:,} times a prompt that came before, as {self.first_again}")
        if self.alike:
            same = "prompts like an earlier one but for case, spaces or punctuation"
            found.append(f"{self.alike:,} {same}, as {self.first_alike}")
        repeated = self.repeats.most()
        if repeated:
            found.append(f"{len(self.repeats.prompts):,} completions that several prompts have in common:")
        found += [f"  {num:,} prompts: {text}" for text, num in repeated]
        yield from ("", "duplicates", *(f"  {clip(line, COLUMNS - 2)}" for line in found or ["none"]))


def _most(names: Counter[str]) -> list[str]:
    found = [f"{name or '(none)'} {num:,}" for name, num in names.most_common(NUM_NAMES)]
    rest = len(names) - NUM_NAMES
    return [*found, f"and {rest:,} others"] if rest > 0 else found


def _named(name: str, values: list[str]) -> Iterator[str]:
    """Yield the values behind a name, as many in a line as there is room for."""
    lines: list[str] = []
    for value in (clip(v, COLUMNS - 13) for v in values):
        if lines and len(lines[-1]) + len(value) + 2 <= (COLUMNS - 13) // 2:
            lines[-1] += f", {value}"
        else:
            lines.append(value)
    for number, line in enumerate(lines):
        yield f"  {name if number == 0 else '':<9}  {line}"


def _table(title: str, prompts: _Noted, completions: _Noted) -> Iterator[str]:
    kinds = sorted(prompts.nums + completions.nums, key=lambda k: (-prompts.nums[k] - completions.nums[k], k))
    if not kinds:
        yield from ("", title, "  none")
        return
    yield from ("", f"{pad(title, 57)}{'prompts':>9}{'completions':>13}  the first")
    for kind in kinds:
        name = f"{kind}  {SPECIAL_TOKENS[kind]}" if kind in SPECIAL_TOKENS else kind
        first = prompts.first.get(kind) or completions.first[kind]
        yield f"  {pad(name, 55)}{prompts.nums[kind]:>9,}{completions.nums[kind]:>13,}  {first}"


def example(title: str, item: Item) -> Iterator[str]:
    """Yield what an item says, shortened, with control characters as escapes."""
    said: list[tuple[str, str]] = [(m.role, m.content) for m in item.prompt.messages]
    earlier = len(said) - 3
    yield f"{title}: prompt {item.prompt.id}" + (f", {earlier} messages before these" if earlier > 0 else "")
    said = said[-3:] + [(c.author, c.text) for c in item.completions]
    if item.verdict is not None:
        pair, found = item.verdict.pair, item.verdict
        said += [(f"left, {pair.left.author}", pair.left.text), (f"right, {pair.right.author}", pair.right.text)]
        said.append(("verdict", f"{found.outcome}, by {found.critic}: {found.replies[0]}"))
    for name, text in said:
        for place, line in enumerate(fold(text, COLUMNS - 22, 3)):
            yield f"  {pad(name if place == 0 else '', 18)}  {line}"
