"""What KL(p||q) measures: its properties shown by numbers, and four ways to compute it compared."""

QUESTION = "What does KL(p‖q) measure, and how can it be computed?"
TITLE = "What KL divergence is, and how to compute it"
#: Place in the report.
CHAPTER = 10
