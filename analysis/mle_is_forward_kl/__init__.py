"""Maximum likelihood minimises forward KL: each line of the argument computed, and what a wrong family changes."""

QUESTION = (
    "In what sense is maximum likelihood the minimiser of forward KL, and what remains of it if the family is wrong?"
)
TITLE = "Maximum likelihood is forward KL"
#: Place in the report.
CHAPTER = 20
