"""A trained file as a web service: what `nnarray serve` runs.

`payloads` reads bodies and writes answers, `batches` computes what several requests bring, `counts` counts, and
`application` answers requests.
"""
