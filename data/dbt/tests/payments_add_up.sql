-- What was paid on a loan is principal, interest, late fees and recoveries, to within five cents.
select loan_key
from {{ ref('stg_loans') }}
where abs(total_paid - (principal_paid + interest_paid + late_fees_paid + recoveries)) > 0.05
