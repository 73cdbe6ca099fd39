"""`make bench` in small: one part, with the real adapter, to a report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from installed import tool

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_S = 300


@pytest.mark.timeout(900)  # a minute in CI, beside others; twice that has been seen
def test_a_part_is_measured_and_reported(tmp_path: Path) -> None:
    """Raw figures, plots and text, and what changed since a record; all but the figures without measuring again."""
    tool("lwa-0.9.1/bin/lambda-adapter")
    command = [sys.executable, "-m", "bench", "-o", str(tmp_path)]
    subprocess.run([*command, "--quick", "--only", "startup", "--rounds", "2"], cwd=ROOT, check=True, timeout=LIMIT_S)
    results = json.loads((tmp_path / "benchmarks" / "results.json").read_text())
    assert {len(values) for values in results["parts"]["startup"]["figures"]["register_ms"].values()} == {2}
    report = tmp_path / "benchmarks.md"
    text = report.read_text()
    assert "exec to register" in text
    assert (tmp_path / "benchmarks" / "startup-register-ms.svg").exists()
    report.unlink()
    subprocess.run([*command, "--render"], cwd=ROOT, check=True, timeout=LIMIT_S)
    assert report.read_text() == text

    recorded = tmp_path / "recorded.json"
    again = [*command, "--render", "--compare", str(recorded)]
    for part in results["parts"].values():
        for by_setup in part["figures"].values():
            by_setup.update({name: values * 10 for name, values in by_setup.items()})
    recorded.write_text(json.dumps(results))
    same = subprocess.run(again, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S)
    assert (same.returncode, same.stderr) == (0, "")
    assert "0 of " in same.stdout
    figures = results["parts"]["startup"]["figures"]
    figures["pss_mb"] = {name: [value / 2 for value in values] for name, values in figures["pss_mb"].items()}
    recorded.write_text(json.dumps(results))
    worse = subprocess.run(again, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S)
    assert worse.returncode == 3
    assert "2.00 [" in worse.stdout
