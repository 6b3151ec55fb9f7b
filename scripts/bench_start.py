"""Time until the tap's first request, against `import singer_sdk`, which every such tap needs."""

from __future__ import annotations

import json
import tempfile
import time
from statistics import median
from typing import TYPE_CHECKING

from scripts.bench_tools import TAP, markdown, measure
from tests.support.stand_in import StandIn, World, samples

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=7, help="runs; the table has medians (7)")


def run(arguments: argparse.Namespace) -> None:
    world, requests = World(), list[float]()
    world.watch = lambda _: requests.append(time.monotonic())
    ids = [world.host(samples.breakfast_diary(1)).id]
    rounds = []
    with StandIn(world) as api, tempfile.NamedTemporaryFile("w") as config:
        json.dump({"api_url": api.api_url, "api_token": world.token, "collection_ids": ids}, config)
        config.flush()
        for _ in range(arguments.runs + 1):
            requests.clear()
            tap, _ = measure([*TAP, config.name], list)
            sdk, _ = measure(["-c", "import singer_sdk"], list)
            until_request = requests[0] - tap.began
            rounds.append((until_request, sdk.wall, until_request / sdk.wall))
    # The first round only fills caches.
    names = ["the tap, until its first request", "`import singer_sdk`, until its end", "ratio"]
    medians = [median(column) for column in zip(*rounds[1:], strict=True)]
    print(markdown(("Process", "Wall seconds:"), list(zip(names, medians, strict=True))))
