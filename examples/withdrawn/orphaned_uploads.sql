-- Lists the locations of stored uploads that only withdrawn rows refer to.
--
-- When to use: after a full run of the tap, and before drop.sql, which deletes the locations. You can
-- delete the listed files from the store; the tap itself never deletes a stored file.
--
-- An upload that a row refers to which is not withdrawn is not listed.
--
-- Before you use it:
-- * The stream files must have been selected in the full run, else all uploads look withdrawn.
-- * Never use it where several configurations of the tap write to the same tables.
--
-- For DuckDB and PostgreSQL.

SELECT uri FROM files
WHERE uri IS NOT NULL
EXCEPT
SELECT f.uri FROM files AS f
WHERE NOT EXISTS (
    SELECT 1 FROM collections AS c
    WHERE c.data_collection_id = f.data_collection_id AND f.exported_at < c.full_exported_at
)
ORDER BY uri;
