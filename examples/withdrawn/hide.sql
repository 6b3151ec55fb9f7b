-- Views of the rows that Prolific still exports: all rows except the withdrawn ones, and of `answers`
-- also except the surplus ones. The models `..._current` and `uploads` of examples/dbt have the same
-- rows.
--
-- When to use: once, and again when a table has a new column. The views follow the tables: after
-- every full run of the tap they exclude everything that has been withdrawn until then.
--
-- A row is withdrawn if it is missing from a newer complete export. If no complete export is known
-- (full_exported_at is null), no row counts as withdrawn.
--
-- A response always comes with all its answers. If it comes again with fewer values, the surplus rows
-- keep the time of the earlier export.
--
-- Before you use it:
-- * Leave out the view of a deselected stream: a full run loads none of its rows, so all of them
--   would look withdrawn.
-- * Never use it where several configurations of the tap write to the same tables.
--
-- For DuckDB and PostgreSQL.

CREATE OR REPLACE VIEW living_responses AS
SELECT r.* FROM responses AS r
WHERE NOT EXISTS (
    SELECT 1 FROM collections AS c
    WHERE c.data_collection_id = r.data_collection_id AND r.exported_at < c.full_exported_at
);

CREATE OR REPLACE VIEW living_answers AS
SELECT a.* FROM answers AS a
WHERE NOT EXISTS (
    SELECT 1 FROM collections AS c
    WHERE c.data_collection_id = a.data_collection_id AND a.exported_at < c.full_exported_at
)
AND NOT EXISTS (
    SELECT 1 FROM answers AS newer
    WHERE newer.data_collection_id = a.data_collection_id
      AND newer.response_id = a.response_id
      AND newer.exported_at > a.exported_at
);

CREATE OR REPLACE VIEW living_tasks AS
SELECT t.* FROM tasks AS t
WHERE NOT EXISTS (
    SELECT 1 FROM collections AS c
    WHERE c.data_collection_id = t.data_collection_id AND t.exported_at < c.full_exported_at
);

CREATE OR REPLACE VIEW living_files AS
SELECT f.* FROM files AS f
WHERE NOT EXISTS (
    SELECT 1 FROM collections AS c
    WHERE c.data_collection_id = f.data_collection_id AND f.exported_at < c.full_exported_at
);
