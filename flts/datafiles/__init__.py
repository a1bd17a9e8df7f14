"""Files to frames and back: CSV, Parquet, and processed Parquet."""
