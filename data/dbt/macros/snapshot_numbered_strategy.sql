{#- Strategy `check`, where a version is known by its number within its key: two changes that the source dates alike are two
    versions. The query has a column version_number, one more than the history holds. -#}
{% macro snapshot_numbered_strategy(node, snapshotted_rel, current_rel, model_config, target_exists) %}
    {% set strategy = snapshot_check_strategy(node, snapshotted_rel, current_rel, model_config, target_exists) %}
    {% do strategy.update({'scd_id': snapshot_hash_arguments([config.get('unique_key'), 'version_number'])}) %}
    {% do return(strategy) %}
{% endmacro %}
