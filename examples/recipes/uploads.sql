-- Every uploaded file with its question, the participant and the time of the response.
--
-- For DuckDB and PostgreSQL.

SELECT
    f.data_collection_id,
    f.path,
    f.uri,
    f.content_type,
    f.size_bytes,
    i.description AS question,
    r.participant_id,
    r.submitted_at
FROM files AS f
LEFT JOIN answers AS a
    ON a.data_collection_id = f.data_collection_id AND a.file_path = f.path
LEFT JOIN responses AS r
    ON r.data_collection_id = a.data_collection_id AND r.response_id = a.response_id
LEFT JOIN instructions AS i
    ON i.data_collection_id = f.data_collection_id AND i.instruction_id = f.instruction_id
ORDER BY f.data_collection_id, f.path;
