"""Forward KL (maximum likelihood) against reverse KL (ADVI) on multimodal p_data, each beside its exact optima."""

QUESTION = "When does a fit cover every mode, and when does it settle on one?"
TITLE = "Covering modes, or seeking one"
#: Place in the report.
CHAPTER = 40
