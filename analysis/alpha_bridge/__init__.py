"""From reverse to forward KL along Minka's alpha-divergence: all optima followed, with what each of them covers."""

QUESTION = "Between reverse and forward KL: what does Minka's alpha-divergence cover, and what does it seek?"
TITLE = "Between reverse and forward"
#: Place in the report.
CHAPTER = 55
