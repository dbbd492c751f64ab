"""KL from draws alone: how far a fitted model is from the truth when the truth is known by a sample only."""

QUESTION = "How far is a model from the truth, if draws are all there is?"
TITLE = "When the target is unknown"
#: Place in the report.
CHAPTER = 90
