{# The condition that a row was in the last complete export of its data collection, or came later.

Without a complete export, no row counts as withdrawn.

Args:
    rows: The alias of the rows, which have `data_collection_id` and `exported_at`.
#}
{% macro not_withdrawn(rows) -%}
    not exists (
        select 1
        from {{ ref('stg_prolific__collections') }} as last_export
        where
            last_export.data_collection_id = {{ rows }}.data_collection_id
            and {{ rows }}.exported_at < last_export.full_exported_at
    )
{%- endmacro %}
