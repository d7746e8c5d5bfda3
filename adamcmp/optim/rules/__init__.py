"""Update rules, one per file, which has the formula, the source, the conventions and the settings."""
