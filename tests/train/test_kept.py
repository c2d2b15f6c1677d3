"""Checkpoints on the way: the last few, the best, and what becomes of the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

import tiny
from tutelage.errors import ConfigError, StoreError
from tutelage.stages import get
from tutelage.store import Artifact
from tutelage.train import saving


def words(folder: Path, *more: str) -> list[str]:
    """Twelve completions; every third begins otherwise, so what is held out is soon unlearnt."""
    if not (folder / "rows.jsonl").exists():
        tiny.folder(folder / "model")
        rows = [
            {"prompt": f"the dog {i}", "completion": f"{'fox' if i % 3 else 'Paris'} {i}" * 3, "author": "me"}
            for i in range(12)
        ]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ["lr=0.05", "optimizer=adamw", "epochs=4", "batch_size=4", f"artifacts={folder / 'artifacts'}"]
    return [f"model={folder / 'model'}", f"completions={folder / 'rows.jsonl'}", *given, *more]


def sft(folder: Path, *more: str) -> Artifact:
    stage = get("sft")
    return stage.run(*stage.configure(words(folder, *more)))


def evaluations(artifact: Artifact) -> dict[int, float]:
    rows = [json.loads(line) for line in (artifact.path / "eval.jsonl").read_text().splitlines()]
    return {row["step"]: row["eval/loss"] for row in rows}


def names(artifact: Artifact) -> list[str]:
    return sorted(path.name for path in (artifact.path / "checkpoints").iterdir())


def test_the_last_few_are_kept_and_change_nothing(tmp_path: Path) -> None:
    plain = sft(tmp_path)
    kept = sft(tmp_path, "checkpoint_every=3", "keep_checkpoints=2", f"artifacts={tmp_path / 'other'}")
    assert names(kept) == ["step-000009", "step-000012"]
    assert plain.record.fingerprint == kept.record.fingerprint
    assert plain.record.content == kept.record.content
    last = kept.path / "checkpoints" / "step-000012" / "model.safetensors"
    assert last.read_bytes() == (kept.path / "checkpoint" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("more", [(), ("lora=4", "lr=10", "epochs=2")])
def test_the_best_is_what_the_run_is_for_if_that_is_asked(tmp_path: Path, more: Any) -> None:
    best = sft(tmp_path, "held_out=0.4", "eval_every=1", "final=best", *more)
    losses = evaluations(best)
    step = min((loss, step) for step, loss in losses.items() if step)[1]
    assert step < max(losses), "the held-out loss never rose: the test shows nothing"
    assert best.record.checkpoint is not None
    assert best.record.checkpoint.step == step
    again = sft(tmp_path, "held_out=0.4", "eval_every=1", *more, "checkpoint_every=1", "keep_checkpoints=99")
    wanted = again.path / "checkpoints" / f"step-{step:06d}" / "model.safetensors"
    assert wanted.read_bytes() == (best.path / "checkpoint" / "model.safetensors").read_bytes()
    assert names(best) == []
    assert (best.path / "adapter").is_dir() == bool(more)


def test_the_best_of_nothing_held_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"final=best need prompts that are held out; give held_out"):
        get("sft").configure(words(tmp_path, "final=best"))


def test_what_the_disk_gives_back_is_compared(tmp_path: Path) -> None:
    """A disk that loses a bit, and one that loses the end."""
    weights = tiny.model("llama", 64).state_dict()
    path = tmp_path / "model.safetensors"
    save_file({name: w for name, w in weights.items() if name != "lm_head.weight"}, path)
    saving._read_back(tmp_path, weights)
    changed = load_file(path)
    changed["model.norm.weight"][3] += 1e-7
    save_file(changed, path)
    with pytest.raises(StoreError, match=r"model\.norm\.weight is not what was written; check the disk"):
        saving._read_back(tmp_path, weights)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StoreError, match="cannot be read back"):
        saving._read_back(tmp_path, weights)


def test_a_run_that_finds_its_rows_encoded_makes_the_same(tmp_path: Path) -> None:
    """It calls the tokenizer less often, whose file says how it was last called."""
    given = words(tmp_path, "epochs=1")
    name = tmp_path / "model" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(name))
    tokenizer.enable_padding(pad_token="<|pad|>")
    tokenizer.enable_truncation(100)
    tokenizer.save(str(name))
    stage = get("sft")
    first = stage.run(*stage.configure(given))
    shutil.rmtree(first.path)
    assert stage.run(*stage.configure(given)).record.content == first.record.content


def test_what_lora_made_does_not_depend_on_where_the_base_model_lies(tmp_path: Path) -> None:
    """adapter/ names it, as peft wants to know; the content of an artifact is what later stages are known by."""
    made = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        made.append(sft(tmp_path / place, "lora=2"))
    assert made[0].record.fingerprint == made[1].record.fingerprint
    assert made[0].record.content == made[1].record.content
