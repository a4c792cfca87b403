"""Stream processors: hits in, visits, actions, conversions and tallies out, in units of work."""
