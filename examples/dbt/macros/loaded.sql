{# How the staging models read the tables that a loader made.

Types are the only thing that differs between databases: see `json_type`.
#}


{# The names of the columns of a loaded table. #}
{% macro loaded_columns(table) %}
    {%- set expected = source('prolific', table) -%}
    {%- if not execute -%}{{ return([]) }}{%- endif -%}
    {%- set loaded = load_relation(expected) -%}
    {%- if loaded is none -%}
        {{ exceptions.raise_compiler_error(
            "There is no table " ~ expected ~ ". If the loader writes to another schema, set the "
            ~ "variable prolific_schema. If the stream '" ~ table ~ "' is not selected, leave out "
            ~ "what is made from it: dbt build --exclude source:prolific." ~ table ~ "+"
        ) }}
    {%- endif -%}
    {{ return(adapter.get_columns_in_relation(loaded) | map(attribute='name') | list) }}
{% endmacro %}


{# A column in the type that it has in every database. It is null if it was not loaded: because it is
not selected, or because no data collection has a question (`responses.answers`). #}
{% macro column(name, type, loaded) -%}
    {%- set types = {
        'text': 'text',
        'number': 'double precision',
        'integer': 'bigint',
        'boolean': 'boolean',
        'time': 'timestamp',
        'json': prolific_export.json_type(),
        'answers': prolific_export.json_type(),
    } -%}
    cast({{ name if name in loaded else 'null' }} as {{ types[type] }}) as {{ name }}
{%- endmacro %}


{# The condition that the loader has not marked a row as deleted (see ACTIVATE_VERSION). #}
{% macro not_deleted(loaded) -%}
    {{ '_sdc_deleted_at is null' if '_sdc_deleted_at' in loaded else 'true' }}
{%- endmacro %}


{% macro json_type() -%}
    {{ adapter.dispatch('json_type', 'prolific_export')() }}
{%- endmacro %}

{% macro default__json_type() -%} json {%- endmacro %}

{% macro postgres__json_type() -%} jsonb {%- endmacro %}
