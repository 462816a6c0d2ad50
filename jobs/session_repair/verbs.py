"""Verbs: the names of those that read with Spark, as a run's document keeps them."""

from __future__ import annotations

VERIFY, FIX, DELETE_ORPHANS = "verify", "fix", "delete-orphans"
