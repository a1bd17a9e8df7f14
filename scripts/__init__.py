"""Scripts for developers and CI; `make help` lists them."""
