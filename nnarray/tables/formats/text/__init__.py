"""Tables in text: what it begins with, how it is read, and what is wrong with it."""
