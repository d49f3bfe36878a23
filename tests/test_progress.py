"""Progress: from the first second on it says what is done and what is left."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console
from sweeping import small

from multiview.commands import display
from multiview.commands.display import ProgressDisplay, seconds_left
from multiview.commands.sweeps import _SweepProgress
from multiview.studies.study import total_network_steps
from multiview.sweeps.design import make_design
from multiview.sweeps.plan import make_plan
from multiview.verdicts import verification
from multiview.verdicts.prediction import predicted_networks


def test_what_is_left_is_the_guess_at_first_and_the_measured_speed_in_the_end():
    assert seconds_left(0, 0.0, 90) == 90
    assert seconds_left(30, 0.5, 90) == pytest.approx(0.5 * (30 + 45))
    assert seconds_left(60, 0.99, 90) == pytest.approx(0.01 * 60, rel=0.02)
    assert seconds_left(60, 1.0, 90) == 0


def test_the_prediction_is_the_first_part_of_the_work(tiny, monkeypatch):
    """It is announced before anything is computed, and its end is where training begins."""
    told = []

    def predict_study(study, progress):
        assert told == [(told[0][0], 0, total)]
        for _ in range(4):
            progress(predicted_networks(study) // 4)
        return {}

    total = predicted_networks(tiny) + total_network_steps(tiny)
    monkeypatch.setattr(verification, "predict_study", predict_study)
    verification.predict_first(tiny, lambda *words: told.append(words))
    assert [done for _, done, _ in told] == [predicted_networks(tiny) * i // 4 for i in range(5)]
    assert {all_of_it for *_, all_of_it in told} == {total}


@pytest.mark.parametrize("terminal", [False, True])
def test_the_first_line_says_what_is_done_and_what_is_left(terminal):
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=120)
    with ProgressDisplay(console, 80.0) as progress:
        progress("predicting", 0, 1000)
    assert "predicting" in written.getvalue()
    assert "about 80 s left" in written.getvalue()


def test_a_long_piece_of_work_without_a_terminal_is_not_silent(monkeypatch):
    monkeypatch.setattr(display, "SILENCE", 0.05)
    written = io.StringIO()
    with ProgressDisplay(Console(file=written, width=120), 80.0) as progress:
        progress("training", 30, 100)
        time.sleep(0.4)
    lines = written.getvalue().splitlines()
    assert len(lines) >= 3
    assert all("training" in line and "%/min" in line and "left" in line for line in lines)


def test_a_long_block_of_a_sweep_without_a_terminal_is_not_silent(monkeypatch):
    monkeypatch.setattr(display, "SILENCE", 0.05)
    written = io.StringIO()
    plan = make_plan(small(), make_design({"train.num_steps": [20, 30]}))
    progress = _SweepProgress(Console(file=written, width=120), plan)
    progress({"event": "start", "points": 2, "blocks": 4, "groups": 1, "done": 0, "failed": 0, "pending": 4})
    time.sleep(0.3)
    progress({"event": "block", "group": 0, "reason": "", "values": {}, "replicate": 0, "done": 1, "failed": 0,
              "blocks": 4, "left_in_group": 3, "points_done": 0, "seconds_left": 90.0})  # fmt: skip
    time.sleep(0.3)
    progress.close()
    lines = written.getvalue().splitlines()[1:]
    assert len(lines) >= 4
    assert "0/4 blocks" in lines[0]
    assert "1/4 blocks" in lines[-1]
    assert all("%/min" in line and "left" in line for line in lines)


ROWS = [("ensemble_probabilities_error", "10 … 24", "0 … 0.001", "0.0243", "0.0243 … 1.2345", "undecided"),
        ("single_error", "0.4581 … 0.4792", "0.49 … 0.51", "0.466", "0.4583 … 0.4751", "holds")]  # fmt: skip


@pytest.mark.parametrize("width", [200, 110, 80, 60, 40, 20])
@pytest.mark.parametrize("rows", [ROWS, [(*row, *row[1:]) for row in ROWS]])
def test_no_number_and_no_verdict_is_cut_at_any_width(width, rows):
    written = io.StringIO()
    header = [f"column {i}" for i in range(len(rows[0]))]
    display.print_table(Console(file=written, width=width), header, rows)
    text = written.getvalue()
    assert "…\n" not in text.replace(" …", "")
    for row in rows:
        for word in row[1:]:
            assert word in text
        assert row[0] in re.sub(r"\s.*\n", "", text) or row[0][:12] in text
    if width >= 80:
        assert max(map(len, text.splitlines())) <= width
