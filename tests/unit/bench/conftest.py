"""The verdicts need few samples: the figures are made up, and lie far from what decides."""

from __future__ import annotations

import pytest

from bench import compare, figures


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "RESAMPLES", 50)
    monkeypatch.setattr(figures, "RESAMPLES", 50)
