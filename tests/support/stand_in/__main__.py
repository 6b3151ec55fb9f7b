"""Run the stand-in by hand, with the samples in it."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

from tests.support.stand_in import StandIn, World, samples


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.stand_in", description=__doc__)
    parser.add_argument("--generation", choices=["idempotent", "fresh"], default="fresh")
    parser.add_argument("--port", type=int, default=8400, help="the API's port; 0: any (8400)")
    parser.add_argument("--token", default="stand-in-token", help="the token that is accepted")
    parser.add_argument("--submissions", type=int, default=24, help="how many participants (24)")
    parser.add_argument("--polls", type=int, default=1, help="looks until an export is ready (1)")
    parser.add_argument("--ready-file", type=Path, help="write the API's URL here once it serves")
    args = parser.parse_args()

    world = World(generation=args.generation, token=args.token)
    world.polls_to_generate = args.polls
    collection = world.host(samples.breakfast_diary(args.submissions))
    batch = world.host(samples.caption_check(args.submissions))
    with StandIn(world, args.port) as stand_in:
        settings = {
            "PROLIFIC_URL": stand_in.api_url,
            "PROLIFIC_TOKEN": args.token,
            "TAP_PROLIFIC_EXPORT_COLLECTION_IDS": f"'[\"{collection.id}\"]'",
            "TAP_PROLIFIC_EXPORT_BATCH_IDS": f"'[\"{batch.id}\"]'",
        }
        print("A stand-in for Prolific is serving. For the tap:\n")
        print("\n".join(f"export {name}={value}" for name, value in settings.items()))
        print("\nIts content changes while it runs:\n")
        path = f"{stand_in.api_url}/_stand_in/collections/{collection.id}/submissions"
        print(f'curl -X POST {path} -d \'{{"submission_id": "s1", "responses": {{}}}}\'')
        print(f"curl -X DELETE {path}/s1", flush=True)
        if args.ready_file:
            args.ready_file.write_text(stand_in.api_url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
