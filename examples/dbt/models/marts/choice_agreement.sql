-- How much the annotators of a batch agree on each question: the share of pairs of annotators who
-- gave a task the same answer, and Krippendorff's alpha. It has no row for a question to which no
-- task has two answers.
--
-- Alpha is that for nominal data: 1 - observed / expected disagreement (1: all agree; 0: same as
-- chance). It is null if all answers are the same, because no disagreement is expected then. Two
-- answers of several choices are the same if they contain the same choices. Only tasks with at least
-- two answers count.

with given as (  -- the answer of each annotator to each task
    select
        data_collection_id,
        instruction_id,
        max(question) as question,
        task_id,
        response_id,
        array_agg(value order by value) as answer
    from {{ ref('answers_current') }}
    where
        task_id is not null
        and value is not null
        and instruction_type in (
            'multiple_choice', 'multiple_choice_with_free_text', 'star_rating'
        )
    group by data_collection_id, instruction_id, task_id, response_id
),

counted as (  -- of m annotators of a task, n gave this answer
    select
        data_collection_id,
        instruction_id,
        max(question) as question,
        task_id,
        answer,
        count(*) as n,
        sum(count(*)) over (partition by data_collection_id, instruction_id, task_id) as m
    from given
    group by data_collection_id, instruction_id, task_id, answer
),

pairable as (
    select *
    from counted
    where m > 1
),

observed as (
    select
        data_collection_id,
        instruction_id,
        max(question) as question,
        count(distinct task_id) as tasks,
        sum(n) as answers,
        sum(n * (n - 1)) as agreeing_pairs,
        sum(n * (m - 1)) as pairs,
        sum(1.0 * n * (m - n) / (m - 1)) as disagreement
    from pairable
    group by data_collection_id, instruction_id
),

totals as (
    select
        data_collection_id,
        instruction_id,
        answer,
        sum(n) as n
    from pairable
    group by data_collection_id, instruction_id, answer
),

expected as (
    select
        totals.data_collection_id,
        totals.instruction_id,
        sum(1.0 * totals.n * (observed.answers - totals.n) / (observed.answers - 1)) as disagreement
    from totals
    inner join observed
        on
            observed.data_collection_id = totals.data_collection_id
            and observed.instruction_id = totals.instruction_id
    group by totals.data_collection_id, totals.instruction_id
)

select
    observed.data_collection_id,
    observed.instruction_id,
    observed.question,
    observed.tasks,
    cast(observed.answers as bigint) as answers,
    cast(100.0 * observed.agreeing_pairs / observed.pairs as double precision) as percent_agreement,
    cast(1 - observed.disagreement / nullif(expected.disagreement, 0) as double precision) as alpha
from observed
inner join expected
    on
        expected.data_collection_id = observed.data_collection_id
        and expected.instruction_id = observed.instruction_id
