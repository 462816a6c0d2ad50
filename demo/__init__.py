"""The guide's story on a real MongoDB: broken ingest, its data at full size, and the repair."""
