"""All optima of reverse KL against the separation of two modes: where it stops covering, and what ADVI finds there."""

QUESTION = "How far apart must two modes be before reverse KL drops one?"
TITLE = "When reverse KL drops a mode"
#: Place in the report.
CHAPTER = 50
