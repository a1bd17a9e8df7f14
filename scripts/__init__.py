"""What people and CI run: `make help` lists it."""
