"""TRL's trainers as contenders. Runs in TRL's own environment and imports nothing of tutelage.

The items are token ids already, so no tokenisation is measured. Of DPO's pass of the reference, which TRL makes when
a trainer is constructed, the time is counted; of the rest of the construction it is not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import datasets
import transformers
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, TrainerCallback
from transformers.trainer_pt_utils import BatchRebalanceSampler
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer, pack_dataset

from metering import Meter, build
from workloads import Case, Item, Workload

datasets.disable_progress_bars()
transformers.utils.logging.set_verbosity_error()


class Clock(TrainerCallback):
    """Counts the steps, from the beginning of the first to the end of the last."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """All is prepared."""
        self.meter.begin("train")

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        """All is trained."""
        self.meter.end("train")


class Recorded:
    """Keeps the losses, batch by batch, and the norms of the gradients, as TRL computes them."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Add the loss of one micro-batch."""
        loss = super().training_step(*args, **kwargs)  # type: ignore[misc]
        step = self.state.global_step  # type: ignore[attr-defined]
        self.losses = getattr(self, "losses", {})
        self.losses[step] = self.losses.get(step, 0) + loss
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)  # type: ignore[misc]
        self.norms = [*getattr(self, "norms", []), norm]
        return norm

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        sampler = super()._get_train_sampler(*args, **kwargs)  # type: ignore[misc]
        if isinstance(sampler, BatchRebalanceSampler):
            sampler.shuffle = False  # the batches of everybody else
        return sampler


class DPO(Recorded, DPOTrainer):  # type: ignore[misc]
    """TRL's DPO on token ids, with the pass of the reference counted."""

    meter: Meter

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, *args: Any) -> Any:
        with self.meter.part("reference"):
            return super()._precompute_ref_logps(*args)


class SFT(Recorded, SFTTrainer):  # type: ignore[misc]
    """TRL's SFT."""


def tokenizer(vocabulary: int) -> Any:
    """Return a tokenizer that TRL can ask for its padding."""
    names = ["<pad>", "<s>", "</s>", *(f"t{number}" for number in range(3, vocabulary))]
    words = Tokenizer(models.WordLevel({name: at for at, name in enumerate(names)}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def settings(case: Case, workload: Workload, folder: str, micro_batch: int) -> dict[str, Any]:
    """Return the training arguments that all of TRL's trainers share."""
    is_best = case.contender != "trl_defaults"
    sampling = "batch_rebalance" if case.variant == "rebalance" else "sequential"
    return {
        "output_dir": folder,
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": max(1, workload.batch_size // micro_batch),
        "num_train_epochs": workload.epochs,
        "learning_rate": workload.lr,
        "lr_scheduler_type": "constant",
        "optim": "rmsprop",
        "max_grad_norm": workload.clip,
        "bf16": case.precision == "bfloat16",
        "train_sampling_strategy": sampling,
        "use_cpu": case.device == "cpu",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": workload.seed,
        "max_length": workload.lengths.max_length,
        **({"gradient_checkpointing": False, "logging_strategy": "no"} if is_best else {}),
    }


def dpo_trainer(case: Case, workload: Workload, items: Sequence[Item], model: Any, meter: Meter, folder: str) -> Any:
    """Return TRL's trainer of pairs."""
    rows = [
        {
            "prompt_ids": list(item.prompt),
            "chosen_ids": list(item.completions[0]),
            "rejected_ids": list(item.completions[1]),
        }
        for item in items
    ]
    is_best = case.contender != "trl_defaults"
    arguments = settings(case, workload, folder, case.micro_batch or workload.batch_size)
    DPO.meter = meter
    return DPO(
        model=model,
        # as it comes, TRL keeps the reference in memory
        ref_model=None if is_best else build(workload, case.device).eval(),
        args=DPOConfig(**arguments, beta=workload.beta, precompute_ref_log_probs=is_best),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer(workload.shape.vocabulary),
        callbacks=[Clock(meter)],
    )


def sft_trainer(case: Case, workload: Workload, items: Sequence[Item], model: Any, meter: Meter, folder: str) -> Any:
    """Return TRL's trainer of single completions; packed rows are so many a step that steps stay about as many."""
    rows = [
        {
            "input_ids": [*item.prompt, *item.completions[0]],
            "labels": [-100] * len(item.prompt) + list(item.completions[0]),
        }
        for item in items
    ]
    micro_batch = case.micro_batch or workload.batch_size
    if case.variant == "packing":
        packed = pack_dataset(datasets.Dataset.from_list(rows), workload.lengths.max_length)
        num_rows = max(1, round(len(packed) / workload.steps_per_epoch))
        micro_batch = min(micro_batch, num_rows)
        arguments = settings(case, workload, folder, micro_batch)
        arguments["gradient_accumulation_steps"] = max(1, round(num_rows / micro_batch))
        arguments |= {"packing": True}
    else:
        arguments = settings(case, workload, folder, micro_batch)
    if case.variant == "padding_free":
        arguments |= {"padding_free": True, "max_length": None}  # TRL takes no limit then; the items are cut already
    return SFT(
        model=model,
        args=SFTConfig(**arguments),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer(workload.shape.vocabulary),
        callbacks=[Clock(meter)],
    )


def train(case: Case, workload: Workload, model: Any, meter: Meter) -> dict[str, Any]:
    """Train `model`; return the loss of every step and the norm of the gradient at the first."""
    make = dpo_trainer if workload.objective == "dpo" else sft_trainer
    with tempfile.TemporaryDirectory() as folder:
        trainer = make(case, workload, workload.items(), model, meter, folder)
        trainer.train()
    return {
        "losses": [float(loss) for _, loss in sorted(trainer.losses.items())],
        "grad_norm": float(trainer.norms[0]),
    }
