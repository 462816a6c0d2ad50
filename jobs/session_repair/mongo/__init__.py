"""MongoDB: how it is reached, read, described, and who may write. Prints nothing."""
