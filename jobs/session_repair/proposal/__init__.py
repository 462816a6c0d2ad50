"""Proposal: a config file for the collections that are there, by a look at some documents."""
