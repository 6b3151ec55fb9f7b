-- A table of one data collection's responses with a column for each question, named by the question.
-- Of several choices, all stand in it, with a comma between them. Make it again after a run: DuckDB's
-- views cannot find their columns by themselves.
--
-- For DuckDB. Put in your data collection's id.

CREATE OR REPLACE TABLE readable AS
WITH told AS (
    SELECT response_id, participant_id, question, coalesce(value_label, value, file_path) AS answer
    FROM answers
    WHERE data_collection_id = '6650d1a2b3c4d5e6f7081920'
)
PIVOT told ON question USING string_agg(answer, ', ' ORDER BY answer)
GROUP BY response_id, participant_id;
