"""The miniature's models behind the same door as a model over HTTP: no network, no key, no torch.

A critic only judges. A teacher writes; but where it is shown two completions in the critic template `pairwise` it
judges them, as any language model would, so that feedback can come from the teacher itself: the weak ones and the
forum like `critic_noisy`, the strong one like `critic`, each with draws of its own.
"""

from __future__ import annotations

import difflib

from tutelage.chat.protocol import ChatReply, ChatRequest
from tutelage.critic.template import read_back
from tutelage.errors import RequestError, UnknownModelError
from tutelage.miniature.critic import CRITICS, JUDGING, judge
from tutelage.miniature.teachers import TEACHERS, Teacher, write
from tutelage.miniature.world import read_task
from tutelage.records import Sampling, Usage

MODELS = (*TEACHERS, *CRITICS)
_ANOTHER_WORLD = "I do not know."


class MiniatureClient:
    """A `tutelage.chat.protocol.Client` for one model of the miniature world.

    Draws depend on the model, the messages, `sampling.seed` (0 if there is none) and `sample_index`.
    Temperature, top-p and token limit mean nothing to these models, and the reply's `sampling` says so.
    """

    def __init__(self, model: str) -> None:
        if model not in MODELS:
            close = difflib.get_close_matches(model, MODELS, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UnknownModelError(f"the miniature world has no model {model!r}{hint} (it has {', '.join(MODELS)})")
        self.model = model
        self.name = f"miniature/{model}"

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer as the teacher or the critic that it is, or as the teacher that is asked for a verdict.

        Raises:
            RequestError: a critic was asked something that is not the `pairwise` template.
        """
        seed = request.sampling.seed or 0
        asked = request.messages[-1].content
        texts = read_back(asked)
        if texts is not None:
            # one number for both, so that the second draw of seed 0 is not the first of seed 1
            draw = 1000 * seed + request.sample_index
            # a teacher's own draws: with those of the critic that is as good as it, it would be that critic
            text = judge(*texts, JUDGING[self.model], draw if self.model in CRITICS else f"{self.model} {draw}")
        elif self.model in TEACHERS:
            text = _teach(TEACHERS[self.model], asked, seed, request.sample_index)
        else:
            raise RequestError(
                f"{self.name} reads only the critic template 'pairwise' and found no two completions in the message "
                f"{asked[:60]!r}; use template=pairwise, or a critic over an API for other templates"
            )
        return ChatReply(
            text=text,
            stop_reason="stop",
            usage=Usage(
                requests=1,
                # words stand for tokens: the ledger shows sizes that can be compared, not a bill
                input_tokens=sum(len(message.content.split()) for message in request.messages),
                output_tokens=len(text.split()),
                dollars=0.0,
            ),
            sampling=Sampling(seed=request.sampling.seed),
        )

    def stop(self) -> int:
        """Nothing is ever in flight."""
        return 0

    async def close(self) -> None:
        """Release nothing: there are no connections."""


def _teach(teacher: Teacher, prompt: str, seed: int, index: int) -> str:
    return _ANOTHER_WORLD if read_task(prompt) is None else write(teacher, prompt, seed, index)
