-- A function that makes a view of one data collection's responses with a column for each question,
-- named by the question (of two alike, or long ones, by its beginning and the id's). Of several
-- choices, all stand in it, with a comma between them. Call it again when there is a new question.
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
                WHEN octet_length(description) < 60 AND alike = 1 THEN description
                ELSE left(description, 12) || ' ' || left(instruction_id, 12)
            END
        ),
        ', ' ORDER BY position
    )
    INTO columns
    FROM (
        SELECT *, count(*) OVER (PARTITION BY description) AS alike
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
