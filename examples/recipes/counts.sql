-- How often each choice was chosen: the option's label, the responses and their percentage of all
-- responses that answered the question.
--
-- For DuckDB and PostgreSQL.

SELECT
    a.data_collection_id,
    a.question,
    coalesce(a.value_label, a.value) AS answer,
    count(DISTINCT a.response_id) AS responses,
    round(100.0 * count(DISTINCT a.response_id) / t.answered, 1) AS percent
FROM answers AS a
JOIN (
    SELECT data_collection_id, instruction_id, count(DISTINCT response_id) AS answered
    FROM answers
    GROUP BY data_collection_id, instruction_id
) AS t
    ON t.data_collection_id = a.data_collection_id AND t.instruction_id = a.instruction_id
WHERE a.instruction_type IN ('multiple_choice', 'multiple_choice_with_free_text', 'star_rating')
GROUP BY
    a.data_collection_id, a.instruction_id, a.question, coalesce(a.value_label, a.value), t.answered
ORDER BY a.data_collection_id, a.question, responses DESC, answer;
