"""What is odd about a text: scripts and hidden characters, broken encodings, special tokens written out. Pure."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from tutelage.disk import visible

SPECIAL_TOKENS = {
    "<s>": "Llama 1 and 2, Mistral",
    "</s>": "Llama 1 and 2, Mistral",
    "<unk>": "SentencePiece",
    "<pad>": "SentencePiece",
    "<bos>": "Gemma",
    "<eos>": "Gemma",
    "[INST]": "Llama 2, Mistral",
    "[/INST]": "Llama 2, Mistral",
    "<<SYS>>": "Llama 2",
    "<</SYS>>": "Llama 2",
    "<|begin_of_text|>": "Llama 3",
    "<|start_header_id|>": "Llama 3",
    "<|end_header_id|>": "Llama 3",
    "<|eot_id|>": "Llama 3",
    "<|end_of_text|>": "Llama 3",
    "<|endoftext|>": "GPT-2, Pythia, Qwen, Phi",
    "<|im_start|>": "ChatML: Qwen, Yi",
    "<|im_end|>": "ChatML: Qwen, Yi",
    "<|endofprompt|>": "GPT-4",
    "<|system|>": "Zephyr, OLMo, Phi",
    "<|user|>": "Zephyr, OLMo, Phi",
    "<|assistant|>": "Zephyr, OLMo, Phi",
    "<|end|>": "Phi, gpt-oss",
    "<start_of_turn>": "Gemma",
    "<end_of_turn>": "Gemma",
    "<|end_of_turn|>": "OpenChat",
    "<｜begin▁of▁sentence｜>": "DeepSeek",
    "<｜end▁of▁sentence｜>": "DeepSeek",
    "[CLS]": "BERT",
    "[SEP]": "BERT",
    "[MASK]": "BERT",
    "<mask>": "RoBERTa",
}
"""Texts that a tokenizer may read as one token of its own, and whose it is."""
_SPECIAL = re.compile("|".join(map(re.escape, sorted(SPECIAL_TOKENS, key=len, reverse=True))))
_SECOND_BYTES = "[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
_MOJIBAKE = re.compile(f"[ÂÃ]{_SECOND_BYTES}|â[\u0080€]{_SECOND_BYTES}|ï»¿|ð[\u009fŸ]{_SECOND_BYTES}")
"""UTF-8 that was read as Latin-1 or Windows-1252."""
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")

HIDDEN = {
    **dict.fromkeys("\u200b\u2060\u180e\ufeff\u00ad", "zero-width characters"),
    **dict.fromkeys("\u200c\u200d", "joiners (of emoji, Persian, Indic scripts)"),
    **dict.fromkeys("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069", "bidi controls"),
    **dict.fromkeys("\u2028\u2029\u0085", "line and paragraph separators"),
    "\r": "carriage returns",
    "\ufffd": "replacement characters U+FFFD (text lost on the way)",
}
MOJIBAKE = 'mojibake such as "Ã©" (UTF-8 read as Latin-1)'
_BY_CATEGORY = {
    "Cc": "control characters",
    "Cs": "lone surrogates (half a character)",
    "Co": "private-use characters",
    "Cn": "unassigned characters",
    "Cf": "other invisible characters",
    "Zs": "spaces that are none (no-break and others)",
    "Nd": "digits of other scripts",
}
_BY_NAME = {
    **dict.fromkeys(
        ("MATHEMATICAL", "CIRCLED", "SQUARED", "NEGATIVE", "BLACK-LETTER", "DOUBLE-STRUCK", "SCRIPT"),
        "styled letters (𝐛𝐨𝐥𝐝, 𝒾𝓉𝒶𝓁𝒾𝒸)",
    ),
    "FULLWIDTH": "full-width forms",
    "HALFWIDTH": "full-width forms",
    "COMBINING": "combining marks",
    "VARIATION": "emoji and dingbats",
    "LATIN": "Latin beyond ASCII (é, ß, ł)",
    "MODIFIER": "modifier letters",
    "FEMININE": "Latin beyond ASCII (é, ß, ł)",
    "MASCULINE": "Latin beyond ASCII (é, ß, ł)",
    "MICRO": "symbols",
    "CJK": "CJK ideographs",
    "IDEOGRAPHIC": "CJK ideographs",
    "KATAKANA-HIRAGANA": "Katakana",
}


def oddities(text: str) -> set[str]:
    """Return what `text` holds beyond plain English text: scripts, hidden characters, broken encodings."""
    if text.isascii():
        return {_kind(c) for c in _CONTROL.findall(text)}
    found = {kind for c in set(text) if (kind := _kind(c))}
    if _MOJIBAKE.search(text):
        found.add(MOJIBAKE)
    return found


@lru_cache(maxsize=1 << 16)
def _kind(char: str) -> str:
    """Return what kind of character `char` is; '' for what any English text holds."""
    if " " <= char <= "~" or char in "\n\t":
        return ""
    if char in HIDDEN:
        return HIDDEN[char]
    category = unicodedata.category(char)
    if category in _BY_CATEGORY:
        return _BY_CATEGORY[category]
    first = unicodedata.name(char, "UNNAMED").split(" ")[0]
    if _is_emoji(char):
        return "emoji and dingbats"
    if category[0] == "P":
        return "typographic punctuation (“ ” — …)" if char < "\u3000" else "CJK punctuation"
    if first in _BY_NAME:
        return _BY_NAME[first]
    return "symbols" if category[0] in "SN" else first.title()


def _is_emoji(char: str) -> bool:
    point = ord(char)
    return 0x1F300 <= point <= 0x1FAFF or 0x1F1E6 <= point <= 0x1F1FF or 0x2600 <= point <= 0x27BF or point == 0xFE0F


def special_tokens(text: str) -> set[str]:
    """Return the special tokens of well-known models that `text` holds, written out."""
    if "<" not in text and "[" not in text:
        return set()
    return set(_SPECIAL.findall(text))


# ---- lines for people -------------------------------------------------------------------------------


def width_of(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    return len(text) if text.isascii() else sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def clip(text: str, columns: int) -> str:
    """Return `text` in one line of at most so many columns, with everything that could hide or move as escapes."""
    shown = visible(text[: columns + 1])  # every character takes a column at least, or an escape of several
    if len(text) <= columns and width_of(shown) <= columns:
        return shown
    while width_of(shown) >= columns:
        shown = shown[:-1]
    return shown + "…"


def fold(text: str, columns: int, num: int) -> list[str]:
    """Return `text` in at most `num` such lines; of a longer one, its beginning and, after "…", its end."""
    shown = visible(text[: columns * num + 1])
    lines: list[str] = []
    while shown and len(lines) < num:
        cut = columns
        while width_of(shown[:cut]) > columns:
            cut -= 1
        if len(shown) > cut and (space := shown.rfind(" ", cut * 2 // 3, cut)) > 0:
            cut = space + 1
        lines.append(shown[:cut].rstrip())
        shown = shown[cut:]
    if shown:  # or text that was not even looked at
        end = visible(text[-columns:])
        while width_of(end) >= columns:
            end = end[1:]
        lines[-1] = "…" + end
    return lines or [""]


def pad(text: str, columns: int) -> str:
    """Return `text` in exactly so many columns; see `clip`."""
    shown = clip(text, columns)
    return shown + " " * (columns - width_of(shown))
