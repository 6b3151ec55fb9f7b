-- Deletes the withdrawn rows: those that a newer, complete export did not have.
--
-- When to use: after a full run of the tap, if withdrawn responses must not only be hidden but gone.
-- Run orphaned_uploads.sql before it if uploads are stored: with the rows goes what tells where.
--
-- Where no complete export is known (full_exported_at is null), nothing is deleted.
--
-- Before you use it:
-- * Leave out the table of a stream that was deselected in the full run: all of its rows look
--   withdrawn.
-- * Never use it where several configurations of the tap write to the same tables.
--
-- For DuckDB and PostgreSQL.

BEGIN;

DELETE FROM answers
WHERE EXISTS (
    SELECT 1 FROM collections AS c
    WHERE c.data_collection_id = answers.data_collection_id
      AND answers.exported_at < c.full_exported_at
);

DELETE FROM responses
WHERE EXISTS (
    SELECT 1 FROM collections AS c
    WHERE c.data_collection_id = responses.data_collection_id
      AND responses.exported_at < c.full_exported_at
);

DELETE FROM tasks
WHERE EXISTS (
    SELECT 1 FROM collections AS c
    WHERE c.data_collection_id = tasks.data_collection_id
      AND tasks.exported_at < c.full_exported_at
);

-- Last: these rows tell where the uploads are.
DELETE FROM files
WHERE EXISTS (
    SELECT 1 FROM collections AS c
    WHERE c.data_collection_id = files.data_collection_id
      AND files.exported_at < c.full_exported_at
);

COMMIT;
