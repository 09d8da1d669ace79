"""A trained network with the preparation of its data as an ONNX file: raw columns or images in, answers out."""
