"""Request and response formats of the forecast server."""
