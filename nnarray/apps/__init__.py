"""What the command line computes: demos, the workflow from file to network and back, benchmarks."""
