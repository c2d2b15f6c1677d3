"""Placeholder."""

from tutelage.study.tasks import Graph


def check(graph: Graph) -> None: ...
def plan(graph: Graph) -> str:
    return ""
