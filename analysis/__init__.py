"""The questions of the study, one module each, and the tools they share under ``analysis.support``."""
