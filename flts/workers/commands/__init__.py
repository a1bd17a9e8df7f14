"""The commands around the workers: topics, permissions, status, dead letters."""
