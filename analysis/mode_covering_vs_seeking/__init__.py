"""Forward KL (maximum likelihood) against reverse KL (ADVI) on multimodal p_data, each beside its exact optima."""

QUESTION = "When does a fit cover every mode of the target, and when does it settle on one?"
TITLE = "Mode covering versus mode seeking"
#: Place in the report.
CHAPTER = 40
