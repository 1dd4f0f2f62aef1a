"""The words of LendingClub's files: columns, grades and statuses.

Belongs here: names that LendingClub gives. Does not: what a value means (values.py), or which table has it.
"""

from __future__ import annotations

GRADES = ("A", "B", "C", "D", "E", "F", "G")

STATUSES = (
    "Fully Paid",
    "Charged Off",
    "Current",
    "Default",
    "In Grace Period",
    "Issued",
    "Late (16-30 days)",
    "Late (31-120 days)",
)

NOT_BY_POLICY_PATTERN = r"(?i:does not meet the (?:current )?credit policy\.?\s*status:)\s*"
NOT_BY_POLICY = "Does not meet the credit policy. Status:"
"""Stands before the status of a loan that today's credit policy would refuse; files of 2013 say "current"."""

PREAMBLE = r"Notes offered by Prospectus \(https?://\S+\)"
"""The line above the header of LendingClub's own files."""

DIVIDER = r"Loans that do not meet the (?:current )?credit policy"
"""The line between the two parts of the file of 2007 to 2011; each loan's status below it says the same."""

FOOTER = r"Total amount funded in policy code [0-9]+: [0-9]+"
"""The lines below the table of LendingClub's own files."""

COLUMNS: dict[str, str] = {
    "id": "loan_id",
    "member_id": "member_id",
    "loan_amnt": "loan_amount",
    "funded_amnt": "funded_amount",
    "funded_amnt_inv": "funded_amount_investors",
    "term": "term_months",
    "int_rate": "interest_rate",
    "installment": "installment",
    "grade": "grade",
    "sub_grade": "sub_grade",
    "emp_title": "employer_title",
    "emp_length": "employment_years",
    "home_ownership": "home_ownership",
    "annual_inc": "annual_income",
    "verification_status": "verification_status",
    "issue_d": "issue_month",
    "loan_status": "loan_status",
    "purpose": "purpose",
    "title": "title",
    "zip_code": "zip3",
    "addr_state": "state",
    "dti": "dti",
    "delinq_2yrs": "delinquencies_2y",
    "earliest_cr_line": "earliest_credit_line",
    "inq_last_6mths": "inquiries_6m",
    "open_acc": "open_accounts",
    "pub_rec": "public_records",
    "revol_bal": "revolving_balance",
    "revol_util": "revolving_utilization",
    "total_acc": "total_accounts",
    "out_prncp": "outstanding_principal",
    "total_pymnt": "total_paid",
    "total_pymnt_inv": "total_paid_investors",
    "total_rec_prncp": "principal_paid",
    "total_rec_int": "interest_paid",
    "total_rec_late_fee": "late_fees_paid",
    "recoveries": "recoveries",
    "collection_recovery_fee": "collection_fee",
    "last_pymnt_d": "last_payment_month",
    "last_pymnt_amnt": "last_payment_amount",
    "next_pymnt_d": "next_payment_month",
    "last_credit_pull_d": "last_credit_pull_month",
    "application_type": "application_type",
}
"""The columns a file must have, and what each is called in Silver."""

OTHERS: tuple[str, ...] = (
    "pymnt_plan", "url", "desc", "mths_since_last_delinq", "mths_since_last_record", "initial_list_status",
    "out_prncp_inv", "collections_12_mths_ex_med", "mths_since_last_major_derog", "policy_code",
    "annual_inc_joint", "dti_joint", "verification_status_joint", "acc_now_delinq", "tot_coll_amt",
    "tot_cur_bal", "open_acc_6m", "open_act_il", "open_il_6m", "open_il_12m", "open_il_24m",
    "mths_since_rcnt_il", "total_bal_il", "il_util", "open_rv_12m", "open_rv_24m", "max_bal_bc", "all_util",
    "total_rev_hi_lim", "inq_fi", "total_cu_tl", "inq_last_12m", "acc_open_past_24mths", "avg_cur_bal",
    "bc_open_to_buy", "bc_util", "chargeoff_within_12_mths", "delinq_amnt", "mo_sin_old_il_acct",
    "mo_sin_old_rev_tl_op", "mo_sin_rcnt_rev_tl_op", "mo_sin_rcnt_tl", "mort_acc", "mths_since_recent_bc",
    "mths_since_recent_bc_dlq", "mths_since_recent_inq", "mths_since_recent_revol_delinq",
    "num_accts_ever_120_pd", "num_actv_bc_tl", "num_actv_rev_tl", "num_bc_sats", "num_bc_tl", "num_il_tl",
    "num_op_rev_tl", "num_rev_accts", "num_rev_tl_bal_gt_0", "num_sats", "num_tl_120dpd_2m", "num_tl_30dpd",
    "num_tl_90g_dpd_24m", "num_tl_op_past_12m", "pct_tl_nvr_dlq", "percent_bc_gt_75",
    "pub_rec_bankruptcies", "tax_liens", "tot_hi_cred_lim", "total_bal_ex_mort", "total_bc_limit",
    "total_il_high_credit_limit", "revol_bal_joint", "sec_app_fico_range_low", "sec_app_fico_range_high",
    "sec_app_earliest_cr_line", "sec_app_inq_last_6mths", "sec_app_mort_acc", "sec_app_open_acc",
    "sec_app_revol_util", "sec_app_open_act_il", "sec_app_num_rev_accts",
    "sec_app_chargeoff_within_12_mths", "sec_app_collections_12_mths_ex_med",
    "sec_app_mths_since_last_major_derog", "hardship_flag", "hardship_type", "hardship_reason",
    "hardship_status", "deferral_term", "hardship_amount", "hardship_start_date", "hardship_end_date",
    "payment_plan_start_date", "hardship_length", "hardship_dpd", "hardship_loan_status",
    "orig_projected_additional_accrued_interest", "hardship_payoff_balance_amount",
    "hardship_last_payment_amount", "disbursement_method", "debt_settlement_flag",
    "debt_settlement_flag_date", "settlement_status", "settlement_date", "settlement_amount",
    "settlement_percentage", "settlement_term", "fico_range_low", "fico_range_high", "last_fico_range_low",
    "last_fico_range_high", "issue_year",
)  # fmt: skip
"""What files have besides: later columns, and the year that the converted form names. `more` keeps them."""
