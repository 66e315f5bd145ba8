"""Simulated data sets: one module each, physical models whose truth is known.

Every module offers the same two functions. ``make(folder, ...)`` writes all files of the data set, truth
included, into an existing empty folder; ``load_truth(folder)`` reads the truth back as a dictionary. A
module imports no other module of this package but those that the catalogue names in ``uses``: the cache
remakes a data set when a file that made it has changed, and so sees the whole of what it depends on.
"""
