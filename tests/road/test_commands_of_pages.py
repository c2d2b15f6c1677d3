"""Every command in a block of docs/from_dpo_rlaif.md and recipes/README.md, as it stands there.

They run on files as the research code leaves them; only size is changed, and where the models of an API are.
"""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from string import Template

import pytest

from dpo_rlaif_files import RUN, make_evaluators, make_place, prefers_the_longer
from stub_server import StubServer
from tutelage.cli import main

ROOT = Path(__file__).parents[2]
TRAINING = ("epochs=1", "devices=1")
MODELS = ("TEACHER", "CRITIC", "JUDGE", "CLAUDE")
SMALL = {
    "sft": TRAINING,
    "dpo": TRAINING,
    "train": TRAINING,
    "reward": TRAINING,
    "sample": ("max_tokens=16",),
    "evaluate": ("drawing.max_tokens=16",),
    "run": (
        *(f"{stage}.{word}" for stage in ("sft", "dpo") for word in TRAINING),
        "sample.max_tokens=16",
        "evaluate.drawing.max_tokens=16",
    ),
}
"""What a command gets beside its own words: size, which is no part of what the page says."""
_ASSIGNED = re.compile(r"(\w+)=\$\((.*)\)")


def commands(page: Path) -> Iterator[str]:
    """Yield the lines of the blocks, those that go on joined."""
    for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith("#"):
                yield line


def run(line: str, known: dict[str, str], server: StubServer) -> None:
    """Do what a shell would with one line: a folder, a variable, or a command of ours whose words are all known."""
    assigned = _ASSIGNED.fullmatch(line)
    words = shlex.split(Template(assigned[2] if assigned else line).substitute(known), comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):  # CUDA_VISIBLE_DEVICES=0 tutelage ..., or an assignment
        name, _, value = words.pop(0).partition("=")
        known[name] = value
    if words[:1] == ["mkdir"]:
        Path(words[1]).mkdir()
    elif words:
        assert words[0] == "tutelage", f"not a command of ours: {line}"
        printed = tutelage(words[1:], server, line)
        if assigned:
            known[assigned[1]] = printed.strip()


def tutelage(words: list[str], server: StubServer, line: str) -> str:
    place = []
    for word in words:
        if asked := re.fullmatch(r"((?:\w+\.)*(?:teacher|critic|judge))\.model=(\w+)", word):
            address = server.anthropic_url if asked[2] == "claude" else server.openai_url
            place.append(f"{asked[1]}.base_url={address}")
    output = io.StringIO()
    with redirect_stdout(output):
        status = main([*words, *SMALL.get(words[0], ()), *place])
    assert status == 0, f"status {status}: {line}"
    return output.getvalue()


def names(place: Path) -> Mapping[str, str]:
    """The variables that the pages speak of."""
    cache = place / "cache"
    return {
        "PROJECT_CACHE": str(cache),
        "RUN": str(cache / RUN / "epoch-9"),
        "REWARD": str(cache / "reward_training_test_2024-02-20_10-00-00_000001/epoch-1"),
        **{name: name.lower() for name in MODELS},
    }


@pytest.mark.slow
@pytest.mark.parametrize("page", ["docs/from_dpo_rlaif.md", "recipes/README.md"])
def test_every_command_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_place(tmp_path)
    make_evaluators(tmp_path / "site")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "another key")
    known = dict(names(tmp_path))
    lines = list(commands(ROOT / page))
    assert lines, f"{page} has no commands"
    with StubServer(prefers_the_longer, models=tuple(map(str.lower, MODELS))) as server:
        for line in lines:
            run(line, known, server)


def test_every_test_that_a_page_names_is_there() -> None:
    named = re.findall(r"`(\w+(?:/\w+)*\.py)::(test_\w+)`", (ROOT / "docs/from_dpo_rlaif.md").read_text())
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in _text(ROOT / "tests" / path)]
    assert len(named) > 40
    assert not missing


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
