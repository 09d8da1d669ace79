"""The computations of the commands: training a network on a file, and predictions for other files.

Nothing here prints. `inputs` makes arrays from files, `steps` trains and predicts, `scores` computes scores, and
`reports` draws figures.
"""
