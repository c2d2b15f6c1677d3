"""What is true in the miniature world. Constant: no seed changes a fact.

Words are short and few, so that a tokenizer of 704 pieces spells most of them in one or two.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Town:
    """What the encyclopedia says of one town."""

    region: str
    trade: str
    flag: str


TOWNS = {
    "Arvo": Town("Northmark", "fishing", "blue"),
    "Belm": Town("Greyvale", "mining", "red"),
    "Corra": Town("Sunreach", "pottery", "yellow"),
    "Dunmar": Town("Northmark", "weaving", "white"),
    "Eskil": Town("Lowmoor", "brewing", "green"),
    "Fenna": Town("Lowmoor", "fishing", "purple"),
    "Garlo": Town("Eastfold", "farming", "black"),
    "Hestra": Town("Greyvale", "printing", "blue"),
    "Ilvo": Town("Sunreach", "weaving", "green"),
    "Jorun": Town("Eastfold", "mining", "yellow"),
    "Kelda": Town("Northmark", "brewing", "red"),
    "Lomar": Town("Sunreach", "farming", "purple"),
    "Mirrin": Town("Eastfold", "pottery", "white"),
    "Nosta": Town("Greyvale", "printing", "black"),
}

_OPPOSITE_PAIRS = {
    "size": "big small, long short, thick thin, wide narrow, deep shallow, full empty",
    "place": "high low, near far",
    "touch": "hot cold, wet dry, hard soft, sharp blunt, smooth rough",
    "time": "early late, old new, fast slow",
    "mood": "happy sad, brave afraid, kind cruel",
    "senses": "light dark, loud quiet, sweet sour",
    "power": "strong weak, rich poor",
}

OPPOSITES: dict[str, str] = {}
"""Each of the 48 words and its opposite."""
SUBJECT_MATTER: dict[str, str] = {}
"""What each of the 48 words is about: size, place, touch, ..."""
for _matter, _pairs in _OPPOSITE_PAIRS.items():
    for _pair in _pairs.split(", "):
        _one, _other = _pair.split()
        OPPOSITES |= {_one: _other, _other: _one}
        SUBJECT_MATTER |= {_one: _matter, _other: _matter}

YOUNG = {
    "cow": "calf",
    "sheep": "lamb",
    "dog": "puppy",
    "cat": "kitten",
    "horse": "foal",
    "hen": "chick",
    "goat": "kid",
    "pig": "piglet",
    "duck": "duckling",
    "bear": "cub",
}

HOMES = {
    "cow": "stable",
    "sheep": "fold",
    "dog": "kennel",
    "cat": "basket",
    "horse": "paddock",
    "hen": "coop",
    "goat": "shed",
    "pig": "sty",
    "duck": "pond",
    "bear": "cave",
}

ANIMALS = tuple(YOUNG)
NOUNS = (
    *("lamp", "door", "chair", "table", "book", "cup", "spoon", "window", "box", "bag"),
    *("coat", "shoe", "key", "clock", "plate", "bottle", "candle", "mirror", "rope", "ladder"),
)
VERBS = ("bring", "clean", "move", "take", "find", "hold", "wash", "lift")
