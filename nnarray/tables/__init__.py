"""Tables from files and into files, and their columns prepared as the training rows say."""
