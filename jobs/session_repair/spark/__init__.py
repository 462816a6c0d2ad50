"""Spark: a session that is started, sized, told of TLS, and stopped."""
