"""The benchmarks, one per subcommand. Started by scripts/bench."""

from __future__ import annotations

import argparse
import sys
from typing import Protocol

from scripts import bench_bytes, bench_load, bench_speed, bench_start
from scripts.bench_tools import BenchError


class Bench(Protocol):
    """A benchmark: a module whose docstring is its help. It prints its table itself."""

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None: ...

    def run(self, arguments: argparse.Namespace, /) -> None: ...


BENCHES: dict[str, Bench] = {
    "bytes": bench_bytes,
    "speed": bench_speed,
    "start": bench_start,
    "load": bench_load,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar=" | ".join(BENCHES))
    for name, bench in BENCHES.items():
        about = bench.__doc__ or ""
        command = commands.add_parser(name, help=about.partition("\n")[0], description=about)
        bench.add_arguments(command)
        command.set_defaults(run=bench.run)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except BenchError as error:
        sys.exit(f"scripts/bench: {error}")


if __name__ == "__main__":
    main()
