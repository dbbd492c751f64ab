"""Mean field against full rank: correlated Normals in closed form, and targets with a shape no Normal has."""

QUESTION = "What does a fit lose when it ignores correlations, and what gives it back?"
TITLE = "Mean field and full rank"
#: Place in the report.
CHAPTER = 70
