"""Rules: what is wrong with a session and what would mend it. Pure: columns and frames only."""
