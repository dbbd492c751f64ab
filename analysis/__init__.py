"""The questions of the study, a folder each, and the rooms they share."""
