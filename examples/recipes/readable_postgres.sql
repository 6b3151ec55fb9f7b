-- A function that creates a view of one data collection's responses with one column per question.
-- The question is the column's name; long or repeated questions are shortened and get the beginning
-- of their id. Several choices are joined by commas. Call the function again after a new question.
--
-- For PostgreSQL: SELECT make_readable('6650d1a2b3c4d5e6f7081920');

CREATE OR REPLACE FUNCTION make_readable(id text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    columns text;
BEGIN
    SELECT string_agg(
        format(
            'string_agg(coalesce(value_label, value, file_path), '', '' '
            'ORDER BY coalesce(value_label, value, file_path)) '
            'FILTER (WHERE instruction_id = %L) AS %I',
            instruction_id,
            CASE
                WHEN octet_length(description) < 60 AND same_text = 1 THEN description
                ELSE left(description, 12) || ' ' || left(instruction_id, 12)
            END
        ),
        ', ' ORDER BY position
    )
    INTO columns
    FROM (
        SELECT *, count(*) OVER (PARTITION BY description) AS same_text
        FROM instructions
        WHERE data_collection_id = id
    ) AS asked;
    DROP VIEW IF EXISTS readable;
    EXECUTE format(
        'CREATE VIEW readable AS SELECT response_id, min(participant_id) AS participant_id, %s '
        'FROM answers WHERE data_collection_id = %L GROUP BY response_id',
        columns,
        id
    );
END
$$;
