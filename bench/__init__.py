"""What `make bench` runs: our hot paths beside their peers."""
