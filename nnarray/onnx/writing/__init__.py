"""Graphs into ONNX files: a record of a forward pass, its operations as nodes, and a check of the result."""
