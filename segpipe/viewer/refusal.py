"""Requests that are answered with what is wrong with them."""

from __future__ import annotations


class RequestRefused(Exception):
    """A request cannot be answered.

    Attributes:
        status: of the answer.
        words: for the person who asked.
    """

    def __init__(self, words: str, status: int = 400) -> None:
        super().__init__(words)
        self.words, self.status = words, status
