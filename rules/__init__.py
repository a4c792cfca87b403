"""Pure rules: parse, enrich, fold, goals, attribution. No clock, environment or network."""
