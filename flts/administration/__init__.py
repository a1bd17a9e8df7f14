"""Commands for the people who look after what is in production."""
