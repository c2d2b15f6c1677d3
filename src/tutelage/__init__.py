"""Align language models with AI feedback, and find out whether the feedback helped."""

__version__ = "0.1.0"
