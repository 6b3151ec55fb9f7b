"""Plot how often each choice was chosen: ``python plot.py WAREHOUSE.duckdb PLOT.svg``.

Needs duckdb and matplotlib.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import duckdb
import matplotlib as mpl
from matplotlib.figure import Figure

COUNTS = Path(__file__).with_name("counts.sql")


def plot(warehouse: str, picture: str) -> None:
    """Draw a panel for each question, with a bar for each of its answers: the share who gave it.

    Args:
        warehouse: The DuckDB file that the tap has been loaded into.
        picture: Where to write; its ending is the format (``.svg``, ``.png``, ``.pdf``).
    """
    questions = defaultdict(list)
    with duckdb.connect(warehouse, read_only=True) as connection:
        for row in connection.execute(COUNTS.read_text(encoding="utf-8")).fetchall():
            collection, question, answer, responses, percent = row
            questions[collection, question].append((answer, percent, f"{responses} ({percent} %)"))
    heights = [len(answers) + 1 for answers in questions.values()]
    figure = Figure(figsize=(7, 0.28 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(questions), height_ratios=heights, squeeze=False)[:, 0]
    for panel, ((_, question), answers) in zip(panels, questions.items(), strict=True):
        names, shares, labels = zip(*reversed(answers), strict=True)  # the first is at the bottom
        panel.bar_label(panel.barh(names, shares, color="#4c72b0"), labels, padding=4)
        panel.set_title(question, loc="left", fontsize="medium", fontweight="bold")
        panel.set_xlim(0, 120)  # percent, and room for the labels
        panel.set_xticks([])
        panel.tick_params(left=False)
        panel.spines[["top", "right", "bottom"]].set_visible(False)
    # Text stays text, and two plots of the same rows are the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "counts"}):
        figure.savefig(picture, metadata={"Date": None} if picture.endswith(".svg") else None)


if __name__ == "__main__":
    plot(*sys.argv[1:])
