"""teach and label as commands, against servers that misbehave in every way, in both providers' formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from running import tutelage
from small_road import record
from stub_server import Fault, StubServer, never, seeded

NUM = 30
SHARES = {
    **{name: 0.04 for name in ("rate_limited", "rate_limited_silent", "server_error", "unavailable", "overloaded")},
    **{name: 0.04 for name in ("reset", "drop", "drip", "malformed", "wrong_type", "empty_choices", "duplicate_id")},
    "hang": 0.02,
}


def reply(messages: list[dict[str, str]]) -> str:
    asked = messages[-1]["content"]
    return f"It is {asked[:40]}" if asked.startswith("question") else f"Well.\n\nVerdict: {'AB'[len(asked) % 2]}"


def taught_and_labelled(folder: Path, provider: str, fault: Fault) -> tuple[Path, Path]:
    """Run both commands; return the two artifacts."""
    prompts = [f"question {i}" for i in range(NUM)]
    against = [{"prompt": prompt, "completion": f"It was {prompt}", "author": "b"} for prompt in prompts]
    (folder / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in against))
    with StubServer(reply, fault=fault, retry_after="0.1") as server:
        url = server.openai_url if provider == "openai" else server.anthropic_url
        preset = "local" if provider == "openai" else "anthropic"
        quick = ["timeout_seconds=1", f"base_url={url}", "api_key_env=null", "model=stub"]
        teacher, critic = ([f"{who}={preset}", *(f"{who}.{word}" for word in quick)] for who in ("teacher", "critic"))
        taught = tutelage(folder, "teach", "prompts=b.jsonl", *teacher).stdout.strip()
        labelled = tutelage(
            folder, "label", f"completions={taught}", "against=b.jsonl", "max_flip=1", *critic
        ).stdout.strip()
    return folder / taught, folder / labelled


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_server_with_every_fault_makes_the_same_rows_as_one_without(provider: str, tmp_path: Path) -> None:
    folders, met, drawn = {}, set(), seeded(3, **SHARES)

    def noted(text: str, nth: int) -> str | None:
        fault = drawn(text, nth)
        met.add(fault)
        return fault

    for name, fault in (("faulty", noted), ("sound", never)):
        (tmp_path / name).mkdir()
        folders[name] = taught_and_labelled(tmp_path / name, provider, fault)
    assert met == {None, *SHARES}
    for faulty, sound in zip(*folders.values(), strict=True):
        for file in ("completions.jsonl", "verdicts.jsonl"):
            if (sound / file).exists():
                assert (faulty / file).read_bytes() == (sound / file).read_bytes()
    made = record(folders["faulty"][1])
    assert made["counts"]["verdicts"] == NUM
    assert made["bill"]["paid"]["requests"] == 2 * NUM
    assert made["bill"]["lost"]["requests"] > 0
