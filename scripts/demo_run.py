"""The demo: serve, run, check, show. Started by scripts/demo."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from tests.support.expected import KEYS, differences, tables_of
from tests.support.stand_in import StandIn, World, samples

if TYPE_CHECKING:
    from tests.support.stand_in import Hosted

ROOT = Path(__file__).resolve().parent.parent
WAREHOUSE = ROOT / "output" / "demo.duckdb"
STORE = ROOT / "output" / "uploads"
PARTICIPANTS = 24

# Each question with its answer, choice or upload, and the unit.
JOINED = """
SELECT c.name AS collection, a.question,
       coalesce(a.value_label, a.value, f.file_name, a.raw) AS answer, a.unit
FROM answers a
JOIN collections c USING (data_collection_id)
JOIN instructions i USING (data_collection_id, instruction_id)
LEFT JOIN files f ON (f.data_collection_id, f.path) = (a.data_collection_id, a.file_path)
WHERE a.submission_id IN (SELECT min(submission_id) FROM responses GROUP BY data_collection_id)
  AND coalesce(a.task_id, 'task-0') = 'task-0'
ORDER BY c.name, i.position, a.answer_index
"""


def main() -> int:
    world = World()
    world.polls_to_generate = 1
    collection = world.host(samples.breakfast_diary(PARTICIPANTS))
    batch = world.host(samples.caption_check(PARTICIPANTS))
    WAREHOUSE.parent.mkdir(exist_ok=True)
    WAREHOUSE.unlink(missing_ok=True)  # left by the previous demo
    shutil.rmtree(STORE, ignore_errors=True)  # also left by the previous demo
    with StandIn(world) as stand_in:
        print(f"A stand-in for Prolific serves a collection and a batch on {stand_in.api_url}.")
        settings = {
            "PROLIFIC_URL": stand_in.api_url,
            "PROLIFIC_TOKEN": world.token,
            "TAP_PROLIFIC_EXPORT_COLLECTION_IDS": f'["{collection.id}"]',
            "TAP_PROLIFIC_EXPORT_BATCH_IDS": f'["{batch.id}"]',
            "TAP_PROLIFIC_EXPORT_FILES_URI": STORE.as_uri(),
            "TAP_PROLIFIC_EXPORT_POLL_INTERVAL_SECONDS": "1",
            "TARGET_DUCKDB_PATH": str(WAREHOUSE),
        }
        run_meltano("--full-refresh", **settings)  # ignores the state of earlier demos
        with duckdb.connect(str(WAREHOUSE), read_only=True) as connection:
            show(connection)
            wrong = differences(tables_of(connection), world, STORE)
        new = respond(world, collection)
        print(f"\n{len(new)} more participants have kept the diary. The next run:")
        run_meltano(**settings)
        with duckdb.connect(str(WAREHOUSE), read_only=True) as connection:
            wrong += show_what_came(connection, new)
            # Rows of collections describe the last export, which holds only new responses.
            now = differences(tables_of(connection), world, STORE)
            wrong += [difference for difference in now if not difference.startswith("collections")]
    if wrong:
        print(f"\nThe warehouse differs from what was served in {len(wrong)} places:")
        print("\n".join(wrong[:20]))
        return 1
    print(
        "\nEvery row and value in the warehouse, and every uploaded file, equals what was served."
    )
    print(f"The warehouse: {WAREHOUSE.relative_to(ROOT)}; the files: {STORE.relative_to(ROOT)}")
    return 0


def respond(world: World, collection: Hosted) -> set[str]:
    """Let three more participants respond now; return the ids of their submissions."""
    new = set()
    for number in range(PARTICIPANTS, PARTICIPANTS + 3):
        submission = samples.breakfast(number)
        submission.submitted_at = world.now()
        submission.line["submitted_at"] = submission.submitted_at.isoformat()
        world.submit(collection, submission)
        new.add(submission.line["submission_id"])
    return new


def run_meltano(*options: str, **settings: str) -> None:
    """Run the job as a user would; exit if it fails."""
    # The demo must not use settings from the user's .env.
    command = ["meltano", f"--env-file={os.devnull}", "run", *options, "--state-id-suffix=demo"]
    command += ["tap-prolific-export", "target-duckdb"]
    print("$ " + " ".join(command), flush=True)
    began = time.monotonic()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "MELTANO_CLI_LOG_LEVEL": "warning", **settings}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode:
        sys.exit(f"meltano ended with exit code {done.returncode}.")
    print(f"... done in {time.monotonic() - began:.0f} s.\n")


def show(connection: duckdb.DuckDBPyConnection) -> None:
    """Print the tables with their row counts, and some joined rows."""
    for table in KEYS:
        found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
        print(f"{table:14}{found[0] if found else 0:6} rows")
    print("\nThe first participant of each data collection:")
    for collection, question, answer, unit in connection.execute(JOINED).fetchall():
        value = f"{answer} {unit}" if unit else answer
        print(f"  {collection:16}{question:36}{value}")


def show_what_came(connection: duckdb.DuckDBPyConnection, new: set[str]) -> list[str]:
    """Print how many rows the last run loaded; return rows that it should not have loaded."""
    wrong = []
    for table in KEYS:
        last = "(SELECT max(exported_at) FROM collections GROUP BY data_collection_id)"
        rows = connection.execute(f"SELECT * FROM {table} WHERE exported_at IN {last}")  # noqa: S608
        names = [column[0] for column in rows.description or ()]
        found = [dict(zip(names, values, strict=True)) for values in rows.fetchall()]
        print(f"{table:14}{len(found):6} rows")
        if table != "collections":
            came = {row.get("submission_id") for row in found}
            wrong += [f"{table}: {id_} came again" for id_ in came - new]
    return wrong


if __name__ == "__main__":
    sys.exit(main())
