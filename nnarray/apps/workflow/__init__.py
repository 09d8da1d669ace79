"""The computations of the commands: from a file to a trained network, and from another file to its predictions.

Nothing here prints. `inputs` makes arrays of files, `steps` trains and predicts, `scores` says how good it is, and
`reports` draws that.
"""
