{# See macros.yml. #}
{% macro wide_responses(questions=none, data_collection_id=none) %}
{%- set keys = ['data_collection_id', 'response_id', 'submission_id', 'participant_id', 'study_id',
                'task_id', 'submitted_at'] -%}
{%- set columns = prolific_export.wide_columns(keys, questions, data_collection_id) -%}
{%- set answers_current = ref('answers_current') -%} {# also where there is no question #}
{%- if columns -%}
with questions (data_collection_id, instruction_id, wide_column) as (
    values
    {%- for column in columns %}
    {%- set is_last_column = loop.last %}
    {%- for question in column.questions %}
    (
        {{- prolific_export.text_literal(question.data_collection_id) }},
        {{- prolific_export.text_literal(question.instruction_id) }},
        {{- prolific_export.text_literal(column.name) -}}
    ){{ ',' if not (is_last_column and loop.last) }}
    {%- endfor %}
    {%- endfor %}
),

answers as (
    select
        answers.data_collection_id,
        answers.response_id,
        answers.value_number,
        answers.unit,
        answers.explanation,
        coalesce(answers.value_label, answers.value, answers.file_path, cast(answers.raw as text))
            as answer,
        questions.wide_column
    from {{ answers_current }} as answers
    inner join questions
        on
            questions.data_collection_id = answers.data_collection_id
            and questions.instruction_id = answers.instruction_id
)

{% endif -%}

select
    {%- for key in keys %}
    responses.{{ key }}{{ ',' if columns or not loop.last }}
    {%- endfor %}
    {%- for column in columns %}
    {{- prolific_export.wide_aggregates(column) }}{{ ',' if not loop.last }}
    {%- endfor %}
from {{ ref('responses_current') }} as responses
{%- if columns %}
left join answers
    on
        answers.data_collection_id = responses.data_collection_id
        and answers.response_id = responses.response_id
{%- endif %}
{%- if data_collection_id %}
where responses.data_collection_id = {{ prolific_export.text_literal(data_collection_id) }}
{%- endif %}
{%- if columns %}
group by
    {%- for key in keys %}
    responses.{{ key }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endif %}
{% endmacro %}


{# The answers to the questions of a column, and their units and explanations. #}
{% macro wide_aggregates(column) %}
    {%- set wide_column = prolific_export.text_literal(column.name) -%}
    {%- set where = 'filter (where answers.wide_column = ' ~ wide_column ~ ')' %}
    {% if column.has_numbers -%}
    max(answers.value_number) {{ where }}
    {%- else -%}
    string_agg(answers.answer, ', ' order by answers.answer) {{ where }}
    {%- endif %} as {{ adapter.quote(column.name) }}
    {%- if column.has_unit %},
    string_agg(answers.unit, ', ' order by answers.answer) {{ where }}
        as {{ adapter.quote(column.name ~ '_unit') }}
    {%- endif %}
    {%- if column.has_explanation %},
    string_agg(answers.explanation, ', ' order by answers.answer) {{ where }}
        as {{ adapter.quote(column.name ~ '_explanation') }}
    {%- endif %}
{%- endmacro %}


{# The wanted columns, in the order in which they are named or asked. #}
{% macro wide_columns(keys, wanted, data_collection_id) %}
    {%- set asked = prolific_export.asked_questions(keys, data_collection_id) -%}
    {%- set columns = {} -%}
    {%- for name in wanted or [none] -%}
        {%- set found = [] -%}
        {%- for question in asked if name in (none, question.description, question.instruction_id) -%}
            {%- do found.append(question) -%}
            {%- set column = wanted[name] if wanted is mapping else question.column -%}
            {%- do columns.setdefault(column, []).append(question) -%}
        {%- endfor -%}
        {%- if asked and not found and wanted -%}
            {{ exceptions.raise_compiler_error(
                "No question is '" ~ name ~ "'. The questions are: '"
                ~ asked | map(attribute='description') | join("', '") ~ "'."
            ) }}
        {%- endif -%}
    {%- endfor -%}
    {%- set described = [] -%}
    {%- for name, questions in columns.items() -%}
        {%- do described.append({
            'name': name,
            'questions': questions,
            'has_numbers': questions | rejectattr('has_numbers') | list | length == 0,
            'has_unit': questions | selectattr('has_unit') | list | length > 0,
            'has_explanation': questions | selectattr('has_explanation') | list | length > 0,
        }) -%}
    {%- endfor -%}
    {{ return(described) }}
{% endmacro %}


{# All questions, each with its column. Nothing if the staging models have not been built yet.

The column is named by the question's words: `How was it?` is `how_was_it`. Questions with the same
words share a column: those of copied data collections, or one that has replaced another. But if a
data collection asks the same twice, or a name is too long or taken, part of a hash is added.
#}
{% macro asked_questions(keys, data_collection_id) %}
    {%- set instructions = ref('stg_prolific__instructions') -%}
    {%- if not execute or load_relation(instructions) is none -%}{{ return([]) }}{%- endif -%}
    {%- set query -%}
        select
            data_collection_id,
            instruction_id,
            type,
            description,
            cast(validation as text) as validation,
            cast(unit_options as text) as unit_options,
            exported_at < max(exported_at) over (partition by data_collection_id) as is_retired
        from {{ instructions }}
        {%- if data_collection_id %}
        where data_collection_id = {{ prolific_export.text_literal(data_collection_id) }}
        {%- endif %}
        order by data_collection_id, is_retired, position, instruction_id
    {%- endset -%}
    {%- set asked = [] -%}
    {%- set words_asked = [] -%}
    {%- for row in run_query(query).rows -%}
        {%- set words = prolific_export.words_of(row.description or '') -%}
        {%- set validations = [fromjson(row.validation)] if row.validation else [] -%}
        {%- for unit in fromjson(row.unit_options or '[]') -%}
            {%- do validations.append(unit.validation or {}) -%}
        {%- endfor -%}
        {%- set number_count = validations | selectattr('type', 'equalto', 'number') | list | length -%}
        {%- if not row.is_retired -%}
            {%- do words_asked.append((row.data_collection_id, words)) -%}
        {%- endif -%}
        {%- do asked.append({
            'data_collection_id': row.data_collection_id,
            'instruction_id': row.instruction_id,
            'description': row.description,
            'words': words,
            'has_numbers': row.type == 'star_rating' or (
                row.type in ('free_text', 'free_text_with_unit')
                and validations != [] and number_count == validations | length
            ),
            'has_unit': row.unit_options is not none,
            'has_explanation': row.type == 'multiple_choice_with_free_text',
        }) -%}
    {%- endfor -%}
    {%- for question in asked -%}
        {%- set words = question.words -%}
        {%- set is_twice = words_asked.count((question.data_collection_id, words)) > 1 -%}
        {%- set is_taken = words in keys or words.endswith(('_unit', '_explanation')) -%}
        {%- if words and not is_twice and not is_taken and words.encode() | length <= 48 -%}
            {%- do question.update({'column': words}) -%}
        {%- else -%}
            {%- set start = words.encode()[:39].decode('utf-8', 'ignore').rstrip('_') or 'question' -%}
            {%- set hash = local_md5(question.instruction_id if is_twice or not words else words) -%}
            {%- do question.update({'column': start ~ '_' ~ hash[:8]}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(asked) }}
{% endmacro %}


{# A question as a name that SQL takes without quotes: lower case, in letters, digits and `_`. #}
{% macro words_of(question) %}
    {%- set text = modules.re.sub('<[^>]*>|&#?\\w+;', ' ', question) -%}
    {%- set words = modules.re.sub('\\W+', '_', text.lower()).strip('_') -%}
    {{ return('q_' ~ words if words[:1].isdigit() else words) }}
{% endmacro %}


{% macro text_literal(value) %}
    {{- return(dbt.string_literal(dbt.escape_single_quotes(value))) -}}
{% endmacro %}
