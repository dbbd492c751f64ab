"""Mean field against full rank: correlated Normals in closed form, and targets with a shape no Normal has."""

QUESTION = "What does a fit lose by leaving correlations out, and what does it gain by keeping them?"
TITLE = "Mean field and full rank"
#: Place in the report.
CHAPTER = 70
