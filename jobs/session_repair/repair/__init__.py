"""Repair: the flow, from what is found to what is proved."""
