"""What the job costs beside other ways to do the same work. See `python -m benchmarks.compare`."""
