"""KL from draws alone: how far a fitted model is from the truth when the truth is known by a sample only."""

QUESTION = "If p_data is known by draws only, how far is a model from it, and when can the answer be trusted?"
TITLE = "When p_data is unknown"
#: Place in the report.
CHAPTER = 90
