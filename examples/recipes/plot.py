"""Plot how often each choice was chosen: ``python plot.py WAREHOUSE.duckdb PLOT.svg``.

Needs duckdb and matplotlib, and the model `choice_counts` of examples/dbt in the warehouse.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import duckdb
import matplotlib as mpl
from matplotlib.figure import Figure

COUNTS = """
SELECT data_collection_id, question, answer, responses, percent
FROM choice_counts
ORDER BY data_collection_id, question, responses DESC, answer
"""


def plot(warehouse: str, picture: str) -> None:
    """Draw one panel per question, with one bar per answer: the share of responses that gave it.

    Args:
        warehouse: The DuckDB file with the model.
        picture: The output file; its extension sets the format (``.svg``, ``.png``, ``.pdf``).
    """
    questions = defaultdict(list)
    with duckdb.connect(warehouse, read_only=True) as connection:
        for row in connection.execute(COUNTS).fetchall():
            collection, question, answer, responses, percent = row
            questions[collection, question].append((answer, percent, f"{responses} ({percent} %)"))
    heights = [len(answers) + 1 for answers in questions.values()]
    figure = Figure(figsize=(7, 0.28 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(questions), height_ratios=heights, squeeze=False)[:, 0]
    for panel, ((_, question), answers) in zip(panels, questions.items(), strict=True):
        names, shares, labels = zip(*reversed(answers), strict=True)  # first bar is lowest
        panel.bar_label(panel.barh(names, shares, color="#4c72b0"), labels, padding=4)
        panel.set_title(question, loc="left", fontsize="medium", fontweight="bold")
        panel.set_xlim(0, 120)  # percent, plus space for the labels
        panel.set_xticks([])
        panel.tick_params(left=False)
        panel.spines[["top", "right", "bottom"]].set_visible(False)
    # Keep text as text, and make the file reproducible.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "counts"}):
        figure.savefig(picture, metadata={"Date": None} if picture.endswith(".svg") else None)


if __name__ == "__main__":
    plot(*sys.argv[1:])
