"""Command line: the verbs, their options, and how they end."""
