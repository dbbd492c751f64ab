"""From reverse to forward KL along Minka's alpha-divergence: all optima followed, with what each of them covers."""

QUESTION = "What lies between seeking one mode and covering all of them?"
TITLE = "Between reverse and forward"
#: Place in the report.
CHAPTER = 55
