-- A view of one data collection's responses with one column per listed question. New responses
-- appear automatically; you have to add new questions.
--
-- For DuckDB. Insert your data collection's id and its questions.

CREATE OR REPLACE VIEW readable AS
SELECT *
FROM (
    PIVOT (
        SELECT
            response_id,
            participant_id,
            question,
            coalesce(value_label, value, file_path) AS answer
        FROM answers
        WHERE data_collection_id = '6650d1a2b3c4d5e6f7081920'
    )
    ON question IN ('What did you drink?', 'What did you eat?', 'How many stars?')
    USING string_agg(answer, ', ' ORDER BY answer)
    GROUP BY response_id, participant_id
);
