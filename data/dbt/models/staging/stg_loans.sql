-- The columns of silver/loans that the models use, under the names they have there.
select
    loan_key,
    issue_month,
    grade,
    sub_grade,
    term_months,
    state,
    home_ownership,
    annual_income,
    interest_rate,
    funded_amount,
    loan_status,
    meets_credit_policy,
    outstanding_principal,
    total_paid,
    principal_paid,
    interest_paid,
    late_fees_paid,
    recoveries,
    last_payment_month,
    last_credit_pull_month
from {{ source('silver', 'loans') }}
