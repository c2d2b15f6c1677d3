"""The settings of a preference loss, which of them each loss reads, and the objective they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tutelage.config import Group

if TYPE_CHECKING:
    from tutelage.train.objectives import PreferenceObjective

LossName = Literal["sigmoid", "ipo", "ipo_mean", "cdpo", "rdpo", "robust", "simpo", "orpo", "kto"]
_DPO = ("beta", "reference_free", "sft_reg")
_NOISY = (*_DPO, "importance_correction", "label_noise")
READS: dict[str, tuple[str, ...]] = {
    "sigmoid": (*_DPO, "importance_correction"),
    "ipo": _DPO,
    "ipo_mean": _DPO,
    "cdpo": _NOISY,
    "rdpo": _NOISY,
    "robust": _NOISY,
    "simpo": ("beta", "gamma"),
    "orpo": ("odds_weight",),
    "kto": ("beta", "desirable_weight", "undesirable_weight"),
}
"""The settings that each loss reads; any other that is changed is refused."""
BETAS = {"simpo": 2.0, "kto": 0.1}
"""Their papers' beta; it means something else in each loss, so that one default would not do."""


class Loss(Group):
    """What is minimised on pairs."""

    preset_group: ClassVar[str | None] = "loss"
    name: LossName = Field(
        "sigmoid",
        description="sigmoid: DPO's own; ipo: on summed log-probabilities, ipo_mean: per token; cdpo, rdpo: for "
        "labels of which the share label_noise is wrong; robust: the original's form of cdpo (divided by beta); "
        "simpo: per token, without a reference; orpo: SFT and an odds ratio, without a reference; kto: each "
        "completion against a point between gain and loss",
    )
    beta: float = Field(
        0.05,
        gt=0,
        description="how strongly the policy is held to the reference (paper: 0.05; kto: 0.1 unless given); of "
        "simpo, which has none, what turns log-probabilities per token into rewards (2.0 unless given)",
    )
    label_noise: float = Field(
        0.0, ge=0, lt=0.5, description="share of labels taken to be wrong, for cdpo, rdpo and robust"
    )
    reference_free: bool = Field(False, description="the loss ignores the reference; the metrics do not")
    importance_correction: bool = Field(
        False, description="weigh each pair by policy / reference of its rejected completion (not with ipo)"
    )
    sft_reg: float = Field(0.0, ge=0, description="so many times -log p(chosen) is added to the loss of a pair")
    gamma: float = Field(
        1.0,
        ge=0,
        description="of simpo: margin that the rewards are to keep (the authors tune gamma / beta near 0.5)",
    )
    odds_weight: float = Field(0.1, gt=0, description="of orpo: weight of the odds ratio beside SFT (lambda)")
    desirable_weight: float = Field(1.0, gt=0, description="of kto: weight of the chosen completions (lambda_D)")
    undesirable_weight: float = Field(1.0, gt=0, description="of kto: weight of the rejected completions (lambda_U)")

    @model_validator(mode="before")
    @classmethod
    def _has_its_own_beta(cls, given: Any) -> Any:
        name = given.get("name") if isinstance(given, dict) else None
        return {"beta": BETAS[name], **given} if isinstance(name, str) and name in BETAS else given

    @model_validator(mode="after")
    def _is_read(self) -> Self:
        problems = []
        for key, field in type(self).model_fields.items():
            if key in ("name", *READS[self.name]) or getattr(self, key) == field.default:
                continue
            readers = ", ".join(name for name, read in READS.items() if key in read)
            problems.append(f"{key} is read by {readers}; {self.name} does not read it: leave it out")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def objective(self, end_id: int) -> PreferenceObjective:
        """Return what these settings minimise.

        Args:
            end_id: the end-of-turn token.
        """
        from tutelage.train.objectives import DPOObjective, KTOObjective, ORPOObjective, SimPOObjective

        others: dict[str, Any] = {"simpo": SimPOObjective, "orpo": ORPOObjective, "kto": KTOObjective}
        values = {key: getattr(self, key) for key in READS[self.name]}
        if self.name in others:
            made: PreferenceObjective = others[self.name](**values, end_id=end_id)
            return made
        return DPOObjective(name=self.name, **values, end_id=end_id)  # type: ignore[arg-type]
