{% snapshot loan_status_history %}
{{ config(
    strategy='numbered',
    unique_key='loan_key',
    check_cols=['loan_status'],
    updated_at='status_as_of',
    hard_deletes='invalidate',
) }}
-- depends_on: {{ ref('int_newest_date') }}
select loan_key, loan_status, version_number, status_as_of from {{ ref('int_loan_status') }}
{% endsnapshot %}
