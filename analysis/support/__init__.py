"""What the questions share: data, figures, cache, report and command line."""
