"""The object gateway: a store behind HTTP, for those who shall not have the store's keys."""
