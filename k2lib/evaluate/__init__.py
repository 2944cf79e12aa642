"""Evaluation: metrics with intervals, local tasks for every stage, and the paper's published tables."""

from k2lib.evaluate.metrics import pass_at_k

__all__ = ["pass_at_k"]
