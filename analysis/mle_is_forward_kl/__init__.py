"""Maximum likelihood minimises forward KL: each line of the argument computed, and what a wrong family changes."""

QUESTION = "Why does maximum likelihood minimise forward KL, even if the family is wrong?"
TITLE = "Maximum likelihood is forward KL"
#: Place in the report.
CHAPTER = 20
