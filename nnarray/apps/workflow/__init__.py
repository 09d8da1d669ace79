"""From a file to a trained network, and from the network and another file to what it says: what the commands compute.

Nothing here prints. `intake` makes arrays of files, `steps` trains and predicts, `scores` says how good it is, and
`reports` draws that.
"""
