{# Fails for each row whose reference to another table leads nowhere; nulls refer to nothing. #}
{% test refers_to(model, columns, to, to_columns=none) %}
{%- set keys = to_columns or columns %}
with referring as (
    select *
    from {{ model }}
)

select *
from referring
where
    {%- for column in columns %}
    referring.{{ column }} is not null and
    {%- endfor %}
    not exists (
        select 1
        from {{ to }} as referred
        where
            {%- for column in columns %}
            {{ 'and ' if not loop.first }}referred.{{ keys[loop.index0] }} = referring.{{ column }}
            {%- endfor %}
    )
{% endtest %}
