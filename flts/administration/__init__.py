"""Commands for operators: promotions, and preparation of a store."""
