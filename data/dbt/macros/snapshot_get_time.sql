{#- When a row that has gone is closed: the newest date that the data or the history knows. The clock of the machine is no
    part of a snapshot, so that a re-run writes the same. -#}
{% macro default__snapshot_get_time() -%}
    (select max(newest_date) from {{ ref('int_newest_date') }})
{%- endmacro %}

{% macro duckdb__snapshot_get_time() -%}{{ default__snapshot_get_time() }}{%- endmacro %}
