"""The table of symptoms of sessions that keep the basics and nothing else."""

from __future__ import annotations

from session_repair.aggregates import BASIC_SHAPE
from session_repair.symptoms import known_symptoms

SYMPTOMS = known_symptoms(BASIC_SHAPE)
CODES = tuple(it.code for it in SYMPTOMS)
CORRECTED_CODES = tuple(it.code for it in SYMPTOMS if it.scope and not it.by_shrinking)
BY_SHRINKING = tuple(it.code for it in SYMPTOMS if it.by_shrinking)
