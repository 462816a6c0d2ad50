"""Find browsing sessions whose stored aggregates do not match their events, and repair them."""

__version__ = "0.3.0"
