-- How much the annotators of a batch agree. For each question: the share of pairs of annotators who
-- gave a task the same answer, and Krippendorff's alpha for nominal data (1: all agree; 0: same as
-- chance).
--
-- Only tasks with at least two annotators count. If a question allows several choices, two answers
-- are the same if they contain the same choices. Alpha is null if all answers are the same, because
-- no disagreement is expected then.
--
-- For DuckDB and PostgreSQL.

WITH given AS (  -- one answer of each annotator to each task
    SELECT
        data_collection_id,
        instruction_id,
        question,
        task_id,
        response_id,
        string_agg(value, ', ' ORDER BY value) AS answer
    FROM answers
    WHERE
        task_id IS NOT NULL
        AND value IS NOT NULL
        AND instruction_type IN ('multiple_choice', 'star_rating')
    GROUP BY data_collection_id, instruction_id, question, task_id, response_id
),
counted AS (  -- per task: n annotators gave this answer, m gave any answer
    SELECT
        data_collection_id,
        instruction_id,
        question,
        task_id,
        answer,
        count(*) AS n,
        sum(count(*)) OVER (PARTITION BY data_collection_id, instruction_id, task_id) AS m
    FROM given
    GROUP BY data_collection_id, instruction_id, question, task_id, answer
),
pairable AS (
    SELECT * FROM counted WHERE m > 1
),
observed AS (
    SELECT
        data_collection_id,
        instruction_id,
        question,
        count(DISTINCT task_id) AS tasks,
        sum(n) AS answers,
        sum(n * (n - 1)) AS agreeing_pairs,
        sum(n * (m - 1)) AS pairs,
        sum(1.0 * n * (m - n) / (m - 1)) AS disagreement
    FROM pairable
    GROUP BY data_collection_id, instruction_id, question
),
totals AS (
    SELECT data_collection_id, instruction_id, answer, sum(n) AS n
    FROM pairable
    GROUP BY data_collection_id, instruction_id, answer
),
expected AS (
    SELECT
        t.data_collection_id,
        t.instruction_id,
        sum(1.0 * t.n * (o.answers - t.n) / (o.answers - 1)) AS disagreement
    FROM totals AS t
    JOIN observed AS o
        ON o.data_collection_id = t.data_collection_id AND o.instruction_id = t.instruction_id
    GROUP BY t.data_collection_id, t.instruction_id
)
SELECT
    o.data_collection_id,
    o.question,
    o.tasks,
    o.answers,
    round(100.0 * o.agreeing_pairs / o.pairs, 1) AS percent_agreement,
    round(1 - o.disagreement / nullif(e.disagreement, 0), 3) AS alpha
FROM observed AS o
JOIN expected AS e
    ON e.data_collection_id = o.data_collection_id AND e.instruction_id = o.instruction_id
ORDER BY o.data_collection_id, o.question;
