"""The computations of the command line: demos, the workflow of training and prediction, benchmarks."""
