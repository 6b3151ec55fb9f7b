-- Deletes the rows that hide.sql hides: those that are missing from a newer, complete export, and the
-- surplus rows of `answers`.
--
-- When to use: after a full run of the tap, if withdrawn responses must be deleted, not only hidden.
-- If uploads are stored, run orphaned_uploads.sql first: the deleted rows hold their locations.
--
-- If no complete export is known (full_exported_at is null), only surplus rows are deleted.
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
)
OR EXISTS (
    SELECT 1 FROM answers AS newer
    WHERE newer.data_collection_id = answers.data_collection_id
      AND newer.response_id = answers.response_id
      AND newer.exported_at > answers.exported_at
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

-- Last, because these rows hold the locations of the uploads.
DELETE FROM files
WHERE EXISTS (
    SELECT 1 FROM collections AS c
    WHERE c.data_collection_id = files.data_collection_id
      AND files.exported_at < c.full_exported_at
);

COMMIT;
