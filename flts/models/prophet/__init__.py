"""Prophet forecasters."""
