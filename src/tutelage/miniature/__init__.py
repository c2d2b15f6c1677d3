"""The embedded default: a small synthetic world with teachers, critic, oracle and a base model.

Everything but `build` runs without torch, and nothing here touches the network.
"""

from tutelage.miniature.base import base_path
from tutelage.miniature.client import MODELS, MiniatureClient
from tutelage.miniature.critic import CRITICS, Knobs, judge
from tutelage.miniature.oracle import grade
from tutelage.miniature.teachers import TEACHERS, Teacher, write
from tutelage.miniature.world import make_prompts, read_task

__all__ = [
    "CRITICS",
    "MODELS",
    "TEACHERS",
    "Knobs",
    "MiniatureClient",
    "Teacher",
    "base_path",
    "grade",
    "judge",
    "make_prompts",
    "read_task",
    "write",
]
