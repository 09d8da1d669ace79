"""Reading and writing tables, and preparing their columns with statistics of the training rows."""
