"""The computations of the command line: demos, the workflow from file to network and back, benchmarks."""
