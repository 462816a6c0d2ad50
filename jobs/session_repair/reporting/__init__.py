"""Reporting: what a run found and did, for people, programs and monitors."""
