"""Health: what is known of the sessions without reading them."""
