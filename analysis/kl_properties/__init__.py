"""What KL(p||q) measures: its properties shown by numbers, and four ways to compute it compared."""

QUESTION = "What does KL divergence measure, and why does the order matter?"
TITLE = "What KL divergence measures"
#: Place in the report.
CHAPTER = 10
