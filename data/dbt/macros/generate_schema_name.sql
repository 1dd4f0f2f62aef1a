{#- A model's schema is the one it names, and not the target's with that behind it: `gold` is the layer. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
