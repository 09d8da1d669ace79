"""A trained file as a web service: what `nnarray serve` runs.

`heads` reads what a request asks for, `payloads` reads bodies and writes answers, `batches` computes what several
requests bring, `counts` counts, and `application` answers requests.
"""
