"""The benchmarks, one per subcommand. Started by scripts/bench."""

from __future__ import annotations

import argparse
import sys
from typing import Protocol

from scripts import bench_bytes, bench_speed
from scripts.bench_tools import BenchError


class Bench(Protocol):
    """A benchmark: a module or an object with the same functions. Its docstring is its help."""

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None: ...

    def run(self, arguments: argparse.Namespace, /) -> int: ...


BENCHES: dict[str, Bench] = {
    "bytes": bench_bytes,
    "speed": bench_speed,
    "start": bench_speed.Start(),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    benches = parser.add_subparsers(required=True, metavar=" | ".join(BENCHES))
    for name, bench in BENCHES.items():
        about = bench.__doc__ or ""
        command = benches.add_parser(name, help=about.partition("\n")[0], description=about)
        bench.add_arguments(command)
        command.set_defaults(run=bench.run)
    arguments = parser.parse_args()
    try:
        return int(arguments.run(arguments))
    except BenchError as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
