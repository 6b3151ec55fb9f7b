-- A table of one data collection's responses with one column per question, named by the question.
-- Several choices are joined by commas. Create the table again after a run: DuckDB's views cannot
-- take their columns from the data.
--
-- For DuckDB. Insert your data collection's id.

CREATE OR REPLACE TABLE readable AS
WITH answered AS (
    SELECT response_id, participant_id, question, coalesce(value_label, value, file_path) AS answer
    FROM answers
    WHERE data_collection_id = '6650d1a2b3c4d5e6f7081920'
)
PIVOT answered ON question USING string_agg(answer, ', ' ORDER BY answer)
GROUP BY response_id, participant_id;
