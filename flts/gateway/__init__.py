"""The object gateway: a store over HTTP, for clients that must not have the store's keys."""
