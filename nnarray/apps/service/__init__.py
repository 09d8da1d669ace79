"""A trained file as a web service: what `nnarray serve` runs.

`heads` reads what a request asks for, `bodies` receives bodies, `payloads` reads them and writes answers, `batches`
computes what several requests bring, `counts` counts, and `application` answers requests.
"""
